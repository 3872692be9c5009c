"""Masks as polygons, for the formats that know no run lengths."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundling.errors import ConfigError, DatasetError
from groundling.structures.checks import is_number

MOST_POINTS, MOST_EDGES = 500, 400
"""What is compared to find a short slit; of larger rings a part."""

MANY_RINGS = 64
"""More are joined in halves, so that time grows with their number and not with its square: 10,000 take 4 seconds."""

Ring = NDArray[np.float32]


def outlines(mask: NDArray[np.bool_], *, tolerance: float = 0.0) -> list[Ring]:
    """Trace each connected part of a mask along the edges of its pixels.

    Parts that touch at a corner are one. A hole is joined to the outline by a slit of no width, which is walked there
    and back, so that one polygon says all and formats without holes keep them. With `tolerance` 0 pycocotools
    (`frPyObjects`, `merge`, `decode`) gives exactly the mask back, and so does every reader that takes the pixels
    whose centres lie inside. Readers that take a point for the centre of a pixel (`cv2.fillPoly`, PIL's
    `ImageDraw.polygon`, `supervision.polygon_to_mask`) add a line of pixels on the right and at the bottom, because
    they fill what the line touches; of a thing of 20 pixels they make one of 21.

    Args:
        mask: which pixels are inside, [H, W].
        tolerance: how far the polygon may leave the edges, in pixels, 0 or more; 0 leaves out only what lies on a
            straight line. 1 makes the polygons of large things several times shorter, and things of less than about
            20 pixels rough.

    Returns:
        A polygon [K, 2] for each part, K at least 3, columns x (0 to W) and y (0 to H), not closed; nothing for an
        empty mask. The largest part need not be first.

    Raises:
        DatasetError: the mask has another shape.
        ConfigError: the tolerance is negative or no number.
    """
    return [_joined(rings) for rings in _parts(mask, tolerance)]


def joined_outline(mask: NDArray[np.bool_], *, tolerance: float = 0.0) -> Ring | None:
    """Trace a whole mask as one polygon: slits join its parts as they join the holes in `outlines`.

    A slit has no width, so pycocotools gives the mask back; `cv2.fillPoly` and PIL draw it one pixel wide, which
    shows between the parts.

    Args:
        mask: see `outlines`.
        tolerance: see `outlines`.

    Returns:
        A polygon [K, 2], see `outlines`; None for an empty mask.

    Raises:
        DatasetError: see `outlines`.
        ConfigError: see `outlines`.
    """
    rings = [ring for part in _parts(mask, tolerance) for ring in part]
    return _joined(rings) if rings else None


def _parts(mask: NDArray[np.bool_], tolerance: float) -> list[list[Ring]]:
    """Return the rings of each part: its outline, and the other way round those of its holes."""
    import cv2

    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise DatasetError(f"A mask must have the shape [H, W], but has {mask.shape}.")
    if not is_number(tolerance) or not 0 <= tolerance < float("inf"):
        raise ConfigError(f"tolerance must be 0 pixels or more, got {tolerance!r}.")
    inside = (mask > 0).astype(np.uint8)
    if not inside.any():
        return []
    left, top, width, height = cv2.boundingRect(inside)
    # cv2 walks through the centres of the border pixels. In a picture of twice the size each of them lies next to
    # the one edge, or the corner, that it borders on.
    double = inside[top : top + height, left : left + width].repeat(2, axis=0).repeat(2, axis=1)
    contours, nesting = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parts: dict[int, list[Ring]] = {}
    for number, (contour, parent) in enumerate(zip(contours, nesting[0, :, 3].tolist(), strict=True)):
        ring = _simplified((contour[:, 0] + 1) // 2, tolerance) + np.array([left, top], np.float32)
        parts.setdefault(number if parent < 0 else parent, []).append(ring)
    return list(parts.values())


def _simplified(points: NDArray[Any], tolerance: float) -> Ring:
    """Leave out points that lie on a line with their neighbours, or as near to it as the tolerance says."""
    import cv2

    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    turns = np.sign(points - np.roll(points, 1, axis=0)) != np.sign(np.roll(points, -1, axis=0) - points)
    corners = points[turns.any(axis=1)]
    if tolerance > 0:
        fewer = cv2.approxPolyDP(corners.astype(np.int32), tolerance, closed=True)[:, 0]
        if len(fewer) >= 3:  # otherwise nothing of it would be left
            corners = fewer
    return np.asarray(corners, np.float32)


def _joined(rings: list[Ring]) -> Ring:
    """Make one polygon of several rings by slits from each to the nearest of those left of it."""
    return _with_slits(sorted(rings, key=lambda ring: float(ring[:, 0].min())))[0]


def _with_slits(rings: list[Ring]) -> tuple[Ring, NDArray[np.bool_]]:
    """Join rings in the order given; also return which of the edges, each named by its first point, are slits."""
    if len(rings) == 1:
        return rings[0], np.zeros(len(rings[0]), np.bool_)
    half = len(rings) // 2 if len(rings) > MANY_RINGS else len(rings) - 1
    (joined, is_slit), (ring, also_slit) = _with_slits(rings[:half]), _with_slits(rings[half:])
    anchor, edge, point = _shortest(ring, joined, is_slit)
    # There and back on the same points, so that the two ways cancel out wherever they are rounded to.
    closed = np.concatenate([ring[anchor:], ring[: anchor + 1]])
    edges = np.concatenate([[True], np.roll(also_slit, -anchor), [True, False]])
    return (
        np.concatenate([joined[: edge + 1], point[None], closed, point[None], joined[edge + 1 :]]),
        np.concatenate([is_slit[: edge + 1], edges, is_slit[edge + 1 :]]),
    )


def _shortest(ring: Ring, joined: Ring, is_slit: NDArray[np.bool_]) -> tuple[int, int, Ring]:
    """Find where `ring` is nearest to an edge of `joined` that is no slit: its point, the edge, the point on that."""
    ends = np.roll(joined, -1, axis=0)
    beside = np.maximum(np.minimum(joined, ends) - ring.max(axis=0), ring.min(axis=0) - np.maximum(joined, ends))
    reach = np.where(is_slit, np.inf, beside.max(axis=1))
    edges = np.argpartition(reach, MOST_EDGES)[:MOST_EDGES] if len(reach) > MOST_EDGES else np.flatnonzero(~is_slit)
    points = np.arange(0, len(ring), -(-len(ring) // MOST_POINTS))
    # Complex numbers, because sums over an axis of two are slow.
    corners, start = _complex(ring[points, None]), _complex(joined[edges])
    along = _complex(ends[edges]) - start
    part = np.clip(((corners - start) * along.conj()).real / np.maximum(abs(along) ** 2, 1e-6), 0, 1)
    nearest = start + part * along
    row, column = np.unravel_index(int(abs(corners - nearest).argmin()), nearest.shape)
    found = nearest[row, column]
    return int(points[row]), int(edges[column]), np.array([found.real, found.imag], np.float32)


def _complex(points: Ring) -> NDArray[np.complex128]:
    return points[..., 0] + 1j * points[..., 1]
