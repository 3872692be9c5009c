"""Pictures for which no prompt can be made are known before the first step, and are the same ones each time."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.small_sets import as_json, as_lines, detection, grounding, picture
from groundling import DatasetError, Detector, ImageError
from groundling.data.open import open_dataset
from groundling.data.record import Dataset
from groundling.data.sampling import PromptSampling, sample_prompt
from groundling.data.scenes.records import SceneRecords
from groundling.files import locate
from groundling.pipeline.processor_files import load_processor
from groundling.processing.processor import GroundingDinoProcessor
from groundling.train.examples import Place
from groundling.train.pictures import Showcase
from groundling.train.sources import open_examples
from groundling.train.usable import LONG_CAPTION, LONG_LABELS, NOTHING, UNREADABLE, keep_usable
from train.small_runs import NANO, losses, micro_detector, settings, trainer

MOST = 12
BOX = [1, 2, 20, 22]
LONG = "a red star " * 6


@pytest.fixture(scope="module")
def processor() -> GroundingDinoProcessor:
    return load_processor(locate(NANO))


def caption(text: str, phrase: str, box: list[int] = BOX, **changes: Any) -> dict[str, Any]:
    return grounding(text, {"bbox": box, "phrase": phrase}, **changes)


def named(name: str) -> dict[str, Any]:
    return detection({"bbox": BOX, "category": name})


def odvg(folder: Path, *lines: dict[str, Any]) -> Dataset:
    return open_dataset(as_lines(folder / "set.jsonl", *lines))


def lvis(folder: Path, *pictures: dict[str, Any], names: tuple[str, ...] = ("star", "ring", "bow")) -> Path:
    """Pictures from 1 with one star, if they say so, and what else is known of them."""
    images = [
        {"id": number, "file_name": "a.jpg", "width": 40, "height": 30, "neg_category_ids": [], **about}
        for number, about in enumerate(pictures, 1)
    ]
    stars = [one["id"] for one in images if one.pop("star", True)]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    objects = [{"id": one, "image_id": one, "category_id": 1, "bbox": [1, 2, 3, 4]} for one in stars]
    return as_json(folder / "lvis.json", {"images": images, "categories": categories, "annotations": objects})


def causes(dataset: Dataset, processor: GroundingDinoProcessor) -> tuple[list[str], dict[str, list[str]]]:
    """The keys that are left, and the spots that are not, by their cause."""
    kept, left_out = keep_usable(dataset, processor.tokenizer, MOST)
    keys = [kept[index].key for index in range(len(kept))]
    return keys, {cause: [place.spot for place in places] for cause, places in left_out.items()}


def test_captions(processor: GroundingDinoProcessor, tmp_path: Path) -> None:
    picture(tmp_path / "3.jpg")
    found = odvg(
        tmp_path,
        caption(LONG, "star", filename="0.jpg"),
        caption("a red star", "star", filename="1.jpg"),
        caption("a ㄡ", "ㄡ", filename="2.jpg"),
        caption("a red star", "star", [50, 2, 60, 22], filename="3.jpg", width=None),  # outside, as is seen only now
        caption(f"{LONG}too", "star", filename="4.jpg"),
    )
    keys, left_out = causes(found, processor)
    assert keys == ["1.jpg"]
    assert left_out == {
        LONG_CAPTION.format(MOST): ["line 1", "line 5"],
        UNREADABLE: ["line 3"],
        NOTHING: ["line 4"],
    }


def test_names(processor: GroundingDinoProcessor, tmp_path: Path) -> None:
    with_others = odvg(tmp_path, named(LONG), named("star"))
    assert causes(with_others, processor) == (["a.jpg", "a.jpg#2"], {})  # the star is asked for in both
    for name in (LONG, "ㄡ"):
        alone = odvg(tmp_path, named(name), caption("a star", "star", filename="b.jpg"))
        assert causes(alone, processor) == (["b.jpg"], {LONG_LABELS.format(MOST): ["line 1"]})
    nothing = odvg(tmp_path, detection(), caption("a star", "star", filename="b.jpg"))
    assert causes(nothing, processor) == (["b.jpg"], {NOTHING: ["line 1"]})


def test_what_lvis_knows(processor: GroundingDinoProcessor, tmp_path: Path) -> None:
    path = lvis(
        tmp_path,
        {"file_name": "0.jpg", "star": False},
        {"file_name": "1.jpg", "star": False, "neg_category_ids": [2]},
        {"file_name": "2.jpg"},
        {"file_name": "3.jpg", "not_exhaustive_category_ids": [1]},
        {"file_name": "4.jpg", "not_exhaustive_category_ids": [1], "neg_category_ids": [2]},
        {"file_name": "5.jpg", "star": False, "neg_category_ids": [3]},
        names=("star", "ring", LONG),
    )
    keys, left_out = causes(open_dataset(path), processor)
    assert keys == ["1.jpg", "2.jpg", "4.jpg"]
    assert left_out == {
        NOTHING: ["images[0] (id 1)", "images[3] (id 4)"],
        LONG_LABELS.format(MOST): ["images[5] (id 6)"],
    }


def test_what_is_left_has_a_prompt_and_the_rest_has_none(processor: GroundingDinoProcessor, tmp_path: Path) -> None:
    """Whatever the random numbers: so says the sampler itself."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(60):
        words = " ".join(rng.choice(["red", "star", "ring"], rng.integers(1, 16)))
        line = caption(words, words) if rng.random() < 0.5 else detection()
        lines.append(line | {"filename": f"{number}.jpg"})
    dataset = odvg(tmp_path, *lines)
    kept, left_out = keep_usable(dataset, processor.tokenizer, MOST)
    usable = {kept[index].key for index in range(len(kept))}
    assert 0 < len(usable) < 60
    assert sum(map(len, left_out.values())) == 60 - len(usable)
    sampling = PromptSampling(max_tokens=MOST, negatives=1)
    for index in range(60):
        record = dataset[index]
        try:
            sample_prompt(record, processor.tokenizer, sampling, rng, names=dataset.names)
        except Exception:
            assert record.key not in usable
        else:
            assert record.key in usable


def test_all_can_be_used(processor: GroundingDinoProcessor, tmp_path: Path) -> None:
    dataset = odvg(tmp_path, named("star"))
    assert keep_usable(dataset, processor.tokenizer, MOST) == (dataset, {})


def test_scenes_are_not_drawn(processor: GroundingDinoProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = SceneRecords(size=64, count=10)
    monkeypatch.setattr(SceneRecords, "__getitem__", None)
    assert keep_usable(scenes, processor.tokenizer, MOST) == (scenes, {})


def test_no_picture_is_opened(processor: GroundingDinoProcessor, tmp_path: Path) -> None:
    """There are none. Only where a sentence is left without a phrase if its boxes lie outside, the size matters."""
    unsized = named("star") | {"width": None, "height": None}
    dataset = odvg(tmp_path, unsized, caption(LONG, "star", filename="b.jpg"))
    assert len(keep_usable(dataset, processor.tokenizer, MOST)[0]) == 1
    dataset = odvg(tmp_path, caption("a star", "star", width=None, height=None))
    with pytest.raises(ImageError, match=r"There is no picture file .*a.jpg"):
        keep_usable(dataset, processor.tokenizer, MOST)


def test_nothing_left_is_an_error(processor: GroundingDinoProcessor, tmp_path: Path) -> None:
    dataset = odvg(tmp_path, caption(LONG, "star"), caption(LONG, "star"))
    message = (
        r"^No prompt can be made for any of these pictures: 2 with a caption of more tokens than prompt.max_tokens=12 "
        r"allows \(the first: .*set.jsonl, line 1\)\.$"
    )
    with pytest.raises(DatasetError, match=message):
        keep_usable(dataset, processor.tokenizer, MOST)


def test_one_warning_for_all_data_sets(
    processor: GroundingDinoProcessor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = as_lines(tmp_path / "a.jsonl", caption(LONG, "star"), caption("a star", "star", filename="b.jpg"))
    second = as_lines(tmp_path / "b.jsonl", caption("a star", "star"), caption(LONG, "star"), detection())
    data = {"train": [{"annotations": str(path)} for path in (first, second)]}
    run = settings(tmp_path, tmp_path / "run", data=data, prompt={"max_tokens": MOST})
    with caplog.at_level(logging.WARNING):
        found = open_examples(run, processor)
    assert [record.getMessage() for record in caplog.records] == [
        "3 of 5 pictures are left out, because no prompt can be made for them: "
        f"2 with a caption of more tokens than prompt.max_tokens=12 allows (the first: {first}, line 1); "
        "1 with nothing to ask for: neither a name of what is there nor one of what is known to be absent "
        f"(the first: {second}, line 3)."
    ]
    drawn = [found.key(Place(number, None)) for number in range(20)]
    assert drawn == [open_examples(run, processor).key(Place(number, None)) for number in range(20)]
    assert set(drawn) == {"a.jpg", "b.jpg"}
    caplog.clear()
    monkeypatch.setenv("RANK", "1")
    open_examples(run, processor)
    assert not caplog.records


def test_a_run_goes_past_what_it_cannot_use(start: Path, tmp_path: Path) -> None:
    """Interrupted or not: what is left out is not part of its order."""
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "a.jpg")
    lines = [caption(LONG, "star") if number % 2 else caption("a star", "star") for number in range(6)]
    data = {"train": [{"annotations": str(as_lines(tmp_path / "set.jsonl", *lines))}]}
    for output, steps in (("once", (3,)), ("twice", (1, 3))):
        for count in steps:
            optimizer = {"steps": count, "schedule": "constant"}
            run = settings(start, tmp_path / output, data=data, prompt={"max_tokens": MOST}, optimizer=optimizer)
            trainer(run).train()
    assert losses(tmp_path / "twice") == losses(tmp_path / "once")


def test_the_showcase_leaves_out_what_it_cannot_ask_for(processor: GroundingDinoProcessor, tmp_path: Path) -> None:
    """What is drawn may be of a validation, which nobody looks through."""
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "a.jpg")
    detector, sampling = Detector(micro_detector(), processor), PromptSampling(max_tokens=MOST)
    sheets = [
        Showcase(odvg(tmp_path, *lines), sampling, tmp_path)(detector, 1)
        for lines in ([caption("a star", "star")], [caption(LONG, "star"), caption("a star", "star")])
    ]
    assert sheets[0].shape == sheets[1].shape
    assert Showcase(odvg(tmp_path, caption(LONG, "star")), sampling, tmp_path)(detector, 1).std() > 0
