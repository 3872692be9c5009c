"""LVIS: COCO's layout, but only some categories of each picture were looked for."""

from collections.abc import Mapping
from pathlib import Path

from groundling.data.problems import Kind, Place, Problems, StopAtFirst
from groundling.data.readers.coco_json import (
    CocoBasedRecords,
    CocoFile,
    Entry,
    Picture,
    folder_of_pictures,
    names_of,
)
from groundling.data.readers.files import clean_name, is_whole

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}
"""How often a category occurs in training: up to 10 pictures, up to 100, more."""


class LvisRecords(CocoBasedRecords):
    """An LVIS data set. A record's `absent` names were looked for and not found; of all others nobody knows.

    Of `partial` names, "not exhaustive" in the file, some things are labelled and others may not be.

    Attributes:
        frequencies: "rare", "common" or "frequent" of each name for which the file says it.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path | None = None,
        *,
        masks: bool = False,
        problems: Problems | None = None,
    ) -> None:
        """Read the annotations; no picture is opened.

        Args:
            annotations: the JSON file.
            images: the folder of the pictures, or the folder that holds `train2017` and `val2017`; as for COCO.
            masks: read "segmentation" too; as for COCO.
            problems: hears what is wrong; without it the first error is raised.

        Raises:
            DatasetError: the file is missing or wrong; the message names the entry.
            ImageError: as for COCO.
            MissingExtraError: as for COCO.
        """
        problems = StopAtFirst() if problems is None else problems
        file = CocoFile(Path(annotations).expanduser(), problems)
        folder = folder_of_pictures(images, file.path)
        categories = file.categories(_name)
        pictures = file.pictures(_FileNames(folder))
        if pictures and not any("neg_category_ids" in picture.entry for picture in pictures.values()):
            cause = "no picture has 'neg_category_ids', so nobody knows what was looked for. Read it as coco."
            problems.add(Kind.FIELD, Place(str(file.path)), cause)
        absent, partial = (
            {
                image_id: names_of(_ids(picture, field, problems), categories, picture.place, problems)
                for image_id, picture in pictures.items()
            }
            for field in ("neg_category_ids", "not_exhaustive_category_ids")
        )
        self.frequencies = _frequencies(file, categories)
        super().__init__(file, categories, pictures, absent, folder, problems, partial=partial, masks=masks)


class _FileNames:
    """Finds a picture's file: by its name, else by the end of its address, with the folder in it where there is one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._exists: dict[str, bool] = {}

    def __call__(self, entry: Entry) -> str | None:
        name, address = entry.get("file_name"), entry.get("coco_url")
        if isinstance(name, str) or not isinstance(address, str):
            return name
        *_, split, tail = ["", *address.split("/")]
        if split not in self._exists:
            self._exists[split] = bool(split) and (self._folder / split).is_dir()
        return f"{split}/{tail}" if self._exists[split] else tail


def _name(entry: Entry) -> str | None:
    synonyms = entry.get("synonyms")
    first = synonyms[0] if isinstance(synonyms, list) and synonyms else None
    name = entry.get("name", first)
    return clean_name(name.replace("_", " ")) if isinstance(name, str) else None


def _frequencies(file: CocoFile, categories: Mapping[int, str]) -> dict[str, str]:
    entries = [entry for entry in file.content["categories"] if isinstance(entry, dict)]
    letters = {entry["id"]: str(entry.get("frequency")) for entry in entries if isinstance(entry.get("id"), int)}
    return {name: FREQUENCIES[letters[key]] for key, name in categories.items() if letters[key] in FREQUENCIES}


def _ids(picture: Picture, field: str, problems: Problems) -> list[int]:
    ids = picture.entry.get(field, [])
    if isinstance(ids, list) and all(is_whole(category_id) for category_id in ids):
        return ids
    problems.add(Kind.FIELD, picture.place, f"{field}={ids!r} must be a list of category ids.")
    return []
