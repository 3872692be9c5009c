"""Presets, and what no settings may say."""

import pytest

from groundling import ConfigError
from groundling.data.augment import PRESETS, AugmentSettings, preset


def test_the_published_recipe():
    settings = preset("paper")
    assert settings.flip == settings.crop == 0.5
    assert settings.shortest_edges == (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    assert settings.longest_edge == 1333
    assert settings.shortest_edges_before_crop == (400, 500, 600)
    assert settings.crop_sides == (384, 600)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_follow_the_model_and_leave_colours_alone(name):
    settings = preset(name, shortest_edge=192, longest_edge=320)
    assert settings.longest_edge == 320
    assert max(settings.shortest_edges, default=192) == 192
    assert settings.brightness == settings.contrast == settings.saturation == settings.hue == 0
    assert min(preset(name, shortest_edge=1, longest_edge=1).shortest_edges, default=1) == 1


def test_lists_are_taken_as_tuples():
    assert AugmentSettings(shortest_edges=[32, 64]).shortest_edges == (32, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"crop_sides": ()}, r"crop_sides=\(\) must be two numbers", id="empty"),
        pytest.param({"crop_sides": (9, 8)}, r"crop_sides=\(9, 8\) must be two numbers", id="order"),
        pytest.param({"flip": 1.5}, r"flip=1.5 must be a number in 0\.\.1", id="chance"),
        pytest.param({"flip": float("nan")}, "flip=nan must be a number in", id="not a number"),
        pytest.param({"hue": 0.6}, r"hue=0.6 must be a number in 0\.\.0\.5", id="hue"),
        pytest.param({"smallest_visible": -0.1}, "smallest_visible=-0.1 must be", id="share"),
        pytest.param(
            {"shortest_edges": (0,)}, r"shortest_edges=\(0,\) must be a list of whole numbers", id="no pixels"
        ),
        pytest.param({"shortest_edges": 32}, "shortest_edges=32 must be a list", id="one number"),
        pytest.param({"crop": "often"}, "crop='often' must be a number in", id="word"),
        pytest.param({"longest_edge": 1.5}, "longest_edge=1.5 must be a whole number", id="half a pixel"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ConfigError, match=message):
        AugmentSettings(**options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        pytest.param("", {}, "The augmentation '' is unknown. Use one of none, light, paper", id="empty"),
        pytest.param("lightt", {}, "Did you mean 'light'", id="misspelt"),
        pytest.param("light", {"shortest_edge": 0}, "shortest_edge=0", id="no pixels"),
    ],
)
def test_bad_presets(name, options, message):
    with pytest.raises(ConfigError, match=message):
        preset(name, **options)
