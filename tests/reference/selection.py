"""Label scores and suppression with loops over Python numbers."""

import math


def sigmoid(logit: float) -> float:
    return 0.0 if logit == -math.inf else 1.0 / (1.0 + math.exp(-logit))


def label_score(logits: list[float], tokens: tuple[int, ...], aggregate: str) -> float:
    scores = [sigmoid(logits[token]) for token in tokens]
    return max(scores) if aggregate == "max" else sum(scores) / len(scores)


def iou(first: list[float], second: list[float]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(width, 0.0) * max(height, 0.0)
    area = (first[2] - first[0]) * (first[3] - first[1]) + (second[2] - second[0]) * (second[3] - second[1])
    return shared / (area - shared) if area > shared else 0.0


def class_wise_nms(boxes: list[list[float]], labels: list[int], threshold: float) -> list[int]:
    """Boxes come best first."""
    kept: list[int] = []
    for index, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        if all(labels[other] != label or iou(boxes[other], box) <= threshold for other in kept):
            kept.append(index)
    return kept
