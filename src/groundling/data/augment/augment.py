"""Random changes of a picture in training, with its boxes.

Shapes: N box of the record, K box that is kept, L label.
"""

from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from groundling.data.augment.color import jitter
from groundling.data.augment.settings import AugmentSettings
from groundling.data.augment.view import View
from groundling.data.augment.words import name_a_side, need_the_whole
from groundling.data.record import Record
from groundling.errors import DatasetError

SMALLEST_SIDE = 1.0
"""Pixels. A box that is thinner after the change is dropped."""

ROUNDING = 1e-6
"""Pixels, and share of an area, by which numbers that should be equal may differ."""

MOST_TRIES = 20
"""So many parts are tried until one keeps a box; else the picture is not cut."""


@dataclass(frozen=True, slots=True, eq=False)
class Augmented:
    """A changed picture.

    Attributes:
        picture: RGB; the record's own picture where nothing changed.
        boxes_xyxy: [K, 4] float32, pixels of the changed picture, all of them inside.
        kept: which of the record's boxes these are, [K] int64, ascending.
        unknown: labels of the record of which a remainder can be seen but no box is left, so that they are neither
            there nor absent; a prompt must not have them. A label whose things are all outside is truly absent.
    """

    picture: Image.Image
    boxes_xyxy: NDArray[np.float32]
    kept: NDArray[np.int64]
    unknown: tuple[str, ...]


class Augment:
    """Changes records as the settings say.

    Labels stay true: pictures whose labels speak of left or right are not mirrored, and pictures whose labels compare
    or place things, such as "the small star above the ring", are not cut.

    Args:
        settings: how much is changed.
    """

    def __init__(self, settings: AugmentSettings) -> None:
        self.settings = settings

    def __call__(self, record: Record, rng: Generator) -> Augmented:
        """Change a record's picture; the same generator state gives the same result.

        Raises:
            DatasetError: the picture has another size than the record says, so its boxes mean nothing.
            ImageError: the picture's file is missing or broken.
        """
        picture = record.open()
        if picture.size != record.image_wh:
            raise DatasetError(
                f"{record.key}: the picture has {picture.width} x {picture.height} pixels, but its annotations say "
                f"{record.image_wh[0]} x {record.image_wh[1]}. Correct the annotations, or use the picture they are of."
            )
        view = self._choose_view(record, rng)
        boxes_xyxy, is_kept, is_outside = self._boxes(record, view)
        is_remainder = ~is_kept & ~is_outside
        in_doubt = [meant[is_remainder].any() and not meant[is_kept].any() for meant in record.positive_NL.T]
        return Augmented(
            picture=jitter(view.pixels(picture), self.settings, rng),
            boxes_xyxy=boxes_xyxy[is_kept].astype(np.float32),
            kept=np.flatnonzero(is_kept),
            unknown=tuple(compress(record.labels, in_doubt)),
        )

    def _choose_view(self, record: Record, rng: Generator) -> View:
        settings = self.settings
        view = View.whole(record.image_wh)
        sentence = () if record.caption is None else (record.caption.text,)
        if rng.random() < settings.crop and not need_the_whole((*record.labels, *sentence)):
            view = self._crop(record, view, rng)
        if settings.shortest_edges:
            view = view.resized(_one_of(settings.shortest_edges, rng), settings.longest_edge)
        if rng.random() < settings.flip and not name_a_side((*record.labels, *sentence, *(record.absent or ()))):
            view = view.mirrored()
        return view

    def _crop(self, record: Record, whole: View, rng: Generator) -> View:
        """Choose a part in which at least one box stays, if there is any box."""
        view = whole
        if self.settings.shortest_edges_before_crop:
            edge = _one_of(self.settings.shortest_edges_before_crop, rng)
            view = view.resized(edge, self.settings.longest_edge)
        least, most = self.settings.crop_sides
        wanted = ~record.crowd_N
        for _ in range(MOST_TRIES):
            width, height = (int(rng.integers(min(least, side), min(most, side) + 1)) for side in view.size_wh)
            left = int(rng.integers(view.size_wh[0] - width + 1))
            top = int(rng.integers(view.size_wh[1] - height + 1))
            part = view.cropped(left, top, width, height)
            if not wanted.any() or (self._boxes(record, part)[1] & wanted).any():
                return part
        return whole

    def _boxes(self, record: Record, view: View) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return the boxes in a view [N, 4], clipped; which of them are kept [N]; which lie wholly outside [N]."""
        # what an annotation has outside of the picture was never visible
        inside_picture = record.boxes_xyxy.clip(0, np.tile(record.image_wh, 2))
        moved: NDArray[np.float64] = view.boxes(inside_picture)
        limits = np.tile(view.size_wh, 2)
        is_outside = (moved[:, 2:].min(axis=1) <= 0) | ((moved[:, :2] - limits[:2]).max(axis=1) >= 0)
        clipped: NDArray[np.float64] = moved.clip(0, limits)
        sides, whole_sides = clipped[:, 2:] - clipped[:, :2], moved[:, 2:] - moved[:, :2]
        is_large = sides.min(axis=1) >= SMALLEST_SIDE - ROUNDING
        share = sides.prod(axis=1) / np.maximum(whole_sides.prod(axis=1), np.finfo(np.float64).tiny)
        # the part of a crowd that is left is still a crowd that nobody counted
        is_visible = (share >= self.settings.smallest_visible - ROUNDING) | record.crowd_N
        return clipped, is_large & is_visible, is_outside


def _one_of(numbers: tuple[int, ...], rng: Generator) -> int:
    return numbers[int(rng.integers(len(numbers)))]
