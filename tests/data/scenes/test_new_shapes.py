"""The split "new": shapes that no other split shows, labelled alone; and records that stay as they are."""

import json

import numpy as np
import pytest

from groundling.data.scenes import COLORS, HELD_OUT, NEW_SHAPES, SHAPES, make_scene
from groundling.data.scenes.export import NEW_NAMES, SceneFiles, write_scenes
from groundling.data.scenes.outlines import outline_of
from groundling.data.scenes.records import RECORD_SPLITS, SceneRecords

FEW = 40


def test_new_shapes_are_new() -> None:
    assert len(NEW_SHAPES) >= 4
    assert not set(NEW_SHAPES) & set(SHAPES)


@pytest.mark.parametrize("shape", NEW_SHAPES)
def test_outlines_reach_about_one_away(shape: str) -> None:
    reach = np.hypot(*outline_of(shape).T)
    assert 0.9 < reach.max() < 1.3


def test_every_picture_shows_a_new_shape_and_no_other_split_does() -> None:
    for split in ("train", "seen", "held_out"):
        assert not {t.shape for n in range(FEW) for t in make_scene(0, n, split=split, size=64).things} & set(
            NEW_SHAPES
        )
    shown = [{thing.shape for thing in make_scene(0, n, split="new", size=64).things} for n in range(FEW)]
    assert all(shapes & set(NEW_SHAPES) for shapes in shown)
    assert set(NEW_SHAPES) <= set().union(*shown)
    assert set().union(*shown) & set(SHAPES), "old shapes stand beside them"


def test_only_new_shapes_are_labelled() -> None:
    records = SceneRecords(split="new", seed=3, size=64, count=FEW)
    assert records.names == tuple(f"{color} {shape}" for color in COLORS for shape in NEW_SHAPES)
    for number in range(FEW):
        record, scene = records[number], make_scene(3, number, split="new", size=64)
        new = [place for place, thing in enumerate(scene.things) if thing.shape in NEW_SHAPES]
        assert np.array_equal(record.boxes_xyxy, scene.boxes_xyxy[new])
        named = [record.labels[row.argmax()] for row in record.positive_NL]
        assert named == [scene.things[place].name for place in new]
        assert (record.positive_NL.sum(axis=1) == 1).all()
        assert record.absent
        assert not set(record.absent) & {thing.name for thing in scene.things}
        assert {*record.labels, *record.absent} <= set(records.names)


def test_held_out_figures_are_about_the_pairs_that_training_never_shows() -> None:
    """The same pictures hold more things of other pairs, and six times as many of their names."""
    records = SceneRecords(split="held_out", seed=3, size=64, count=FEW)
    counted = records.counted_names
    assert counted is not None
    assert {tuple(name.split()) for name in counted} == HELD_OUT
    assert set(counted) < set(records.names)
    shown = [set(records[number].labels) for number in range(FEW)]
    assert all(labels & set(counted) for labels in shown)
    assert set().union(*shown) - set(counted)
    assert [SceneRecords(split=split).counted_names for split in RECORD_SPLITS if split != "held_out"] == [None] * 4


def test_files_have_their_categories(tmp_path) -> None:
    write_scenes(tmp_path / "set", SceneFiles(count=2, split="new", size=64))
    content = json.loads((tmp_path / "set" / "annotations.json").read_text())
    assert [one["name"] for one in content["categories"]] == list(NEW_NAMES)
    things = [thing.name for number in range(2) for thing in make_scene(0, number, split="new", size=64).things]
    assert [NEW_NAMES[one["category_id"] - 1] for one in content["annotations"]] == things


PINNED = {
    "train": (
        ("checkered white triangle", "brown moon", "checkered square"),
        ("black star", "pink circle"),
    ),
    "seen": (("gray arrow",), ("yellow heart", "cyan cross")),
    "held_out": (("pink ring", "orange ring"), ("pink bolt", "brown hexagon")),
    "referring": (("the checkered gray arrow", "the gray arrow", "the large arrow"), ()),
    "new": (("red flag", "yellow crown", "pink tree"), ("pink flag", "cyan key")),
}


@pytest.mark.parametrize("split", RECORD_SPLITS)
def test_words_stay_as_they_are(split: str) -> None:
    """What a model was trained and measured on must not change when splits are added."""
    record = SceneRecords(split=split, seed=0, size=64, count=5)[3]
    labels, absent = PINNED[split]
    assert record.labels[: len(labels)] == labels
    assert (record.absent or ())[: len(absent)] == absent
