"""From the name of a data set to its records."""

import inspect
import mmap
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from groundling.data.problems import Problems
from groundling.data.readers.coco import CocoRecords
from groundling.data.readers.flickr import FlickrRecords
from groundling.data.readers.lvis import LvisRecords
from groundling.data.readers.odvg import OdvgRecords
from groundling.data.readers.refcoco import PICKLE_ENDINGS, RefCocoRecords
from groundling.data.readers.voc import VocRecords
from groundling.data.readers.yolo import YoloRecords
from groundling.data.record import Dataset
from groundling.errors import ConfigError, DatasetError
from groundling.keywords import closest

SCENES = "scenes"

READERS: Mapping[str, Callable[..., Dataset]] = {
    "coco": CocoRecords,
    "odvg": OdvgRecords,
    "lvis": LvisRecords,
    "refcoco": RefCocoRecords,
    "flickr": FlickrRecords,
    "yolo": YoloRecords,
    "voc": VocRecords,
}
"""Every format of files and its reader; a specification's keys are the reader's arguments."""

WITH_MASKS = ("coco", "lvis", "yolo", SCENES)
"""Formats whose masks are read."""

_INSIDE = ("annotations.json", "_annotations.coco.json", "odvg.jsonl", "data.yaml")
_LABEL_MAP = "label_map.json"


def open_dataset(
    spec: Mapping[str, object] | str | os.PathLike[str], *, problems: Problems | None = None, masks: bool = False
) -> Dataset:
    """Open a data set.

    Args:
        spec: a path, or a mapping with `annotations` and the other arguments of the format's reader, such as
            {"format": "coco", "annotations": "instances.json", "images": "val2017"}. Without `format` it is recognised.
            {"format": "scenes", ...} makes pictures and takes the arguments of `SceneRecords`.
        problems: hears what is wrong with the annotations; without it the first error is raised.
        masks: give each record its masks, which costs time and which every object must have then; formats are those of
            WITH_MASKS.

    Raises:
        ConfigError: the format or a key is unknown, or a value is not of its type.
        DatasetError: the annotations are missing or wrong, or masks are asked for and there are none.
        MissingExtraError: masks are polygons, and faster-coco-eval is not installed.
    """
    settings = complete_spec(spec)
    name = settings.pop("format")
    if masks:
        require_masks(name)
    own: dict[str, Any] = {"masks": True} if masks else {}
    if name == SCENES:
        from groundling.data.scenes.records import SceneRecords

        return _opened(SCENES, SceneRecords, settings, own)
    return _opened(name, READERS[name], settings, own if problems is None else own | {"problems": problems})


def require_masks(name: str) -> None:
    """Refuse a format whose masks are not read.

    Args:
        name: the format.

    Raises:
        DatasetError: it is not one of WITH_MASKS.
    """
    if name not in WITH_MASKS:
        raise DatasetError(
            f"Masks are read from {', '.join(WITH_MASKS)}, but the data set is {name}, which is read with boxes only. "
            "Leave masks (--masks) out, or give the COCO file that it was made from."
        )


def complete_spec(spec: Mapping[str, object] | str | os.PathLike[str]) -> dict[str, Any]:
    """Return a specification with its format and everything that follows from the path.

    Raises:
        ConfigError: the format is unknown, or cannot be recognised.
        DatasetError: there is no such file.
    """
    given = spec.items() if isinstance(spec, Mapping) else [("annotations", os.fspath(spec))]
    settings: dict[str, Any] = {key: value for key, value in given if value is not None}
    name = settings.get("format")
    if name is not None and (not isinstance(name, str) or name not in (*READERS, SCENES)):
        formats = (*READERS, SCENES)
        close = closest(str(name), formats)
        hint = f"Did you mean {close!r}?" if close else f"Use one of {', '.join(formats)}."
        raise ConfigError(f"There is no data set format {name!r}. {hint}")
    if name == SCENES:
        return settings
    annotations = settings.get("annotations")
    if not isinstance(annotations, str | os.PathLike) or not os.fspath(annotations):
        raise ConfigError(f"A data set needs the key 'annotations' with a path, but it is {annotations!r}.")
    path = Path(annotations).expanduser()
    if not path.exists():
        raise DatasetError(f"There is no file or folder {str(path)!r}. Check the path of the annotations.")
    if name is None:
        path, settings["format"] = _recognised(path)
    elif path.is_dir() and name in ("coco", "lvis", "odvg"):
        path = _inside(path)
    settings["annotations"] = path
    label_map = path.parent / _LABEL_MAP
    if settings["format"] == "odvg" and label_map.is_file():
        settings.setdefault("label_map", label_map)
    return settings


def _opened(name: str, reader: Callable[..., Dataset], settings: Mapping[str, Any], own: Mapping[str, Any]) -> Dataset:
    """Call a reader with settings that its signature allows, and with arguments that are no settings."""
    parameters = {
        key: value for key, value in inspect.signature(reader).parameters.items() if key not in ("masks", "problems")
    }
    for key, value in settings.items():
        if key not in parameters:
            close = closest(str(key), parameters)
            hint = f"Did you mean {close!r}?" if close else f"It takes: {', '.join(parameters)}."
            raise ConfigError(f"A data set of format {name!r} has no key {key!r}. {hint}")
        if name == SCENES:
            expected: tuple[type, ...] = (type(parameters[key].default),)
        else:
            expected = (str, os.PathLike)
        if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
            kind = "text" if str in expected else expected[0].__name__
            raise ConfigError(f"A data set of format {name!r}: {key}={value!r} must be of the type {kind}.")
    return reader(**settings, **own)


def _recognised(path: Path) -> tuple[Path, str]:
    """Return the annotation file or folder and its format."""
    if path.is_dir():
        if (path / "Annotations").is_dir():
            return path, "flickr" if (path / "Sentences").is_dir() else "voc"
        path = _inside(path)
    ending = path.suffix.lower()
    if ending == ".jsonl":
        return path, "odvg"
    if ending in (".yaml", ".yml"):
        return path, "yolo"
    if ending in PICKLE_ENDINGS:
        return path, "refcoco"
    if ending == ".json":
        return path, _kind_of_json(path)
    raise ConfigError(f"The format of {str(path)!r} cannot be recognised. Name it, one of {', '.join(READERS)}.")


def _inside(folder: Path) -> Path:
    found = [folder / name for name in _INSIDE if (folder / name).is_file()]
    found += [path for path in sorted(folder.glob("*.json")) if path.name != _LABEL_MAP and path not in found]
    if not found:
        raise ConfigError(
            f"The folder {str(folder)!r} has no annotations in it ({', '.join(_INSIDE)}, a .json file or the folder "
            "'Annotations'). Name the annotation file."
        )
    if len(found) > 1 and found[0].name not in _INSIDE:
        raise ConfigError(f"The folder {str(folder)!r} has several .json files. Name one: {found[0].name}, ...")
    return found[0]


def _kind_of_json(path: Path) -> str:
    """Tell COCO, LVIS, RefCOCO and ODVG apart by the keys in the text, without parsing what may be large."""
    if path.stat().st_size == 0:
        raise DatasetError(f"{path} is empty: the file has 0 bytes. Write or download it again.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        has = {
            key: text.find(f'"{key}"'.encode()) >= 0
            for key in ("categories", "neg_category_ids", "filename", "sentences")
        }
    if has["categories"]:
        return "lvis" if has["neg_category_ids"] else "coco"
    if has["sentences"]:
        return "refcoco"
    return "odvg" if has["filename"] else "coco"  # whose reader says what is missing
