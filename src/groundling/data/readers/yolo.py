"""YOLO as Ultralytics lays it out: data.yaml, a folder `images`, beside it `labels` with a file for each picture."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundling.data.problems import Kind, Place, Problems, StopAtFirst
from groundling.data.readers.boxes import Box, box_fault, is_kept
from groundling.data.readers.files import clean_name, pictures_in, read_lines, read_text
from groundling.data.readers.rows import Objects, Row, RowRecords, named_row
from groundling.data.readers.segmentations import is_near, polygon_filler
from groundling.errors import DatasetError
from groundling.pictures.folders import PICTURE_ENDINGS

SPLITS = ("train", "val", "test")

_BOX_NUMBERS = 4
_FRACTION_LIMIT = 1.01  # some tools write 1.0000001; pixels are far larger


class YoloRecords(RowRecords):
    """One split of a YOLO data set. A picture without a label file has no objects.

    The boxes of outlines (more than four numbers) are their bounding boxes; key points are left out. The unit of boxes
    and outlines is the picture, so a picture's header is read when its record is asked for.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path | None = None,
        *,
        split: str | None = None,
        masks: bool = False,
        problems: Problems | None = None,
    ) -> None:
        """Read the annotations; no picture is opened.

        Args:
            annotations: `data.yaml`, or the folder that holds it.
            images: the folder of the pictures; else what `data.yaml` says.
            split: train, val or test; may be left out where all that there are lie in one folder.
            masks: keep the outlines, which every line then needs; a record's masks are filled when it is asked for.
            problems: hears what is wrong; without it the first error is raised.

        Raises:
            DatasetError: a file is missing or wrong; the message names it.
            MissingExtraError: there are outlines, masks are asked for, and faster-coco-eval is not installed.
        """
        problems = StopAtFirst() if problems is None else problems
        path = Path(annotations).expanduser()
        path = path / "data.yaml" if path.is_dir() else path
        content = _read_yaml(path)
        names = _names(content.get("names"), Place(str(path)), problems)
        sources = _split_sources(content, path, split) if images is None else [Path(images).expanduser()]
        pictures = [picture for source in sources for picture in _pictures(source)]
        folder = sources[0] if len(sources) == 1 and sources[0].is_dir() else path.parent
        rows = []
        for picture in pictures:
            file_name = picture.relative_to(folder).as_posix() if picture.is_relative_to(folder) else str(picture)
            rows.append(_row(picture, file_name, names, "kpt_shape" in content, problems, masks=masks))
        if any(row.shapes_N for row in rows):
            polygon_filler()  # better now than at the first record
        super().__init__(tuple(names.values()), rows, folder, problems, path)


def label_file(picture: Path) -> Path:
    """Return where the labels of a picture stand: the last folder `images` of its path becomes `labels`."""
    parts = list(picture.parts)
    for number in reversed(range(len(parts) - 1)):
        if parts[number] == "images":
            parts[number] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _row(
    picture: Path, file_name: str, names: Mapping[int, str], has_points: bool, problems: Problems, *, masks: bool
) -> Row:
    file = label_file(picture)
    objects = Objects(shapes=[] if masks else None)
    index_of = {class_id: index for index, class_id in enumerate(names)}
    for number, line in read_lines(file) if file.is_file() else ():
        place = Place(str(file), f"line {number}")
        numbers = _numbers(line)
        if numbers is None or len(numbers) < 1 + _BOX_NUMBERS or not numbers[0].is_integer():
            cause = f"{line.strip()[:80]!r} must be five numbers: class centre_x centre_y width height."
            problems.add(Kind.FIELD, place, cause)
            continue
        class_id = int(numbers[0])
        if class_id not in index_of:
            cause = f"there is no class {class_id} in data.yaml. The classes are {_span(names)}."
            problems.add(Kind.UNKNOWN_CATEGORY, place, cause)
            continue
        outline = _outline(numbers[1:], has_points)
        box = _box(numbers[1:], outline)
        fault = _fault(box, numbers[1:])
        if fault is not None:
            problems.add(fault[0], place, f"the box {line.strip()[:80]!r} {fault[1]}")
        if not is_kept(fault):
            continue
        lack = _lack(outline) if masks else None
        if lack is not None:
            problems.add(Kind.MASK, place, f"{line.strip()[:80]!r} {lack}")
        else:
            objects.add(box, index_of[class_id], shape="" if outline is None else outline)
    return named_row((file_name, Place(str(file)), None), objects, tuple(names.values()), relative=True)


def _outline(numbers: Sequence[float], has_points: bool) -> NDArray[np.float64] | None:
    """Return the points [K, 2] of an outline; None for a box. A last number without a partner is a score."""
    if has_points or len(numbers) <= _BOX_NUMBERS + 1:
        return None
    return np.array(numbers[: len(numbers) // 2 * 2], np.float64).reshape(-1, 2)


def _lack(outline: NDArray[np.float64] | None) -> str | None:
    """Say why a line has no usable mask, as the end of a sentence; None if it has one."""
    if outline is None:
        return (
            "is a box without an outline, so it has no mask. Write the outline in its place (class x1 y1 x2 y2 x3 y3 "
            "..., in fractions of the picture), remove the line, or read boxes only: leave masks (--masks) out."
        )
    if not is_near(outline):
        return (
            "is an outline that lies far outside the picture, or holds a number that is not finite. Measure the object "
            "again or remove it."
        )
    return None


def _box(numbers: Sequence[float], outline: NDArray[np.float64] | None) -> Box:
    """Return corners in 0..1 of centre and size, or of an outline."""
    if outline is not None:
        x, y = outline.T.tolist()
        return min(x), min(y), max(x), max(y)
    centre_x, centre_y, width, height = numbers[:_BOX_NUMBERS]
    return centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2


def _fault(box: Box, numbers: Sequence[float]) -> tuple[Kind, str] | None:
    fault = box_fault(box, None)
    if fault is not None and fault[0] is Kind.BOX_INVERTED:
        return Kind.BOX_INVERTED, "has a negative size."
    if fault is None and max(numbers[:_BOX_NUMBERS]) > _FRACTION_LIMIT:
        return (
            Kind.FIELD,
            "is not in fractions of the picture. Divide its numbers by the picture's width and height.",
        )
    return fault


def _numbers(line: str) -> list[float] | None:
    try:
        return [float(word) for word in line.split()]
    except ValueError:
        return None


def _read_yaml(path: Path) -> Mapping[str, Any]:
    import yaml  # type: ignore[import-untyped]

    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path} is not valid YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path} must hold the keys 'names' and 'train', 'val' or 'test'.")
    return content


def _names(value: object, place: Place, problems: Problems) -> dict[int, str]:
    """Return the names by their class numbers, ascending."""
    pairs: Iterable[tuple[object, object]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    else:
        problems.add(Kind.FIELD, place, f"names={value!r} must be a list of names, or names by their numbers.")
    found: dict[int, str] = {}
    for number, entry in pairs:
        name = clean_name(str(entry))
        if not str(number).isdecimal() or name is None or isinstance(entry, list | dict | bool | None):
            problems.add(Kind.FIELD, place, f"names: {number!r}: {entry!r} must be a number and a name, in quotes.")
        elif name in found.values():
            problems.add(Kind.DUPLICATE_NAME, place, f"names: the name {name!r} has several numbers. Rename one.")
        else:
            found[int(str(number))] = name
    return dict(sorted(found.items()))


def _span(names: Mapping[int, str]) -> str:
    return f"{min(names)} to {max(names)}" if names else "none"


def _split_sources(content: Mapping[str, Any], path: Path, split: str | None) -> list[Path]:
    """Return the folders and lists of pictures of a split."""
    base = path.parent / str(content.get("path") or "")
    found = {name: _resolved(content[name], base, path) for name in SPLITS if content.get(name)}
    if split is not None:
        if split not in found:
            raise DatasetError(f"{path} has no split {split!r}. It has: {', '.join(found) or 'none'}.")
        return found[split]
    different = {tuple(sources) for sources in found.values()}
    if len(different) > 1:
        raise DatasetError(f"{path} has several splits. Name one with split=...: {', '.join(found)}.")
    return found[next(iter(found))] if found else [base / "images"]


def _resolved(value: object, base: Path, path: Path) -> list[Path]:
    """Find what a split names, relative to the data set; Roboflow writes ../train/images for train/images."""
    sources = []
    for name in value if isinstance(value, list) else [value]:
        choices = (base / str(name), base / str(name).removeprefix("../"), path.parent / str(name))
        sources.append(Path(os.path.normpath(next((choice for choice in choices if choice.exists()), choices[0]))))
    return sources


def _pictures(source: Path) -> list[Path]:
    if source.is_dir():
        return pictures_in(source)
    if source.is_file() and source.suffix == ".txt":
        return [source.parent / line.strip() for _, line in read_lines(source)]
    if source.suffix.lower() in PICTURE_ENDINGS:
        return [source]
    raise DatasetError(f"{source} is neither a folder of pictures nor a .txt list of them. Correct data.yaml.")
