"""Everything that is wrong with a data set, found in one pass before anything is trained on it."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from groundling.data.open import complete_spec, open_dataset, require_masks
from groundling.data.problems import Collected, Kind, Place, Problem
from groundling.data.readers.boxes import Box, box_fault
from groundling.data.readers.files import upright_size
from groundling.data.readers.rows import Row, RowRecords
from groundling.data.record import Dataset
from groundling.errors import DatasetError
from groundling.pictures.reading import picture_name

Progress = Callable[[int, int], None]
Spec = Mapping[str, object] | str | os.PathLike[str]

_EXTREMES = 10  # names shown as the commonest and as the rarest
_CHUNK = 256  # pictures handed to the threads at a time


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is in a data set.

    Attributes:
        records: pictures, or sentences about pictures.
        pictures: different picture files.
        empty: records without an object.
        objects: boxes.
        crowds: boxes around groups.
        of_name: objects of each name, also of those without any; phrases where there are no names.
    """

    records: int = 0
    pictures: int = 0
    empty: int = 0
    objects: int = 0
    crowds: int = 0
    of_name: Counter[str] = field(default_factory=Counter)

    @property
    def commonest(self) -> list[tuple[str, int]]:
        """The ten names with the most objects."""
        return self.of_name.most_common(_EXTREMES)

    @property
    def rarest(self) -> list[tuple[str, int]]:
        """The ten names with the fewest objects, the fewest first."""
        return self.of_name.most_common()[: -_EXTREMES - 1 : -1]


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        problems: everything that is wrong, in the order of the files.
        counts: how much there is.
    """

    problems: list[Problem]
    counts: Counts


def check_dataset(spec: Spec, *, decode: bool = True, masks: bool = False) -> list[Problem]:
    """Return everything that is wrong with a data set; an empty list if nothing is.

    Args:
        spec: see `open_dataset`.
        decode: read pictures completely; otherwise only their headers.
        masks: see `inspect_dataset`.

    Raises:
        ConfigError: the format or a key of `spec` is unknown.
        DatasetError: see `inspect_dataset`.
        MissingExtraError: see `inspect_dataset`.
    """
    return inspect_dataset(spec, decode=decode, masks=masks).problems


def inspect_dataset(
    spec: Spec, *, decode: bool = True, masks: bool = False, progress: Progress = lambda done, total: None
) -> Report:
    """Look for everything that is wrong with a data set, and count what is in it.

    Args:
        spec: see `open_dataset`.
        decode: read pictures completely; otherwise only their headers.
        masks: look at the masks too, of which every object must have one. What lacks its mask is counted all the same.
        progress: called with the number of pictures that are done and of all.

    Raises:
        ConfigError: the format or a key of `spec` is unknown.
        DatasetError: masks are asked for, and the format is none of `WITH_MASKS`.
        MissingExtraError: masks are polygons, and faster-coco-eval is not installed.
    """
    problems = Collected()
    try:
        settings = complete_spec(spec)
    except DatasetError as error:
        problems.add(Kind.FILE, Place(_name_of(spec)), str(error))
        return Report(problems, Counts())
    if masks:
        require_masks(settings["format"])
    try:
        dataset = open_dataset(settings, problems=problems)
    except DatasetError as error:
        problems.add(Kind.FILE, Place(_name_of(spec)), str(error))
        return Report(problems, Counts())
    if masks:
        _check_masks(settings, problems)
    _check_names(dataset.names, Place(_name_of(settings)), problems)
    if not isinstance(dataset, RowRecords):
        return Report(problems, _count_records(dataset, progress))
    _check_pictures(dataset, decode, problems, progress)
    return Report(problems, _count_rows(dataset))


def _name_of(spec: Spec) -> str:
    return str(spec.get("annotations", spec.get("format"))) if isinstance(spec, Mapping) else os.fspath(spec)


def _check_masks(settings: Mapping[str, object], problems: Collected) -> None:
    """Read the annotations again with their masks, since a reader leaves out the objects that lack theirs."""
    found = Collected()
    open_dataset(settings, problems=found, masks=True)
    problems.extend(problem for problem in found if problem.kind is Kind.MASK)  # the rest is known


def _check_names(names: Iterable[str], place: Place, problems: Collected) -> None:
    alike = defaultdict(list)
    for name in names:
        alike["".join(letter for letter in name.casefold() if letter.isalnum()) or name].append(name)
    for group in alike.values():
        different = dict.fromkeys(group)  # the same name twice has been reported by the reader
        if len(different) > 1:
            listed = " and ".join(repr(name) for name in different)
            cause = f"the names {listed} differ only in case, spaces or signs. If they mean the same, merge them."
            problems.add(Kind.SIMILAR_NAMES, place, cause)


def _check_pictures(dataset: RowRecords, decode: bool, problems: Collected, progress: Progress) -> None:
    """Open every picture once, and compare it with all rows about it."""
    rows_of: dict[str, list[Row]] = defaultdict(list)
    for row in dataset.rows:
        rows_of[row.file_name].append(row)
    names = list(rows_of)
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            looks = threads.map(lambda name: _look(dataset.images / name, decode), chunk)
            for number, (name, look) in enumerate(zip(chunk, looks, strict=True), start + 1):
                for row in rows_of[name]:
                    _compare(row, look, problems)
                progress(number, len(names))


@dataclass(frozen=True, slots=True)
class _Look:
    """A picture as it is: upright and as it is stored."""

    upright_wh: tuple[int, int]
    stored_wh: tuple[int, int]


def _look(path: Path, decode: bool) -> _Look | tuple[Kind, str]:
    """Return a picture's sizes, or what is wrong with it."""
    name = picture_name(path)
    try:
        with Image.open(path) as picture:
            stored, upright = picture.size, upright_size(picture)
            if decode:
                picture.draft("L", (stored[0] // 8, stored[1] // 8))  # reads a JPEG to its end, but computes less
                picture.load()
            return _Look(upright, stored)
    except FileNotFoundError:
        return Kind.PICTURE_MISSING, f"there is no picture file {name}. Check the folder of the pictures."
    except Exception as error:  # Pillow's readers raise many kinds for a damaged file
        return Kind.PICTURE_UNREADABLE, f"the picture {name} cannot be read ({type(error).__name__}: {error})."


def _compare(row: Row, look: _Look | tuple[Kind, str], problems: Collected) -> None:
    if not isinstance(look, _Look):
        problems.add(look[0], row.place, look[1])
        return
    width, height = look.upright_wh
    if row.image_wh is not None and row.image_wh != look.upright_wh:
        stated = f"{row.image_wh[0]}x{row.image_wh[1]}"
        turned = row.image_wh == look.stored_wh
        hint = (
            "as it is stored on its side (EXIF), and boxes must be in the upright picture" if turned else "correct it"
        )
        cause = f"the picture {row.file_name!r} is {width}x{height} upright, but the annotations say {stated}: {hint}."
        problems.add(Kind.PICTURE_SIZE, row.place, cause)
    if row.image_wh is None:  # what could not be seen without the picture's size
        for number, box in enumerate(row.boxes_in_pixels(look.upright_wh).tolist()):
            fault = box_fault(_as_box(box), look.upright_wh)
            if fault is not None:
                shown = ", ".join(f"{corner:g}" for corner in box)
                problems.add(fault[0], row.place, f"object {number}: the box with the corners [{shown}] {fault[1]}")


def _as_box(corners: list[float]) -> Box:
    left, top, right, bottom = corners
    return left, top, right, bottom


def _count_rows(dataset: RowRecords) -> Counts:
    of_name = Counter(dict.fromkeys(dataset.names, 0))
    for row in dataset.rows:
        of_name.update(dict(zip(row.labels, row.positive_NL.sum(axis=0).tolist(), strict=True)))
    return Counts(
        records=len(dataset),
        pictures=len({row.file_name for row in dataset.rows}),
        empty=sum(not len(row.boxes) for row in dataset.rows),
        objects=sum(len(row.boxes) for row in dataset.rows),
        crowds=sum(int(row.crowd_N.sum()) for row in dataset.rows),
        of_name=of_name,
    )


def _count_records(dataset: Dataset, progress: Progress) -> Counts:
    """Count where there is nothing but records, as with pictures that are made when they are asked for."""
    of_name = Counter(dict.fromkeys(dataset.names, 0))
    empty = objects = crowds = 0
    for index in range(len(dataset)):
        record = dataset[index]
        of_name.update(dict(zip(record.labels, record.positive_NL.sum(axis=0).tolist(), strict=True)))
        empty += not len(record.boxes_xyxy)
        objects += len(record.boxes_xyxy)
        crowds += int(record.crowd_N.sum())
        progress(index + 1, len(dataset))
    return Counts(len(dataset), len(dataset), empty, objects, crowds, of_name)
