"""Scenes as records: every label means exactly the things it is marked for, and no absent label means any."""

import numpy as np
import pytest

from groundling.data.scenes import COLORS, HELD_OUT, SHAPES, SIZES, TEXTURES, Thing, make_scene
from groundling.data.scenes.records import RECORD_SPLITS, SceneRecords
from groundling.errors import ConfigError


def means(label: str, thing: Thing) -> bool:
    """Whether all the words of a plain label are true of a thing."""
    kinds = {"shape": SHAPES, "color": COLORS, "texture": TEXTURES, "size": SIZES}
    words = label.removeprefix("the ").split()
    return all(any(word in names and getattr(thing, kind) == word for kind, names in kinds.items()) for word in words)


def is_plain(label: str) -> bool:
    return not any(word in label.split() for word in ("of", "above", "below"))


@pytest.mark.parametrize("split", ["train", "seen", "held_out", "referring"])
def test_labels_mean_what_they_say(split: str) -> None:
    records, checked = SceneRecords(split=split, seed=3, size=64, count=60), 0
    for number in range(60):
        record = records[number]
        things = make_scene(3, number, split="seen" if split == "referring" else split, size=64).things
        assert len(record.boxes_xyxy) == len(things)
        for label, positive_N in zip(record.labels, record.positive_NL.T, strict=True):
            assert positive_N.any(), label
            if is_plain(label):
                assert positive_N.tolist() == [means(label, thing) for thing in things], label
                checked += 1
        for label in record.absent or ():
            assert not any(means(label, thing) for thing in things), label
    assert checked > 60


def test_expressions_mean_one_thing_and_some_have_a_landmark() -> None:
    records = SceneRecords(split="referring", seed=3, size=64, count=60)
    labels = [label for number in range(60) for label in records[number].labels]
    assert all((records[number].positive_NL.sum(axis=0) == 1).all() for number in range(60))
    assert sum(not is_plain(label) for label in labels) > 10


def test_no_training_picture_shows_a_pair_that_is_held_out() -> None:
    records = SceneRecords(split="train", seed=0, size=64, count=100)
    for number in range(100):
        present = {tuple(label.split()[-2:]) for label in records[number].labels if is_plain(label)}
        assert not present & set(HELD_OUT)


def test_every_held_out_scene_shows_one() -> None:
    records = SceneRecords(split="held_out", seed=0, size=64, count=40)
    assert all(any(tuple(label.split()) in HELD_OUT for label in records[number].labels) for number in range(40))


def test_a_record_depends_on_nothing_but_its_number() -> None:
    first, second = SceneRecords(size=64, count=10)[4], SceneRecords(size=64, count=2000)[4]
    assert first.labels == second.labels
    assert first.absent == second.absent
    assert np.array_equal(np.asarray(first.open()), np.asarray(second.open()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"count": 0}, "count=0 must be at least 1", id="empty"),
        pytest.param({"split": "test"}, f"split='test' is unknown. Use one of {RECORD_SPLITS[0]}", id="split"),
        pytest.param({"seed": -1}, "seed=-1 must be at least 0", id="seed"),
        pytest.param({"size": 63}, "size=63 must be 64 to 4096 pixels", id="small"),
        pytest.param({"size": 10**9}, "size=1000000000 must be 64 to 4096 pixels", id="large"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SceneRecords(**arguments)


def test_there_is_an_end() -> None:
    with pytest.raises(IndexError):
        SceneRecords(size=64, count=3)[3]
