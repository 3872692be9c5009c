"""ODinW, object detection in the wild: many small data sets in COCO's format, each in a folder of its own."""

from pathlib import Path
from typing import NamedTuple

from groundling.errors import DatasetError

ANNOTATION_FILES = ("annotations_without_background.json", "annotations.json", "_annotations.coco.json")
"""Names, or endings of names, of annotation files; the first that a data set has is used."""

TRAINING = "train"


class CocoSet(NamedTuple):
    """One data set: its annotation file and the folder of its pictures."""

    annotations: Path
    images: Path


def find_sets(folder: Path, split: str = "") -> dict[str, CocoSet]:
    """Find the data sets in a folder: each folder in it that has an annotation file, at any depth.

    Pictures are in `images` beside the annotation file, else beside it.

    Args:
        folder: of the data sets.
        split: a folder or the beginning of a file's name, such as "valid" or "test", where a data set has several
            annotation files; those of training are never used.

    Raises:
        DatasetError: there is no data set, or one has several annotation files.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder. ODinW is a folder with one folder for each data set.")
    found = {}
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        file = _annotation_file(place, split)
        if file is not None:
            beside = file.parent / "images"
            found[place.name] = CocoSet(file, beside if beside.is_dir() else file.parent)
    if not found:
        wanted = f" with {split!r} in their path" if split else ""
        raise DatasetError(
            f"{folder} has no data sets{wanted}: no folder in it has a file whose name ends in "
            f"{' or '.join(ANNOTATION_FILES)}."
        )
    return found


def _annotation_file(place: Path, split: str) -> Path | None:
    for ending in ANNOTATION_FILES:
        files = [path for path in sorted(place.rglob(f"*{ending}")) if _is_wanted(path.relative_to(place), split)]
        if len(files) > 1:
            listed = ", ".join(str(path.relative_to(place)) for path in files)
            raise DatasetError(f"{place} has several annotation files: {listed}. Choose with --split, such as valid.")
        if files:
            return files[0]
    return None


def _is_wanted(path: Path, split: str) -> bool:
    if any(part.startswith(TRAINING) for part in path.parts):
        return False
    return not split or any(part.startswith(split) for part in path.parts)
