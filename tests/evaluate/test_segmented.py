"""Evaluations with a segmenter: what is decoded, written down, resumed, and never mixed."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from evaluate.hand_made import HandMade, blobs, found, load, pictures, record
from groundling import Detector
from groundling.data.scenes.records import SceneRecords
from groundling.errors import ConfigError, DatasetError
from groundling.evaluate import PROTOCOLS, Work, describe, evaluate, run_evaluation
from groundling.evaluate.export import write_predictions
from groundling.evaluate.segmented import MaskMaker
from groundling.evaluate.store import PART, WHOLE, FoundFile
from groundling.segmentation import MaskOptions, load_segmenter
from groundling.segmentation.cleaning import clean
from random_segmenters import write_segmenter

PICTURES = 5


def masked_pictures(count, *, masks):
    """The pictures of `pictures`, with masks where they are wanted."""
    records = pictures(count).records
    if masks:
        records = [replace(one, masks=blobs(one.boxes_xyxy, one.image_wh)) for one in records]
    return HandMade(records, names=("cat", "dog", "bird"))


def load_masks(folder, options, number):
    return MaskMaker(load_segmenter(folder, device="cpu"), options)


@pytest.fixture(scope="module")
def segmenter_folder(tmp_path_factory):
    return write_segmenter("sam", tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="module")
def masks(segmenter_folder):
    return load_masks(segmenter_folder, MaskOptions(), 0)


@pytest.fixture(scope="module")
def mask_work(checkpoint, segmenter_folder):
    return Work(
        make_detector=partial(load, checkpoint),
        make_dataset=partial(masked_pictures, PICTURES, masks=False),
        protocol=replace(PROTOCOLS["coco"], top_k=20),
        make_masks=partial(load_masks, segmenter_folder, MaskOptions()),
    )


def run(work, folder, masks, *, jobs=1):
    dataset, detector = masked_pictures(PICTURES, masks=True), work.make_detector(0)
    segmenter = None if masks is None else masks.describe("tiny-sam")
    about = {"model": "tiny", "data": {"format": "made"}, "pictures": PICTURES, "segmenter": segmenter}
    description = describe(detector, dataset, work.protocol, **about)
    return run_evaluation(work, detector, dataset, description, folder, masks=masks, jobs=jobs)


@pytest.fixture(scope="module")
def finished(mask_work, masks, tmp_path_factory):
    """A whole run and its folder. Tests must not change it."""
    return run(mask_work, tmp_path_factory.mktemp("finished"), masks)


def test_no_pictures(masks):
    assert masks.add([], []) == []


def test_nothing_to_segment(masks):
    (one,) = masks.add([replace(record([]), picture=pictures(1)[0].picture, image_wh=(64, 64))], [found(0, [])])
    assert (len(one.masks), len(one.true_box_masks), one.masks.image_wh) == (0, 0, (64, 64))


def test_boxes_and_true_boxes_get_the_masks_that_the_segmenter_gives_each(masks):
    first, second = pictures(2)
    boxes = [(0, 0.9, (1, 2, 30, 40)), (1, 0.8, (1, 2, 30, 40)), (0, 0.7, (10, 5, 20, 44))]
    together = masks.add([first, second], [found(0, boxes), found(1, [])])
    for shown, one, own in zip((first, second), together, (boxes, []), strict=True):
        (encoded,) = masks.segmenter.encode([np.asarray(shown.open())])
        for made, corners in ((one.masks, [box for *_, box in own]), (one.true_box_masks, shown.boxes_xyxy)):
            expected, _ = masks.segmenter.decode(encoded, np.array(corners).reshape(-1, 4))
            assert np.diag(made.iou(expected))[expected.areas > 0] == pytest.approx(1, abs=0.02)
            assert len(made) == len(expected)
    assert together[0].masks.counts[0] == together[0].masks.counts[1]


def test_masks_are_cleaned_as_the_options_say(masks):
    asked = list(pictures(1)), [found(0, [(0, 0.9, (1, 2, 30, 40)), (0, 0.7, (10, 5, 20, 44))])]
    (plain,), (cleaned,) = masks.add(*asked), replace(masks, options=MaskOptions(drop_islands=5000)).add(*asked)
    for name in ("masks", "true_box_masks"):
        before, after = getattr(plain, name), getattr(cleaned, name)
        assert after != before
        assert np.array_equal(after.to_array(), [clean(mask, drop_islands=5000) for mask in before])


def test_what_is_written(finished):
    metrics = json.loads((finished.folder / "metrics.json").read_text())
    assert metrics["metrics"]["mask_AP"] == finished.measured.numbers["mask_AP"]
    assert metrics["metrics"]["lost_by_segmenter"] == pytest.approx(1 - metrics["metrics"]["mask_AP_true_boxes"])
    assert all(0 <= row["mask_ap"] <= 1 for row in metrics["categories"])
    boxes = json.loads((finished.folder / "predictions.json").read_text())
    assert {tuple(box["segmentation"]["size"]) for box in boxes} == {(64, 64), (48, 64), (64, 40)}
    protocol = json.loads((finished.folder / "protocol.json").read_text())
    assert (protocol["segmenter"]["name"], protocol["segmenter"]["fill_holes"]) == ("tiny-sam", 0)
    page = (finished.folder / "report.html").read_text()
    assert "<h2>Masks</h2>" in page
    assert page.count("pictures/rough-") == 3, "random weights segment nothing well"
    assert "<th>mask AP</th>" in page.replace(' class="number"', "")
    assert "tiny-sam (SAM, weights" in page


def test_the_figures_alone_are_the_same(mask_work, masks, finished):
    dataset = masked_pictures(PICTURES, masks=True)
    figures = evaluate(mask_work.make_detector(0), dataset, mask_work.protocol, batch_size=2, masks=masks)
    assert figures == pytest.approx(finished.measured.numbers, nan_ok=True, abs=1e-3)


def test_boxes_are_judged_as_without_a_segmenter(mask_work, finished):
    alone = evaluate(mask_work.make_detector(0), masked_pictures(PICTURES, masks=True), mask_work.protocol)
    assert alone == pytest.approx({name: finished.measured.numbers[name] for name in alone}, nan_ok=True)
    assert "mask_AP" not in alone


def test_a_killed_run_goes_on(mask_work, masks, finished, tmp_path):
    lines = (finished.folder / WHOLE).read_bytes().splitlines(keepends=True)
    (tmp_path / PART).write_bytes(b"".join(lines[:3]) + lines[3][:500])  # the protocol, two pictures and a piece
    resumed = run(mask_work, tmp_path, masks)
    assert resumed.measured.numbers == pytest.approx(finished.measured.numbers, nan_ok=True)
    for name in (WHOLE, "metrics.json", "predictions.json"):
        assert (tmp_path / name).read_bytes() == (finished.folder / name).read_bytes()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        pytest.param("none", "segmenter='tiny-sam'", id="none"),
        pytest.param("options", r"segmenter\.fill_holes=0", id="options"),
        pytest.param("settings", r"segmenter\.settings='[0-9a-f]+'", id="settings"),
        pytest.param("weights", r"segmenter\.kind='SAM'.*, segmenter\.weights='[0-9a-f]+'", id="weights"),
    ],
)
def test_another_segmenter_does_not_mix_in(mask_work, masks, finished, other, message, tmp_path):
    shutil.copy(finished.folder / WHOLE, tmp_path)
    changed = None
    if other == "options":
        changed = replace(masks, options=MaskOptions(fill_holes=9))
    if other == "settings":
        folder = write_segmenter("sam", tmp_path / "other")  # of the same weights
        config = json.loads((folder / "config.json").read_text())
        config["mask_decoder_config"]["hidden_act"] = "gelu"
        (folder / "config.json").write_text(json.dumps(config))
        changed = load_masks(folder, MaskOptions(), 0)
    if other == "weights":
        changed = load_masks(write_segmenter("sam_hq", tmp_path / "other"), MaskOptions(), 0)
    with pytest.raises(ConfigError, match=rf"another evaluation \(there {message}\)"):
        run(mask_work, tmp_path, changed)


def test_what_changes_no_figure_changes_no_description(masks):
    assert replace(masks, options=MaskOptions(chunk=7)).describe("s") == masks.describe("s")


@pytest.mark.slow
def test_two_processes_give_what_one_gives(mask_work, masks, finished, tmp_path):
    two = run(mask_work, tmp_path, masks, jobs=2)
    assert two.measured.numbers == pytest.approx(finished.measured.numbers, nan_ok=True, abs=1e-3)


def test_truth_without_masks_is_told_before_the_work(mask_work, masks):
    with pytest.raises(DatasetError, match=r"no masks to judge those of a segmenter by.*masks=True"):
        evaluate(mask_work.make_detector(0), masked_pictures(2, masks=False), mask_work.protocol, masks=masks)
    with pytest.raises(ConfigError, match="Masks are judged by average precision, and phrases by recall"):
        evaluate(mask_work.make_detector(0), masked_pictures(2, masks=True), PROTOCOLS["refcoco"], masks=masks)


def stored(boxes=((0, 0.5, (1, 2, 9, 9)), (1, 0.25, (3, 3, 8, 9)))):
    one = found(3, list(boxes))
    return replace(one, masks=blobs(one.boxes_xyxy, (12, 10)), true_box_masks=blobs([(2, 2, 8, 8)], (12, 10)))


def test_masks_are_read_as_they_were_written(tmp_path):
    with FoundFile(tmp_path, {}) as file:
        file.add([stored(), replace(stored([]), index=4)])
        file.finish()
    first, second = FoundFile(tmp_path, {}).finish()
    assert (first.masks, first.true_box_masks) == (stored().masks, stored().true_box_masks)
    assert (len(second.masks), second.masks.image_wh) == (0, (12, 10))
    line = json.loads((tmp_path / WHOLE).read_text().splitlines()[1])
    assert (line["masks"]["size"], line["masks"]["counts"]) == ([10, 12], list(stored().masks.counts))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"masks": {}}, "not what was found", id="empty"),
        pytest.param({"masks": {"size": [10, 12], "counts": ["1111"], "checksum": 5}}, "were changed", id="damaged"),
        pytest.param({"masks": {"size": [10, 12], "counts": [5], "checksum": 5}}, "not what was found", id="numbers"),
        pytest.param({"masks": {"size": 10, "counts": [], "checksum": 0}}, "not what was found", id="size"),
        pytest.param({"masks": {"size": [10, 12], "counts": [], "checksum": 0}}, "unlike length", id="too few"),
    ],
)
def test_damaged_masks(tmp_path, change, message):
    with FoundFile(tmp_path, {}) as file:
        file.add([stored()])
    header, line = (tmp_path / PART).read_text().splitlines()
    (tmp_path / PART).write_text(f"{header}\n{json.dumps(json.loads(line) | change)}\n")
    with pytest.raises(DatasetError, match=message):
        FoundFile(tmp_path, {})


def test_findings_with_other_true_boxes(mask_work, masks, finished, tmp_path):
    lines = (finished.folder / WHOLE).read_text().splitlines()
    last = json.loads(lines[-1])
    last["true_box_masks"] |= {"counts": [], "checksum": 0}
    (tmp_path / WHOLE).write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")
    with pytest.raises(DatasetError, match="findings in pictures or of names that the data set does not have"):
        run(mask_work, tmp_path, masks)


def test_predictions_have_masks(tmp_path):
    dataset = HandMade([record([], image_wh=(12, 10))])
    one = replace(stored([(1, 0.5, (1, 2, 9, 9))]), index=0)
    write_predictions(tmp_path / "predictions.json", dataset, [(dataset[0], one)], PROTOCOLS["coco"])
    (box,) = json.loads((tmp_path / "predictions.json").read_text())
    assert box["segmentation"] == one.masks.to_coco()[0]
    assert (box["category_id"], box["score"]) == (2, 0.5)


def test_the_models_that_come_with_the_package():
    detector = Detector.from_pretrained("groundling/nano", device="cpu")
    masks = MaskMaker(load_segmenter("groundling/nano-sam", device="cpu"))
    for split in ("seen", "held_out"):
        dataset = SceneRecords(split=split, size=192, count=2, masks=True)
        numbers = evaluate(detector, dataset, replace(PROTOCOLS["scenes"], top_k=30), masks=masks)
        assert numbers["AP50"] > 0.8, split
        assert numbers["mask_IoU_true_boxes"] > 0.88, split
        assert numbers["mask_AP50"] > 0.8, split
        assert numbers["lost_by_segmenter"] < 0.3, split
