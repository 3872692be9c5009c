"""Box arithmetic for one pair of corner boxes, with plain numbers."""


def iou(a: list[float], b: list[float]) -> float:
    """Intersection over union."""
    inter = overlap(a, b)
    union = area(a) + area(b) - inter
    return inter / union if union > 0 else 0.0


def generalized_iou(a: list[float], b: list[float]) -> float:
    """Generalised IoU: IoU minus the share of the hull that neither box covers."""
    inter = overlap(a, b)
    union = area(a) + area(b) - inter
    hull = area([min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])])
    if hull <= 0 or union <= 0:
        return 0.0
    return inter / union - (hull - union) / hull


def overlap(a: list[float], b: list[float]) -> float:
    """Area of the intersection."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)


def area(a: list[float]) -> float:
    """Width times height."""
    return (a[2] - a[0]) * (a[3] - a[1])
