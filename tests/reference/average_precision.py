"""Average precision of one category, by the book: sort, match greedily, envelope, 101 levels of recall."""

import numpy as np

from reference.boxes import iou


def average_precision(objects, boxes, threshold):
    """AP at one IoU threshold.

    Args:
        objects: for each picture the objects' corners.
        boxes: (score, picture, corners, may be beside what is annotated) of each box, in the order of the pictures.
        threshold: of the IoU.

    """
    free = {picture: list(corners) for picture, corners in objects.items()}
    total = sum(map(len, free.values()))
    if total == 0:
        return None
    right = []
    for _, picture, box, partial in sorted(boxes, key=lambda one: -one[0]):
        left = free.get(picture, [])
        overlaps = [iou(box, other) for other in left]
        if overlaps and max(overlaps) >= threshold:
            left.pop(int(np.argmax(overlaps)))
            right.append(True)
        elif not partial:
            right.append(False)
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / total
    levels = [precision[recall >= level].max(initial=0) for level in np.linspace(0, 1, 101)]
    return float(np.mean(levels))


def best_overall(boxes, most):
    """The best boxes of a category in all pictures, in their old order."""
    kept = sorted(range(len(boxes)), key=lambda number: -boxes[number][0])[:most]
    return [boxes[number] for number in sorted(kept)]
