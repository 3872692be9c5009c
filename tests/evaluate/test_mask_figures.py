"""Mask AP against the other library and on masks whose figures are known by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from evaluate.hand_made import SIZE, Counted, Federated, HandMade, WithIds, blobs, found, record
from evaluate.test_average_precision import AWAY, BOX, FREQUENCIES, random_federated, random_set
from groundling.errors import DatasetError
from groundling.evaluate import PROTOCOLS, measure
from groundling.structures.masks import Masks

PRECISIONS = ["AP", "AP50", "AP75", "APs", "APm", "APl"]
SHARES = ["mask_IoU_true_boxes", "mask_AP_true_boxes", "lost_by_segmenter", "lost_by_detector"]


def masked(shown, masks=None):
    return replace(shown, masks=blobs(shown.boxes_xyxy) if masks is None else masks)


def answered(one, shown, *, masks=None, true_box_masks=None):
    """What was found in a record with masks; where none are given, the masks are right."""
    masks = blobs(one.boxes_xyxy) if masks is None else masks
    return replace(one, masks=masks, true_box_masks=shown.masks if true_box_masks is None else true_box_masks)


def score(records, results, *, names=("cat", "dog"), protocol="coco", dataset=HandMade):
    return measure(dataset(records, names), zip(records, results, strict=True), PROTOCOLS[protocol])


def roughened(masks, rng):
    """Masks that are nearly others: moved a little, some of them empty."""
    moved = [np.roll(mask, rng.integers(-6, 7, 2), axis=(0, 1)) & (rng.random() > 0.1) for mask in masks]
    return Masks.from_array(moved, masks.image_wh)


def random_masks(seed):
    """Boxes of `random_set` with masks: true ones, found ones, and those of the true boxes."""
    rng = np.random.default_rng(seed)
    vocabulary, records, results = random_set(seed)
    records = [masked(one) for one in records]
    results = [
        answered(
            one,
            shown,
            masks=roughened(blobs(one.boxes_xyxy), rng),
            true_box_masks=roughened(shown.masks, rng),
        )
        for one, shown in zip(results, records, strict=True)
    ]
    return vocabulary, records, results


def by_pycocotools(vocabulary, records, answers):
    """The first six numbers from the other library; answers are (picture, label, score, COCO mask)."""
    truth, objects = COCO(), []
    for index, one in enumerate(records):
        masks = zip(one.masks.to_coco(), one.masks.areas.tolist(), one.positive_NL, one.crowd_N, strict=True)
        for mask, area, own, crowd in masks:
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": index,
                    "category_id": vocabulary.index(one.labels[int(own.argmax())]),
                    "segmentation": mask,
                    "bbox": [0, 0, 1, 1],
                    "area": area,
                    "iscrowd": int(crowd),
                }
            )
    width, height = SIZE
    truth.dataset = {
        "images": [{"id": index, "width": width, "height": height} for index in range(len(records))],
        "categories": [{"id": number, "name": name} for number, name in enumerate(vocabulary)],
        "annotations": objects,
    }
    truth.createIndex()
    keys = ("image_id", "category_id", "score", "segmentation")
    evaluation = COCOeval(truth, truth.loadRes([dict(zip(keys, one, strict=True)) for one in answers]), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats = evaluation.stats[: len(PRECISIONS)]
    stats[stats < 0] = np.nan
    return stats.tolist()


@pytest.mark.parametrize("seed", range(4))
def test_both_libraries_agree(seed):
    vocabulary, records, results = random_masks(seed)
    numbers = score(records, results, names=vocabulary).numbers
    answers = [
        (one.index, int(label), float(score), mask)
        for one in results
        for label, score, mask in zip(one.label_ids, one.scores, one.masks.to_coco(), strict=True)
    ]
    expected = by_pycocotools(vocabulary, records, answers)
    assert [numbers[f"mask_{name}"] for name in PRECISIONS] == pytest.approx(expected, nan_ok=True, abs=1e-12)
    perfect = [
        (index, vocabulary.index(one.labels[int(own.argmax())]), 1.0, mask)
        for index, (one, result) in enumerate(zip(records, results, strict=True))
        for own, crowd, mask in zip(one.positive_NL, one.crowd_N, result.true_box_masks.to_coco(), strict=True)
        if not crowd
    ]
    expected, *_ = by_pycocotools(vocabulary, records, perfect)
    assert numbers["mask_AP_true_boxes"] == pytest.approx(expected, abs=1e-12)
    assert numbers["lost_by_segmenter"] == pytest.approx(1 - expected)
    assert numbers["lost_by_detector"] == pytest.approx(expected - numbers["mask_AP"])
    overlaps = [
        float(one.masks[[row]].iou(result.true_box_masks[[row]])[0, 0])
        for one, result in zip(records, results, strict=True)
        for row in np.flatnonzero(~one.crowd_N)
    ]
    assert numbers["mask_IoU_true_boxes"] == pytest.approx(np.mean(overlaps))


def test_no_objects():
    shown = masked(record([]))
    numbers = score([shown], [answered(found(0, [(0, 0.9, BOX)]), shown)]).numbers
    assert list(numbers)[12:] == [f"mask_{name}" for name in PRECISIONS] + SHARES
    assert all(math.isnan(value) for value in numbers.values())


def test_nothing_found():
    shown = masked(record([("cat", BOX)]))
    numbers = score([shown], [answered(found(0, []), shown)]).numbers
    assert numbers["mask_AP"] == numbers["lost_by_segmenter"] == 0
    assert numbers["mask_AP_true_boxes"] == numbers["lost_by_detector"] == pytest.approx(1)


def test_no_pictures():
    assert "mask_AP" not in score([], []).numbers


@pytest.mark.parametrize("protocol", ["coco", "lvis", "lvis_fixed"])
def test_truth_as_what_was_found(protocol):
    vocabulary, records, _ = random_federated(1)
    records = [masked(one) for one in records]
    results = [
        answered(found(index, [(vocabulary.index(label), 0.9, box) for label, box in objects(one)]), one)
        for index, one in enumerate(records)
    ]
    measured = measure(
        Federated(records, vocabulary, FREQUENCIES), zip(records, results, strict=True), PROTOCOLS[protocol]
    )
    for name in ("mask_AP", "mask_AP50", "mask_AP_true_boxes", "mask_IoU_true_boxes"):
        assert measured.numbers[name] == pytest.approx(1), name
    assert [one.mask_ap for one in measured.categories] == pytest.approx([1] * len(measured.categories))
    assert ("mask_APr" in measured.numbers) == (protocol != "coco")


def objects(one):
    own_N = one.positive_NL.argmax(axis=1) if len(one.labels) else []
    return [(one.labels[own], tuple(box)) for own, box in zip(own_N, one.boxes_xyxy.tolist(), strict=True)]


def test_a_segmenter_that_makes_nothing_loses_everything():
    shown = masked(record([("cat", BOX), ("dog", AWAY)]))
    nothing = Masks.from_array(np.zeros((2, *SIZE[::-1])))
    one = answered(found(0, [(0, 0.9, BOX), (1, 0.9, AWAY)]), shown, masks=nothing, true_box_masks=nothing)
    numbers = score([shown], [one]).numbers
    assert numbers["AP"] == numbers["lost_by_segmenter"] == pytest.approx(1)
    assert numbers["mask_AP"] == numbers["lost_by_detector"] == numbers["mask_IoU_true_boxes"] == 0


def test_boxes_that_are_wrong_with_masks_that_are_right():
    # the box is far too large, its mask is right all the same
    shown = masked(record([("cat", BOX)]))
    numbers = score([shown], [answered(found(0, [(0, 0.9, (0, 0, 300, 300))]), shown, masks=shown.masks)]).numbers
    assert (numbers["AP"], numbers["mask_AP"]) == (0, pytest.approx(1))


@pytest.mark.parametrize(("dataset", "size"), [(HandMade, "m"), (WithIds, "s")])
def test_sizes_are_those_of_masks_unless_the_annotations_say_them(dataset, size):
    shown = masked(
        record([("cat", BOX)])
    )  # 10,000 pixels in the box, fewer than 96 squared in the mask, or 50 as stated
    numbers = score([shown], [answered(found(0, [(0, 0.9, BOX)]), shown)], dataset=dataset).numbers
    assert [name[-1] for name in ("mask_APs", "mask_APm", "mask_APl") if not math.isnan(numbers[name])] == [size]


def test_names_that_do_not_count():
    shown = masked(record([("cat", BOX), ("dog", AWAY)]))
    empty = Masks.from_array([shown.masks[0], np.zeros(SIZE[::-1])])
    one = answered(found(0, [(0, 0.5, BOX), (1, 0.9, AWAY)]), shown, masks=empty[[1, 0]], true_box_masks=empty)
    assert score([shown], [one]).numbers["mask_IoU_true_boxes"] == pytest.approx(1 / 2)
    assert score([shown], [one], dataset=Counted).numbers["mask_IoU_true_boxes"] == pytest.approx(1)


def test_truth_without_masks():
    shown = record([("cat", BOX)])
    with pytest.raises(DatasetError, match="p has no masks to compare with"):
        score([shown], [answered(found(0, []), shown, true_box_masks=blobs([BOX]))])
    assert "mask_AP" not in score([masked(shown)], [found(0, [])]).numbers
