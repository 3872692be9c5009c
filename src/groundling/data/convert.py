"""From one format to another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from groundling.data.record import Dataset
from groundling.data.writers.coco import CocoWriter
from groundling.data.writers.folder import atomic_folder
from groundling.data.writers.objects import Writer
from groundling.data.writers.odvg import OdvgWriter
from groundling.data.writers.pictures import PictureFiles
from groundling.data.writers.voc import VocWriter
from groundling.data.writers.yolo import YoloWriter
from groundling.errors import ConfigError, DatasetError
from groundling.keywords import closest

Progress = Callable[[int, int], None]

LAYOUTS: Mapping[str, type[CocoWriter] | type[OdvgWriter] | type[YoloWriter] | type[VocWriter]] = {
    "coco": CocoWriter,
    "odvg": OdvgWriter,
    "yolo": YoloWriter,
    "voc": VocWriter,
}

PARTS = frozenset(
    {
        "Annotations",
        "JPEGImages",
        "annotations.json",
        "classes.txt",
        "data.yaml",
        "images",
        "label_map.json",
        "labels",
        "odvg.jsonl",
    }
)
"""What the layouts put into a folder, and what may therefore be overwritten in one."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written.

    Attributes:
        records: their number.
        left_out: what the format cannot hold, and how often it was met; without masks, which no record has.
    """

    records: int
    left_out: Mapping[str, int]


def convert_dataset(
    dataset: Dataset,
    destination: str | Path,
    to: str,
    *,
    copy: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda done, total: None,
) -> Conversion:
    """Write a data set in another layout: all of it or, after an error, nothing.

    Boxes change by less than 0.001 pixel. Names, also those without objects, and pictures without objects are kept.

    Args:
        dataset: what to write.
        destination: the folder to write; it must be new or empty.
        to: one of LAYOUTS.
        copy: copy the pictures; otherwise they are linked to.
        overwrite: replace the folder, if nothing but a data set is in it.
        progress: called with the number of records that are done and of all.

    Raises:
        ConfigError: there is no such layout.
        DatasetError: the folder may not be written, or the layout cannot hold such labels.
        ImageError: a picture is missing.
    """
    if to not in LAYOUTS:
        close = closest(to, LAYOUTS)
        hint = f"Did you mean {close!r}?" if close else f"Use one of {', '.join(LAYOUTS)}."
        raise ConfigError(f"There is no layout {to!r}. {hint}")
    if to != "odvg" and not dataset.names:
        raise DatasetError(f"The labels of this data set are phrases and sentences, which {to} cannot hold. Use odvg.")
    place = Path(destination).expanduser()
    with atomic_folder(place, replaceable=PARTS if overwrite else None) as folder:
        writer: Writer = LAYOUTS[to](folder, dataset.names)
        (folder / writer.IMAGES).mkdir()
        pictures = PictureFiles(
            folder / writer.IMAGES,
            source=getattr(dataset, "images", None),
            copy=copy,
            shared=writer.SHARES_PICTURES,
            doomed=place,
        )
        for index in range(len(dataset)):
            record = dataset[index]
            writer.add(record, pictures.place(record))
            progress(index + 1, len(dataset))
        writer.finish()
    return Conversion(len(dataset), {what: count for what, count in writer.left_out.items() if count})
