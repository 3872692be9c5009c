"""Which pictures a run sees: shares of data sets, order, and places that do not depend on who prepares them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from groundling import ConfigError, DatasetError
from groundling.data.augment import Augment, AugmentSettings
from groundling.data.record import Record, one_label_each
from groundling.data.sampling import PromptSampling
from groundling.data.scenes.records import SceneRecords
from groundling.files import locate
from groundling.pipeline.processor_files import load_processor
from groundling.structures.prompt import Caption
from groundling.train.examples import Place, Source, Steps, TrainingExamples, batches, collate
from groundling.train.sources import open_examples, open_sources
from train.small_runs import NANO, settings

SCENES = {"format": "scenes", "size": 64}
SAMPLING = PromptSampling(max_tokens=32, negatives=2)


class Rows:
    """Records of a plain picture, by their keys."""

    def __init__(self, *records: Record, names: tuple[str, ...] = ("red star", "blue ring")) -> None:
        self.records, self.names = records, names

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Record:
        return self.records[index]


def record(key: str, labels: tuple[str, ...] = ("red star",), boxes: int = 1, **options: Any) -> Record:
    box_N4 = np.tile(np.array([4, 4, 20, 20], np.float32), (boxes, 1))
    positive = one_label_each([0] * boxes, len(labels)) if labels else np.zeros((boxes, 0), bool)
    return Record(key, Image.new("RGB", (40, 30), "teal"), (40, 30), labels, box_N4, positive, **options)


def rows(prefix: str, count: int) -> Rows:
    return Rows(*(record(f"{prefix}{number}") for number in range(count)))


def examples(*sources: Source, augment: Augment | None = None, **sampling: Any) -> TrainingExamples:
    options = PromptSampling(**({"max_tokens": 32, "negatives": 2} | sampling))
    return TrainingExamples(sources, load_processor(locate(NANO)), options, 3, augment)


def keys(found: TrainingExamples, count: int) -> list[str]:
    return [found.key(Place(number, None)) for number in range(count)]


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        pytest.param([1.0], [1.0], id="one"),
        pytest.param([3.0, 1.0], [0.75, 0.25], id="two"),
        pytest.param([1.0, 1.0, 1.0], [1 / 3] * 3, id="three alike"),
        pytest.param([5.0, 0.3, 2.7, 2.0], [0.5, 0.03, 0.27, 0.2], id="four"),
    ],
)
def test_any_stretch_of_a_run_has_its_share_of_each_source(weights: list[float], shares: list[float]) -> None:
    found = examples(*(Source(rows(name, 7), weight) for name, weight in zip("abcd", weights, strict=False)))
    drawn = keys(found, 1000)
    for first, last in ((0, 1000), (0, 10), (400, 500), (990, 1000)):
        counts = Counter(key[0] for key in drawn[first:last])
        for name, share in zip("abcd", shares, strict=False):
            assert abs(counts[name] - share * (last - first)) <= 4


def test_every_source_is_gone_through_before_it_begins_anew() -> None:
    found = examples(Source(rows("a", 5), 0.6), Source(rows("b", 3), 0.4))
    drawn = keys(found, 200)
    for name, length in (("a", 5), ("b", 3)):
        own = [key for key in drawn if key[0] == name]
        rounds = [own[start : start + length] for start in range(0, len(own) - length, length)]
        assert all(len(set(one)) == length for one in rounds)
        assert len({tuple(one) for one in rounds}) > 1  # each in its own order


def test_sources_of_one_length_have_orders_of_their_own() -> None:
    found = examples(Source(rows("a", 8)), Source(rows("b", 8)))
    drawn = keys(found, 80)
    orders = {name: [key[1:] for key in drawn if key[0] == name] for name in "ab"}
    assert len(orders["a"]) == len(orders["b"]) == 40
    assert all(orders["a"][start : start + 8] != orders["b"][start : start + 8] for start in range(0, 40, 8))


def test_the_random_numbers_of_examples_are_not_those_of_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what is drawn in a scene would say how it is changed."""
    states: dict[str, int] = {}
    make = np.random.default_rng

    def remember(seed: list[int]) -> np.random.Generator:
        numbers = make(seed)
        states[str(seed)] = numbers.bit_generator.state["state"]["state"]
        return numbers

    monkeypatch.setattr(np.random, "default_rng", remember)
    for split in ("train", "seen", "held_out", "new"):
        scenes = SceneRecords(split=split, seed=3, size=64, count=3)
        found = examples(Source(scenes))
        for number in range(3):
            found[Place(number, 64)]
            scenes[number]
    list(Steps(start=0, stop=3, batch_size=1, sides=(32, 64), seed=3))
    assert len(states) >= 4 * 2 * 3 + 3 + 1 + 3
    assert len(set(states.values())) == len(states)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param({"train": [SCENES]}, [1.0], id="one"),
        pytest.param({"train": [SCENES | {"weight": 3}, SCENES]}, [0.75, 0.25], id="weights"),
        pytest.param({"train": [SCENES], "replay": [SCENES]}, [0.75, 0.25], id="replay"),
        pytest.param(
            {"train": [SCENES | {"weight": 9}, SCENES], "replay": [SCENES, SCENES], "replay_share": 0.5},
            [0.45, 0.05, 0.25, 0.25],
            id="both",
        ),
        pytest.param({"train": [SCENES], "replay": [SCENES], "replay_share": 0}, [1.0], id="no share"),
    ],
)
def test_replay_has_its_share(tmp_path: Path, data: dict[str, Any], expected: list[float]) -> None:
    weights = [source.weight for source in open_sources(settings(tmp_path, tmp_path, data=data))]
    assert [weight / sum(weights) for weight in weights] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param({"train": []}, r"data.train is missing. Name at least one data set", id="empty"),
        pytest.param({"train": [SCENES | {"weight": 0}]}, r"data.train\[0\].weight=0 must be a number above", id="0"),
        pytest.param({"train": [SCENES | {"weight": "2"}]}, r"weight='2' must be a number above 0", id="text"),
        pytest.param({"replay": [SCENES | {"weight": True}]}, r"data.replay\[0\].weight=True must be", id="bool"),
        pytest.param({"replay": [SCENES | {"wieght": 1}]}, r"has no key 'wieght'", id="unknown key"),
    ],
)
def test_sources_that_cannot_be(tmp_path: Path, data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_sources(settings(tmp_path, tmp_path, data=data))


def test_an_empty_data_set_is_an_error() -> None:
    with pytest.raises(DatasetError, match="There is nothing to learn from: a data set has no pictures"):
        examples(Source(Rows()))


def test_settings_reach_the_examples(tmp_path: Path) -> None:
    run = settings(tmp_path, tmp_path, seed=4, data={"augment": "light"}, prompt={"negatives": 1})
    found = open_examples(run, load_processor(locate(NANO)))
    assert (found.seed, found.sampling) == (4, run.prompt)
    assert found.augment.settings.flip == 0.5
    assert max(found.augment.settings.shortest_edges) == 192  # the size that the processor gives this model


def test_colours_are_changed_beside_a_preset(tmp_path: Path) -> None:
    colors = {"brightness": 0.4, "contrast": 0.3, "saturation": 0.2, "hue": 0.1}
    processor = load_processor(locate(NANO))
    plain, named, changed = (
        open_examples(settings(tmp_path, tmp_path, data={"augment": augment}), processor).augment.settings
        for augment in ("paper", {"preset": "paper"}, {"preset": "paper", **colors})
    )
    assert named == plain
    assert changed == replace(plain, **colors)


def test_a_place_gives_the_same_example_to_whoever_prepares_it(tmp_path: Path) -> None:
    run = settings(tmp_path, tmp_path, data={"augment": "light"})
    one, other = (open_examples(run, load_processor(locate(NANO))) for _ in range(2))
    other[Place(9, 64)]
    a, b = one[Place(5, 64)], other[Place(5, 64)]
    assert torch.equal(a.pixel_CHW, b.pixel_CHW)
    assert torch.equal(a.box_N4, b.box_N4)
    assert a.grounded.prompt == b.grounded.prompt
    assert a.seed == b.seed
    assert one[Place(6, 64)].seed != a.seed


@pytest.mark.parametrize(("accumulate", "processes"), [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)])
def test_a_step_has_the_same_pictures_however_it_is_shared(accumulate: int, processes: int) -> None:
    shared = [
        list(
            Steps(
                start=2,
                stop=5,
                batch_size=8,
                accumulate=accumulate,
                process=process,
                processes=processes,
                sides=(32, 64),
                seed=1,
            )
        )
        for process in range(processes)
    ]
    whole = list(Steps(start=2, stop=5, batch_size=8, sides=(32, 64), seed=1))
    for step, expected in enumerate(whole):
        parts = [parts[step * accumulate + part] for parts in shared for part in range(accumulate)]
        assert sorted(place for part in parts for place in part) == expected
        assert len({place.side for place in expected}) == 1


@pytest.mark.parametrize(("batch_size", "accumulate", "processes"), [(0, 1, 1), (3, 2, 1), (6, 2, 2), (4, 0, 1)])
def test_steps_that_cannot_be_shared_evenly(batch_size: int, accumulate: int, processes: int) -> None:
    with pytest.raises(ConfigError, match="cannot be shared evenly by"):
        Steps(start=0, stop=1, batch_size=batch_size, accumulate=accumulate, processes=processes)


def test_pictures_of_unlike_sizes_are_padded() -> None:
    wide = record("wide")
    tall = Record("tall", Image.new("RGB", (30, 40)), (30, 40), wide.labels, wide.boxes_xyxy, wide.positive_NL)
    sized = Augment(AugmentSettings(shortest_edges=(30,)))
    found = examples(Source(Rows(wide, tall)), augment=sized)
    found.processor.image_processor.size = {"shortest_edge": 64, "longest_edge": 96}
    batch = collate([found[Place(number, None)] for number in range(2)])
    assert batch.pixel_BCHW.shape == (2, 3, 40, 40)
    assert batch.valid_BHW is not None
    assert sorted(batch.valid_BHW.sum(dim=(1, 2)).tolist()) == [1200, 1200]
    assert not batch.pixel_BCHW[~batch.valid_BHW[:, None].expand(-1, 3, -1, -1)].any()


def test_pictures_without_objects_ask_for_what_is_absent() -> None:
    batch = collate([examples(Source(Rows(record("none", (), 0))))[Place(number, 64)] for number in range(3)])
    assert batch.targets.num_objects == 0
    assert batch.targets.box_BG4.shape == (3, 0, 4)
    assert (batch.valid_BT.sum(dim=1) > 3).all()


def test_a_crowd_is_not_learned() -> None:
    crowd = record("crowd", boxes=2, crowd_N=np.array([True, False]))
    assert examples(Source(Rows(crowd)))[Place(0, 64)].box_N4.shape == (1, 4)


def test_a_picture_whose_only_name_is_in_doubt_after_a_cut_is_not_cut() -> None:
    """With one category and no other name there would be nothing left to ask for."""
    cut = Augment(AugmentSettings(crop=1.0, crop_sides=(8, 8), smallest_visible=0.99))
    box = np.array([[0, 0, 40, 30]], np.float32)
    whole = Record("one", Image.new("RGB", (40, 30)), (40, 30), ("cat",), box, one_label_each([0], 1))
    assert cut(whole, np.random.default_rng(0)).unknown in ((), ("cat",))
    for number in range(5):
        example = examples(Source(Rows(whole, names=("cat",))), augment=cut)[Place(number, 64)]
        assert example.grounded.prompt.labels == ("cat",)


def long_caption() -> Record:
    words = " ".join(["star"] * 60)
    return Record(
        "long", Image.new("RGB", (40, 30)), (40, 30), (words,), np.zeros((0, 4), np.float32), np.zeros((0, 1), bool),
        caption=Caption(words, ((0, len(words)),)),
    )  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cannot_be_used_is_named_without_a_traceback(workers: int) -> None:
    steps = Steps(start=0, stop=1, batch_size=1)
    with pytest.raises(DatasetError) as caught:
        next(batches(examples(Source(Rows(long_caption()))), steps, workers))
    assert str(caught.value).startswith("long: no prompt can be made for this picture. The prompt has 1 phrases and")
    assert "Traceback" not in str(caught.value)


def test_a_picture_without_any_name_is_named() -> None:
    nothing = record("empty", (), 0, absent=())
    with pytest.raises(DatasetError, match=r"empty: no prompt can be made for this picture. There are no labels"):
        examples(Source(Rows(nothing)))[Place(0, 64)]


def test_a_worker_that_dies_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(self: object) -> None:
        raise RuntimeError("DataLoader worker (pid 1) exited unexpectedly")

    monkeypatch.setattr("torch.utils.data.DataLoader.__iter__", die)
    steps = Steps(start=0, stop=1, batch_size=1)
    with pytest.raises(DatasetError, match=r"has ended unexpectedly.*Run the same command again"):
        next(batches(examples(Source(SceneRecords(size=64, count=2))), steps, 0))
