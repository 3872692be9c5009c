"""The worst mistakes of an evaluation, to look at."""

# Shapes: N found box, M object

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count

import numpy as np
from numpy.typing import NDArray

from groundling.data.record import Dataset, Record
from groundling.evaluate.found import Found
from groundling.evaluate.protocol import EvaluationProtocol
from groundling.evaluate.questions import asked_labels
from groundling.evaluate.recall import HIT_IOU, overlaps
from groundling.structures.masks import Masks

KINDS = {
    "invented": "nothing of that name is there, but the score is high",
    "misnamed": "the box is right, but it is something else",
    "misplaced": "the box overlaps its object by an IoU of less than 0.5",
    "missed": "no box of that name overlaps the object by an IoU of 0.5, or only one with a low score",
    "wrong": "the best box for the phrase overlaps what it means by an IoU of less than 0.5",
    "rough": "the segmenter's mask of the true box overlaps the true mask by little",
}
"""Kinds of mistakes and what they mean."""

NEAR_IOU = 0.1
ROUGH_IOU = 0.75
"""A mask with a lower IoU is seen to be wrong at once."""

MOST_OF_A_KIND = 3
MOST_WRONG = 12
MOST_BOXES = 50
"""Boxes of a picture that are looked at, the best; worse ones are never among the worst mistakes."""


@dataclass(frozen=True, slots=True, eq=False)
class Mistake:
    """One mistake in one picture.

    Attributes:
        kind: one of KINDS.
        index: number of the picture in the data set.
        key: name of the picture.
        label: what was found, missed or segmented.
        score: of the box; 0 where there is none. Of a rough mask its IoU with the true one.
        truth_xyxy: the object [4] that is meant, missed, misplaced or misnamed; None where there is none.
        truth_label: its label; empty where there is none.
        found_xyxy: the box [4] that was found; None where there is none.
        mask: the rough mask alone; None where it is a box that is wrong.
    """

    kind: str
    index: int
    key: str
    label: str
    score: float
    truth_xyxy: NDArray[np.float32] | None = None
    truth_label: str = ""
    found_xyxy: NDArray[np.float32] | None = None
    mask: Masks | None = None


def find_mistakes(
    dataset: Dataset, results: Sequence[tuple[Record, Found]], protocol: EvaluationProtocol
) -> list[Mistake]:
    """Return the worst mistakes of each kind, at most one of a kind in a picture.

    Boxes are the worse the higher they score, missed objects the lower the best box on them scores, masks the lower
    their IoU.

    Args:
        dataset: where the records are from.
        results: pictures and what was found in them.
        protocol: what was asked.
    """
    worst: dict[str, list[tuple[float, int, Mistake]]] = {kind: [] for kind in KINDS}
    ticket = count(0, -1)  # of equal ones the first is kept, and mistakes themselves are never compared
    for record, found in results:
        if protocol.metric == "recall":
            mistakes = _wrong_phrases(record, found)
        else:
            mistakes = chain(
                _wrong_boxes(record, found, asked_labels(record, dataset.names, protocol)), _rough_masks(record, found)
            )
        best: dict[str, tuple[float, Mistake]] = {}
        for badness, mistake in mistakes:
            if mistake.kind not in best or badness > best[mistake.kind][0]:
                best[mistake.kind] = badness, mistake
        for badness, mistake in best.values():
            heap = worst[mistake.kind]
            heapq.heappush(heap, (badness, next(ticket), mistake))
            if len(heap) > (MOST_WRONG if mistake.kind == "wrong" else MOST_OF_A_KIND):
                heapq.heappop(heap)
    return [mistake for kind in KINDS for *_, mistake in sorted(worst[kind], reverse=True, key=lambda one: one[:2])]


def _wrong_phrases(record: Record, found: Found) -> Iterator[tuple[float, Mistake]]:
    for label, text in enumerate(record.labels):
        meant = record.boxes_xyxy[record.positive_NL[:, label] & ~record.crowd_N]
        own = np.flatnonzero(found.label_ids == label)
        if not len(meant) or not len(own):
            continue
        box, score = found.boxes_xyxy[own[0]], float(found.scores[own[0]])
        if overlaps(box[None], meant).max() < HIT_IOU:
            yield score, Mistake("wrong", found.index, record.key, text, score, meant[0], text, box)


def _wrong_boxes(record: Record, found: Found, labels: tuple[str, ...]) -> Iterator[tuple[float, Mistake]]:
    own = {label: number for number, label in enumerate(record.labels)}
    iou_NM = overlaps(found.boxes_xyxy, record.boxes_xyxy)
    texts = [labels[label] for label in found.label_ids]
    same_NM = np.zeros(iou_NM.shape, np.bool_)
    for row, text in enumerate(texts):
        if text in own:
            same_NM[row] = record.positive_NL[:, own[text]]
    yield from _missed(record, found, iou_NM * same_NM)
    judged = None if record.absent is None else {*record.labels, *record.absent}
    partial = set(record.partial)
    for row in range(min(len(found), MOST_BOXES)):
        if texts[row] in partial or (judged is not None and texts[row] not in judged):
            continue
        mistake = _judge(record, found, row, texts[row], iou_NM[row], same_NM[row])
        if mistake is not None:
            yield mistake.score, mistake


def _judge(
    record: Record, found: Found, row: int, text: str, iou_M: NDArray[np.float32], same_M: NDArray[np.bool_]
) -> Mistake | None:
    """Say what is wrong with a box; None if it is right, a second one on its object, or on a group."""
    own_M, other_M = iou_M * same_M, iou_M * ~same_M
    box = found.boxes_xyxy[row]
    if own_M.max(initial=0) >= HIT_IOU or _is_in_group(box, record):
        return None
    place = None
    if other_M.max(initial=0) >= HIT_IOU:
        kind, place = "misnamed", int(other_M.argmax())
    elif own_M.max(initial=0) >= NEAR_IOU:
        kind, place = "misplaced", int(own_M.argmax())
    else:
        kind = "invented"
    truth = None if place is None else record.boxes_xyxy[place]
    name = "" if place is None else _label_of(record, place)
    return Mistake(kind, found.index, record.key, text, float(found.scores[row]), truth, name, box)


def _missed(record: Record, found: Found, own_NM: NDArray[np.float32]) -> Iterator[tuple[float, Mistake]]:
    for place in range(len(record.boxes_xyxy)):
        if record.crowd_N[place] or not record.positive_NL[place].any():
            continue
        hits = np.flatnonzero(own_NM[:, place] >= HIT_IOU)
        score = float(found.scores[hits[0]]) if len(hits) else 0.0
        box = found.boxes_xyxy[hits[0]] if len(hits) else None
        name = _label_of(record, place)
        yield -score, Mistake("missed", found.index, record.key, name, score, record.boxes_xyxy[place], name, box)


def _rough_masks(record: Record, found: Found) -> Iterator[tuple[float, Mistake]]:
    if record.masks is None or found.true_box_masks is None:
        return
    for place in np.flatnonzero(~record.crowd_N).tolist():
        mask = found.true_box_masks[[place]]
        iou, name = float(mask.iou(record.masks[[place]]).item()), _label_of(record, place)
        if iou < ROUGH_IOU:
            yield -iou, Mistake("rough", found.index, record.key, name, iou, record.boxes_xyxy[place], name, mask=mask)


def _label_of(record: Record, place: int) -> str:
    own = np.flatnonzero(record.positive_NL[place])
    return record.labels[own[0]] if len(own) else "something without a label"


def _is_in_group(box: NDArray[np.float32], record: Record) -> bool:
    """Say whether most of a box lies in the box of a group that nobody counted."""
    groups = record.boxes_xyxy[record.crowd_N]
    low, high = np.maximum(box[:2], groups[:, :2]), np.minimum(box[2:], groups[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    area = float(np.prod(box[2:] - box[:2]))
    return bool((shared >= HIT_IOU * area).any()) if area > 0 else False
