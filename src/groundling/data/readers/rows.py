"""What readers have in common: rows parsed once, and the record that is made of a row when it is asked for.

Shapes: N object, L label, K point of an outline.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundling.data.problems import Kind, Place, Problems
from groundling.data.readers.boxes import Box, clipped
from groundling.data.readers.files import picture_size
from groundling.data.readers.segmentations import filled
from groundling.data.record import Record, one_label_each
from groundling.structures.masks import Masks
from groundling.structures.prompt import Caption, Span

Spans = tuple[Span, ...]

Shape = str | NDArray[np.float64]
"""A mask as a row keeps it: run lengths as `Masks` has them, or an outline [K, 2] in 0..1 of the picture, which is
filled when the record is made."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One picture as it stands in a file.

    Attributes:
        key: names the row; `RowRecords` makes it unique.
        file_name: the picture, relative to the folder of the pictures.
        place: where it stands.
        image_wh: the picture's size; None if the file does not say it.
        boxes: corners [N, 4]; in pixels, or in 0..1 of the picture where `relative`.
        labels: see `Record`, as the others.
        positive_NL: see `Record`.
        absent: see `Record`.
        caption: see `Record`.
        crowd_N: see `Record`.
        relative: the unit of the boxes.
        areas_N: areas of the objects in square pixels, where the file states those of masks.
        partial: see `Record`.
        shapes_N: the mask of each object; None where masks are not asked for.
    """

    key: str
    file_name: str
    place: Place
    image_wh: tuple[int, int] | None
    boxes: NDArray[np.float64]
    labels: tuple[str, ...]
    positive_NL: NDArray[np.bool_]
    absent: tuple[str, ...] | None
    caption: Caption | None
    crowd_N: NDArray[np.bool_]
    relative: bool = False
    areas_N: NDArray[np.float64] | None = None
    partial: tuple[str, ...] = ()
    shapes_N: tuple[Shape, ...] | None = None

    def boxes_in_pixels(self, image_wh: tuple[int, int]) -> NDArray[np.float64]:
        """Return the corners [N, 4] in pixels of a picture of this size, not yet cut off at its edges."""
        return self.boxes * np.array(image_wh * 2, np.float64) if self.relative else self.boxes

    def visible(self, image_wh: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the corners [N, 4] cut off at the edges of a picture of this size, and which are then boxes still."""
        boxes_xyxy = clipped(self.boxes_in_pixels(image_wh), image_wh)
        left, top, right, bottom = boxes_xyxy.T
        return boxes_xyxy, (right > left) & (bottom > top)


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a row while it is read: for each its corners, the index of its name, and what else is stated."""

    boxes: list[Box] = field(default_factory=list)
    name_ids: list[int] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    shapes: list[Shape] | None = None

    def add(self, box: Box, name_id: int, crowd: bool = False, area: float | None = None, shape: Shape = "") -> None:
        """Take in one more; its area is stated for all of them or for none, and so is its mask."""
        self.boxes.append(box)
        self.name_ids.append(name_id)
        self.crowd.append(crowd)
        if area is not None:
            self.areas.append(area)
        if self.shapes is not None:
            self.shapes.append(shape)


@dataclass(frozen=True, slots=True)
class Mention:
    """A phrase of a caption: the character ranges that spell it, and what it means."""

    spans: Spans
    boxes: Sequence[Box]


def named_row(
    picture: tuple[str, Place, tuple[int, int] | None],
    objects: Objects,
    names: Sequence[str],
    *,
    absent: tuple[str, ...] | None = None,
    partial: tuple[str, ...] = (),
    relative: bool = False,
) -> Row:
    """Make the row of a picture whose objects have one name each.

    Args:
        picture: its file name, place and size.
        objects: what is in it.
        names: the data set's names.
        absent: see `Record`.
        partial: see `Record`.
        relative: see `Row`.
    """
    file_name, place, image_wh = picture
    present = sorted(set(objects.name_ids))
    column = {name_id: number for number, name_id in enumerate(present)}
    return Row(
        key=file_name,
        file_name=file_name,
        place=place,
        image_wh=image_wh,
        boxes=np.array(objects.boxes, np.float64).reshape(-1, 4),
        labels=tuple(names[name_id] for name_id in present),
        positive_NL=one_label_each([column[name_id] for name_id in objects.name_ids], len(present)),
        absent=absent,
        caption=None,
        crowd_N=np.array(objects.crowd, np.bool_),
        relative=relative,
        areas_N=np.array(objects.areas, np.float64) if objects.areas else None,
        partial=partial,
        shapes_N=None if objects.shapes is None else tuple(objects.shapes),
    )


def caption_row(
    picture: tuple[str, Place, tuple[int, int] | None], sentence: str, mentions: Sequence[Mention]
) -> Row | None:
    """Make the row of a sentence about a picture; None if no phrase of it is located.

    The same box under several phrases is one object, and what stands at the same place several times is one phrase.
    """
    file_name, place, image_wh = picture
    spans = sorted({mention.spans for mention in mentions if mention.boxes})
    boxes = list(dict.fromkeys(box for mention in mentions for box in mention.boxes))
    if not spans:
        return None
    row_of, column_of = ({thing: number for number, thing in enumerate(things)} for things in (boxes, spans))
    positive_NL = np.zeros((len(boxes), len(spans)), np.bool_)
    for mention in mentions:
        for box in mention.boxes:
            positive_NL[row_of[box], column_of[mention.spans]] = True
    caption = Caption(sentence, tuple(spans))
    return Row(
        key=file_name,
        file_name=file_name,
        place=place,
        image_wh=image_wh,
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        labels=caption.phrases,
        positive_NL=positive_NL,
        absent=(),
        caption=caption,
        crowd_N=np.zeros(len(boxes), np.bool_),
    )


class RowRecords:
    """Records made of rows: the `Dataset` that every reader is.

    Attributes:
        names: the vocabulary; empty where labels are phrases or sentences.
        rows: what was read, in the file's order.
        images: the folder that file names are relative to.
    """

    def __init__(self, names: Sequence[str], rows: Sequence[Row], images: Path, problems: Problems, source: Path):
        if not rows:
            problems.add(
                Kind.EMPTY, Place(str(source)), "there are no pictures in it. Check that it is the right file."
            )
        elif all(row.crowd_N.all() for row in rows):
            crowds = " that is no crowd" if any(len(row.boxes) for row in rows) else ""
            cause = f"no picture has an object{crowds}. Check that it is the right file."
            problems.add(Kind.NO_OBJECTS, Place(str(source)), cause)
        self.names = tuple(names)
        self.rows = _with_unique_keys(rows)
        self.images = images
        self._sizes: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Record:
        row = self.rows[index]
        return _record(row, self.images / row.file_name, self.size_of(row))

    def size_of(self, row: Row) -> tuple[int, int]:
        """Return the upright width and height of a row's picture, from its file where the annotations lack it.

        Raises:
            ImageError: the file is needed and is missing or broken.
        """
        if row.image_wh is not None:
            return row.image_wh
        if row.file_name not in self._sizes:
            self._sizes[row.file_name] = picture_size(self.images / row.file_name)
        return self._sizes[row.file_name]


def _with_unique_keys(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Number the second and later rows of one picture: a.jpg, a.jpg#2, a.jpg#3."""
    keys = {row.key for row in rows}
    met: dict[str, int] = {}
    unique = []
    for row in rows:
        number = met[row.key] = met.get(row.key, 0) + 1
        if number == 1:
            unique.append(row)
            continue
        while (key := f"{row.key}#{number}") in keys:
            number += 1
        met[row.key] = number
        keys.add(key)
        unique.append(replace(row, key=key))
    return tuple(unique)


def _record(row: Row, picture: Path, image_wh: tuple[int, int]) -> Record:
    """Cut boxes off at the picture's edges and leave out what is not in it at all."""
    boxes_xyxy, kept_N = row.visible(image_wh)
    positive_NL = row.positive_NL[kept_N]
    kept_L = positive_NL.any(axis=0)
    labels, caption = row.labels, row.caption
    if not kept_L.all():
        columns = np.flatnonzero(kept_L)
        labels, positive_NL = tuple(row.labels[column] for column in columns), positive_NL[:, columns]
        if caption is not None:
            spans = tuple(caption.spans[column] for column in columns)
            caption = Caption(caption.text, spans) if spans else None
    return Record(
        key=row.key,
        picture=picture,
        image_wh=image_wh,
        labels=labels,
        boxes_xyxy=boxes_xyxy[kept_N],
        positive_NL=positive_NL,
        absent=row.absent,
        caption=caption,
        crowd_N=row.crowd_N[kept_N],
        partial=row.partial,
        masks=None if row.shapes_N is None else _masks(row.shapes_N, kept_N, image_wh),
    )


def _masks(shapes_N: Sequence[Shape], kept_N: NDArray[np.bool_], image_wh: tuple[int, int]) -> Masks:
    """Return the masks of the objects that are kept; outlines become run lengths one by one."""
    kept = (shape for shape, is_kept in zip(shapes_N, kept_N.tolist(), strict=True) if is_kept)
    return Masks(tuple(_run_lengths(shape, image_wh) for shape in kept), image_wh)


def _run_lengths(shape: Shape, image_wh: tuple[int, int]) -> str:
    return shape if isinstance(shape, str) else filled([(shape * image_wh).ravel().tolist()], image_wh)
