"""What was found, in COCO's format of results."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from groundling.data.record import Dataset, Record
from groundling.evaluate.facts import Facts
from groundling.evaluate.found import Found
from groundling.evaluate.protocol import EvaluationProtocol
from groundling.evaluate.questions import asked_labels
from groundling.files import atomic_path

BOX_DIGITS = 2  # hundredths of a pixel
SCORE_DIGITS = 6


def write_predictions(
    path: Path, dataset: Dataset, results: Sequence[tuple[Record, Found]], protocol: EvaluationProtocol
) -> None:
    """Write a list of {"image_id", "category_id", "bbox", "score"} with the data set's own ids.

    Boxes are [left, top, width, height] in pixels. What has no category, such as an expression, stands as "label". A
    data set without ids of its own has its pictures numbered from 0 and its names from 1. Where a segmenter was asked,
    its masks stand as "segmentation", compressed run lengths.

    Args:
        path: the JSON file.
        dataset: where the records are from.
        results: pictures and what was found in them.
        protocol: what was asked.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("[")
        for number, entry in enumerate(_entries(dataset, results, protocol)):
            stream.write(",\n" if number else "\n")
            stream.write(json.dumps(entry))
        stream.write("\n]\n")


def _entries(
    dataset: Dataset, results: Sequence[tuple[Record, Found]], protocol: EvaluationProtocol
) -> Iterator[dict[str, object]]:
    facts = Facts(dataset)
    category_id = dict(zip(dataset.names, facts.category_ids(dataset.names), strict=True))
    for record, one in results:
        labels = asked_labels(record, dataset.names, protocol)
        image_id = facts.image_id(one.index)
        masks = [{}] * len(one) if one.masks is None else [{"segmentation": mask} for mask in one.masks.to_coco()]
        for box, score, label_id, mask in zip(
            one.boxes_xyxy.tolist(), one.scores.tolist(), one.label_ids.tolist(), masks, strict=True
        ):
            left, top, right, bottom = box
            label = labels[label_id]
            named = {"category_id": category_id[label]} if label in category_id else {"label": label}
            bbox = [round(edge, BOX_DIGITS) for edge in (left, top, right - left, bottom - top)]
            yield {"image_id": image_id, **named, "bbox": bbox, "score": round(score, SCORE_DIGITS), **mask}
