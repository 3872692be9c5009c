"""Detections as plain lists, strings and numbers, and back."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundling.errors import DatasetError
from groundling.structures.checks import check_keys, checked_labels, checked_size
from groundling.structures.masks import Masks

if TYPE_CHECKING:
    from groundling.structures.detections import Detections

_KEYS = ("source", "width", "height", "labels", "label_scores", "detections")
_ITEM_KEYS = ("label", "label_id", "score", "box_xyxy")
_TRACK, _MASK, _MASK_SCORE = "track_id", "mask", "mask_score"
_SOME_ITEM_KEYS = (_TRACK, _MASK, _MASK_SCORE)
"""All items have one of these or none has."""


def plain_dict(found: "Detections") -> dict[str, Any]:
    """Convert to what `read_fields` reads."""
    width, height = found.image_wh
    items = [
        dict(zip(_ITEM_KEYS, (item.label, item.label_id, _plain(score), _plain(box)), strict=True))
        for item, score, box in zip(found, found.scores, found.boxes_xyxy, strict=True)
    ]
    columns = {
        _TRACK: None if found.track_ids is None else found.track_ids.tolist(),
        _MASK: None if found.masks is None else found.masks.to_coco(),
        _MASK_SCORE: None if found.mask_scores is None else _plain(found.mask_scores),
    }
    for key, column in columns.items():
        for item, one in zip(items, column or (), strict=column is not None):
            item[key] = one
    label_scores = None if found.label_scores is None else _plain(found.label_scores)
    values = (found.source, width, height, list(found.labels), label_scores, items)
    return dict(zip(_KEYS, values, strict=True))


def read_fields(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the fields of `Detections`, which checks them in turn.

    Raises:
        DatasetError: a key is missing or unknown, or some items have a track id or a mask and others have none.
    """
    check_keys("The dictionary", value, _KEYS)
    items = value["detections"]
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise DatasetError(f"'detections' must be a list, got {type(items).__name__}.")
    for row, item in enumerate(items):
        check_keys(f"detections[{row}]", item, _ITEM_KEYS, optional=_SOME_ITEM_KEYS)
    labels = checked_labels(value["labels"])
    label_scores = value["label_scores"]
    if label_scores is not None and not items:
        label_scores = np.zeros((0, len(labels)))
    masks = _column(items, _MASK)
    size = checked_size((value["width"], value["height"]))
    return {
        "boxes_xyxy": [item["box_xyxy"] for item in items] if items else np.zeros((0, 4), np.float32),
        "scores": [item["score"] for item in items],
        "label_ids": [item["label_id"] for item in items],
        "labels": labels,
        "image_wh": size,
        "label_scores": label_scores,
        "source": value["source"],
        "track_ids": _column(items, _TRACK),
        "masks": None if masks is None else Masks.from_coco(masks, size),
        "mask_scores": _column(items, _MASK_SCORE),
    }


def check_item_labels(found: "Detections", items: Sequence[Mapping[str, Any]]) -> None:
    """Check that the label that each item names is the one that its id means.

    Raises:
        DatasetError: it is another one.
    """
    for row, (detection, item) in enumerate(zip(found, items, strict=True)):
        if detection.label != item["label"]:
            raise DatasetError(
                f"detections[{row}] has the label {item['label']!r}, but its label_id {item['label_id']} "
                f"means {detection.label!r}. Correct one of them."
            )


def _column(items: Sequence[Mapping[str, Any]], key: str) -> list[Any] | None:
    """Return what stands under a key that all items have or none has."""
    has_it = [key in item for item in items]
    if not any(has_it):
        return None
    if not all(has_it):
        raise DatasetError(
            f"detections[{has_it.index(False)}] has no {key!r}, but others have one. Give it to all or to none."
        )
    return [item[key] for item in items]


def _plain(array: NDArray[np.float32] | np.float32) -> Any:
    """Convert float32 values to the shortest Python numbers that turn back into the same float32 values."""
    return np.asarray(array).astype(np.str_).astype(np.float64).tolist()
