"""The layout that COCO, LVIS and RefCOCO share: one JSON object with lists of images, categories and annotations."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from groundling.data.problems import Kind, Place, Problems, StopAtFirst
from groundling.data.readers.boxes import Box, box_fault, four_numbers, is_kept, written
from groundling.data.readers.files import (
    LARGEST_SIDE,
    clean_name,
    is_number,
    is_text,
    is_whole,
    picture_size,
    read_json,
)
from groundling.data.readers.rows import Objects, RowRecords, named_row
from groundling.data.readers.segmentations import run_lengths
from groundling.errors import DatasetError, ImageError

Id = int | str
Entry = Mapping[str, Any]
Name = Callable[[Entry], str | None]


@dataclass(frozen=True, slots=True)
class Picture:
    """An entry of "images".

    Attributes:
        id: its id, as annotations name it.
        file_name: relative to the folder of the pictures.
        image_wh: its size; None if the file does not say it.
        place: where it stands.
        entry: the entry itself.
    """

    id: Id
    file_name: str
    image_wh: tuple[int, int] | None
    place: Place
    entry: Entry


@dataclass(frozen=True, slots=True)
class Annotation:
    """An entry of "annotations" with its box as corners in pixels, and its "segmentation" as it stands there."""

    id: Id | None
    category_id: int
    box: Box
    crowd: bool
    area: float
    segmentation: object
    place: Place


class CocoFile:
    """One JSON file of that layout.

    Attributes:
        path: the file.
        content: what is in it; "images" and "categories" are lists, and so is "annotations" if it is there.
    """

    def __init__(self, path: Path, problems: Problems):
        content = read_json(path)
        if not isinstance(content, dict):
            raise DatasetError(
                f"{path} holds a JSON {type(content).__name__}, but COCO annotations are an object with the lists "
                "'images', 'categories' and 'annotations'. A list is usually a file of results."
            )
        for name in ("images", "categories", "annotations"):
            if not isinstance(content.get(name, [] if name == "annotations" else None), list):
                raise DatasetError(
                    f"{path} has no list {name!r}. COCO annotations are an object with the lists 'images', "
                    f"'categories' and 'annotations'; it has: {', '.join(map(str, content)) or 'nothing'}."
                )
        self.path = path
        self.content: Mapping[str, list[Any]] = content
        self._problems = problems

    def categories(self, name_of: Name = lambda entry: clean_name(entry.get("name"))) -> dict[int, str]:
        """Return the name of each category id, in ascending order of the ids.

        A name that two ids share is refused, unless only one of them has objects: then the others are left out.
        """
        named: dict[int, str] = {}
        for place, entry in self._entries("categories"):
            category_id, name = entry.get("id"), name_of(entry)
            if not is_whole(category_id):
                self._problems.add(Kind.FIELD, place, f"the category id {category_id!r} is not an integer.")
            elif name is None:
                self._problems.add(
                    Kind.FIELD, place, f"category {category_id} has no usable name: {entry.get('name')!r}."
                )
            elif category_id in named:
                self._problems.add(
                    Kind.DUPLICATE_ID, place, f"category id {category_id} stands twice. Give each its own."
                )
            else:
                named[category_id] = name
        if not named and not self.content["categories"]:
            self._problems.add(Kind.EMPTY, Place(str(self.path)), "there are no categories. List what is labelled.")
        return self._without_shared_names(dict(sorted(named.items())))

    def pictures(self, file_name_of: Name = lambda entry: entry.get("file_name")) -> dict[Id, Picture]:
        """Return the pictures by their ids, in the file's order."""
        found: dict[Id, Picture] = {}
        file_names: set[str] = set()
        for place, entry in self._entries("images"):
            image_id, file_name = entry.get("id"), file_name_of(entry)
            if not _is_id(image_id):
                self._problems.add(Kind.FIELD, place, f"the picture id {image_id!r} is neither an integer nor text.")
            elif not is_text(file_name):
                self._problems.add(Kind.FIELD, place, f"the picture's file name {file_name!r} is not usable text.")
            elif image_id in found:
                self._problems.add(
                    Kind.DUPLICATE_ID, place, f"picture id {image_id!r} stands twice. Give each its own."
                )
            else:
                if file_name in file_names:
                    self._problems.add(Kind.DUPLICATE_PICTURE, place, f"the picture {file_name!r} stands twice.")
                file_names.add(str(file_name))
                size = read_size(entry, place, self._problems)
                found[image_id] = Picture(image_id, str(file_name), size, place, entry)
        return found

    def annotations(self, pictures: Mapping[Id, Picture], categories: Mapping[int, str]) -> dict[Id, list[Annotation]]:
        """Return the usable annotations of each picture by its id; a picture without any has an empty list."""
        grouped: dict[Id, list[Annotation]] = {image_id: [] for image_id in pictures}
        ids: set[Id] = set()
        for place, entry in self._entries("annotations"):
            image_id, category_id = entry.get("image_id"), entry.get("category_id")
            if not _is_id(image_id) or image_id not in pictures:
                cause = f"there is no picture with the id {image_id!r} in 'images'. Add it or remove the annotation."
                self._problems.add(Kind.UNKNOWN_PICTURE, place, cause)
                continue
            if not is_whole(category_id) or category_id not in categories:
                self._problems.add(Kind.UNKNOWN_CATEGORY, place, unknown_category(category_id, categories))
                continue
            if _is_id(entry.get("id")):
                if entry["id"] in ids:
                    cause = f"annotation id {entry['id']!r} stands twice, and some tools then lose one of them."
                    self._problems.add(Kind.DUPLICATE_ANNOTATION, place, cause)
                ids.add(entry["id"])
            box, crowd = self._box(entry, place, pictures[image_id]), entry.get("iscrowd")
            if crowd not in (None, 0, 1):
                self._problems.add(Kind.FIELD, place, f"iscrowd={crowd!r} must be 0 or 1.")
            elif box is not None:
                about = category_id, box, bool(crowd), _area(entry, box), entry.get("segmentation"), place
                grouped[image_id].append(Annotation(entry.get("id"), *about))
        return grouped

    def _box(self, entry: Entry, place: Place, picture: Picture) -> Box | None:
        numbers = four_numbers(entry.get("bbox"))
        if numbers is None:
            cause = f"bbox={entry.get('bbox')!r} must be four numbers: [left, top, width, height] in pixels."
            self._problems.add(Kind.FIELD, place, cause)
            return None
        left, top, width, height = numbers
        box = (left, top, left + width, top + height)
        fault = box_fault(box, picture.image_wh)
        if fault is not None:
            kind, cause = fault
            if kind is Kind.BOX_INVERTED:
                cause = "has a negative size. A COCO box is [left, top, width, height]."
            self._problems.add(kind, place, f"the box {written(numbers)} {cause}")
        return box if is_kept(fault) else None

    def _entries(self, table: str) -> Iterator[tuple[Place, Entry]]:
        """Yield the objects of one of the lists with their places; anything else in it is a problem."""
        file = str(self.path)
        for number, entry in enumerate(self.content.get(table, [])):
            spot = f"{table}[{number}]"
            if not isinstance(entry, dict):
                self._problems.add(Kind.FIELD, Place(file, spot), "this entry must be a JSON object.")
                continue
            spot = f"{spot} (id {entry['id']!r})" if "id" in entry else spot
            yield Place(file, spot), entry

    def _without_shared_names(self, named: dict[int, str]) -> dict[int, str]:
        shared = {name: count for name, count in Counter(named.values()).items() if count > 1}
        if not shared:
            return named
        entries = [entry for entry in self.content.get("annotations", []) if isinstance(entry, dict)]
        used = {entry["category_id"] for entry in entries if isinstance(entry.get("category_id"), int)}
        kept = dict(named)
        for name in shared:
            ids = [category_id for category_id in named if named[category_id] == name]
            with_objects = [category_id for category_id in ids if category_id in used]
            listed = ", ".join(map(str, ids))
            if len(with_objects) > 1:
                cause = f"the categories {listed} are all called {name!r}. Rename them or give them one id."
                self._problems.add(Kind.DUPLICATE_NAME, Place(str(self.path), f"categories {listed}"), cause)
                continue
            keeper = with_objects[0] if with_objects else ids[0]
            cause = f"the categories {listed} are all called {name!r}; only {keeper} has objects, and it is used."
            self._problems.add(Kind.UNUSED_NAME, Place(str(self.path), f"categories {listed}"), cause)
            for category_id in ids:
                if category_id != keeper:
                    del kept[category_id]
        return kept


class CocoBasedRecords(RowRecords):
    """Records that know their ids in the file, and the areas of their objects.

    Attributes:
        category_ids: the file's id of each name, aligned with `names`.
        annotations: the file.
    """

    def __init__(
        self,
        file: CocoFile,
        categories: Mapping[int, str],
        pictures: Mapping[Id, Picture],
        absent: Mapping[Id, tuple[str, ...]] | None,
        images: Path,
        problems: Problems,
        *,
        partial: Mapping[Id, tuple[str, ...]] | None = None,
        masks: bool = False,
    ) -> None:
        self.annotations = file.path
        self.category_ids = tuple(categories)
        self._image_ids = tuple(pictures)
        names = tuple(categories.values())
        index_of = {category_id: index for index, category_id in enumerate(categories)}
        rows = []
        for image_id, found in file.annotations(pictures, categories).items():
            picture = pictures[image_id]
            objects = Objects(shapes=[] if masks else None)
            counts_N = _masks(found, picture, images, problems) if masks else [""] * len(found)
            for one, counts in zip(found, counts_N, strict=True):
                if counts is not None:
                    objects.add(one.box, index_of[one.category_id], one.crowd, one.area, counts)
            about = picture.file_name, picture.place, picture.image_wh
            missing = None if absent is None else absent[image_id]
            unsure = () if partial is None else partial[image_id]
            rows.append(named_row(about, objects, names, absent=missing, partial=unsure))
        super().__init__(names, rows, images, problems, file.path)

    def image_id(self, index: int) -> Id:
        """Return the file's id of a record's picture."""
        return self._image_ids[index]

    def areas(self, index: int) -> NDArray[np.float64]:
        """Return the area of each object of a record in square pixels [N]: of its mask if stated, else of its box."""
        row = self.rows[index]
        _, kept_N = row.visible(self.size_of(row))
        return np.zeros(0) if row.areas_N is None else row.areas_N[kept_N]


def _masks(found: Sequence[Annotation], picture: Picture, images: Path, problems: Problems) -> list[str | None]:
    """Return the run lengths of each annotation of a picture; None for one that is damaged, which is a problem.

    Raises:
        ImageError: the picture's size is needed and its file is missing or broken, and the first error is raised.
    """
    image_wh = picture.image_wh
    if image_wh is None and found:
        file = images / picture.file_name
        try:
            image_wh = picture_size(file)
        except ImageError as error:
            if isinstance(problems, StopAtFirst):
                raise
            kind = Kind.PICTURE_UNREADABLE if file.exists() else Kind.PICTURE_MISSING
            problems.add(kind, picture.place, str(error))
    counts: list[str | None] = []
    for one in found:
        if image_wh is None and one.segmentation is not None:
            counts.append(None)  # nothing can be said of it
            continue
        try:
            counts.append(run_lengths(one.segmentation, image_wh or (1, 1)))  # what is missing has no size either
        except DatasetError as error:
            problems.add(Kind.MASK, one.place, str(error))
            counts.append(None)
    return counts


def read_size(entry: Entry, place: Place, problems: Problems) -> tuple[int, int] | None:
    """Return "width" and "height" of an entry; None if they are not stated or not usable, which is a problem."""
    width, height = entry.get("width"), entry.get("height")
    if width is None or height is None:
        return None
    if not all(is_number(side) and 1 <= side <= LARGEST_SIDE and int(side) == side for side in (width, height)):
        cause = f"width={width!r} and height={height!r} must be whole numbers from 1 to {LARGEST_SIDE}, or be left out."
        problems.add(Kind.FIELD, place, cause)
        return None
    return int(width), int(height)


def unknown_category(category_id: object, categories: Mapping[int, str]) -> str:
    """Say that there is no such category, and what there is."""
    known = sorted(categories)
    listed = ", ".join(map(str, known[:10])) + (f", ... up to {known[-1]}" if len(known) > 10 else "")
    hint = " It is text; ids are integers." if isinstance(category_id, str) else ""
    return f"there is no category with the id {category_id!r}.{hint} The ids are: {listed or 'none'}."


def folder_of_pictures(images: str | Path | None, annotations: Path) -> Path:
    """Return the folder that is named, else `images` beside the annotations, else the folder of the annotations."""
    if images is not None:
        return Path(images).expanduser()
    beside = annotations.parent / "images"
    return beside if beside.is_dir() else annotations.parent


def names_of(ids: Sequence[int], categories: Mapping[int, str], place: Place, problems: Problems) -> tuple[str, ...]:
    """Return the names of category ids; an unknown one is a problem."""
    for category_id in ids:
        if category_id not in categories:
            problems.add(Kind.UNKNOWN_CATEGORY, place, unknown_category(category_id, categories))
    return tuple(categories[category_id] for category_id in ids if category_id in categories)


def _area(entry: Entry, box: Box) -> float:
    area = entry.get("area")
    if is_number(area) and 0 <= area <= LARGEST_SIDE**2:
        return float(area)
    return (box[2] - box[0]) * (box[3] - box[1])


def _is_id(value: object) -> TypeGuard[Id]:
    return is_whole(value) or isinstance(value, str)
