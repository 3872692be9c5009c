"""Colours change as far as the settings say, and not at all without them."""

import numpy as np
import pytest
from PIL import Image

from groundling.data.augment import AugmentSettings
from groundling.data.augment.color import jitter


def colored(color):
    return Image.new("RGB", (4, 4), color)


def test_nothing_is_changed_without_settings():
    picture = colored("red")
    assert jitter(picture, AugmentSettings(), np.random.default_rng(0)) is picture


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_each_change_is_random_and_bounded(name):
    picture = Image.new("RGB", (4, 4), (100, 150, 50))
    picture.paste((90, 60, 120), (0, 0, 2, 4))
    original = np.asarray(picture, float)
    seen = set()
    for seed in range(12):
        changed = jitter(picture, AugmentSettings(**{name: 0.2}), np.random.default_rng(seed))
        again = jitter(picture, AugmentSettings(**{name: 0.2}), np.random.default_rng(seed))
        assert changed.tobytes() == again.tobytes()
        assert (changed.mode, changed.size) == ("RGB", (4, 4))
        if name == "brightness":
            assert np.abs(np.asarray(changed, float) / original - 1).max() < 0.22
        seen.add(changed.tobytes())
    assert len(seen) > 8


def test_grey_has_no_hue():
    changed = jitter(colored((90, 90, 90)), AugmentSettings(hue=0.5, saturation=1.0), np.random.default_rng(0))
    assert changed.getpixel((0, 0)) == (90, 90, 90)


def test_half_a_turn_of_the_circle_is_the_opposite_colour():
    changes = {
        jitter(colored("red"), AugmentSettings(hue=0.5), np.random.default_rng(s)).getpixel((0, 0)) for s in range(99)
    }
    assert any(min(green, blue) > 215 and red < 10 for red, green, blue in changes)
