"""From one format to another."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from groundling.data.record import Dataset, Record
from groundling.data.writers.coco import CocoWriter
from groundling.data.writers.folder import atomic_folder
from groundling.data.writers.labelme import LabelmeWriter
from groundling.data.writers.objects import Writer
from groundling.data.writers.odvg import OdvgWriter
from groundling.data.writers.pictures import PictureFiles
from groundling.data.writers.png import PngWriter
from groundling.data.writers.tables import CsvWriter, ParquetWriter, check_parquet
from groundling.data.writers.voc import VocWriter
from groundling.data.writers.yolo import YoloWriter
from groundling.errors import ConfigError, DatasetError
from groundling.keywords import closest

Progress = Callable[[int, int], None]

WRITERS: Mapping[str, Callable[[Path, Sequence[str]], Writer]] = {
    "coco": CocoWriter,
    "odvg": OdvgWriter,
    "yolo": YoloWriter,
    "voc": VocWriter,
    "csv": CsvWriter,
    "parquet": ParquetWriter,
    "labelme": LabelmeWriter,
    "png": PngWriter,
}
"""Every format that can be written; the last four cannot be read again."""

WITH_POLYGONS = ("coco", "yolo", "labelme")
WITH_MASKS = (*WITH_POLYGONS, "png")
"""The formats that hold masks, and those that hold them as polygons, which only COCO need not."""

PARTS = frozenset(
    {
        "Annotations",
        "JPEGImages",
        "annotations.json",
        "boxes.csv",
        "boxes.parquet",
        "classes.txt",
        "data.yaml",
        "images",
        "instances",
        "label_map.json",
        "labels",
        "labels.txt",
        "masks",
        "odvg.jsonl",
        "pictures.csv",
        "pictures.parquet",
    }
)
"""What the formats put into a folder, and what may therefore be overwritten in one."""


@dataclass(frozen=True, slots=True)
class Placing:
    """How pictures come into the folder of a data set; see `PictureFiles`.

    Attributes:
        source: the folder that their names are relative to.
        copy: copy them; otherwise they are linked.
        doomed: a folder that is about to be replaced, in which no picture may lie.
        flat: put all of them into one folder.
    """

    source: Path | None
    copy: bool
    doomed: Path
    flat: bool = False


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written.

    Attributes:
        records: their number.
        left_out: what the format cannot hold, and how often it was met.
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
    polygons: bool = False,
    progress: Progress = lambda done, total: None,
) -> Conversion:
    """Write a data set in another format: all of it or, after an error, nothing.

    Boxes change by less than 0.001 pixel. Names, also those without objects, and pictures without objects are kept.

    Args:
        dataset: what to write.
        destination: the folder to write; it must be new or empty.
        to: one of WRITERS.
        copy: copy the pictures; otherwise they are linked to.
        overwrite: replace the folder, if nothing but a data set is in it.
        polygons: write COCO's masks as polygons, not as run lengths.
        progress: called with the number of records that are done and of all.

    Raises:
        ConfigError: there is no such format, or it has no polygons.
        DatasetError: the folder may not be written, or the format cannot hold such labels.
        ImageError: a picture is missing.
    """
    check_format(to, polygons=polygons)
    if to != "odvg" and not dataset.names:
        raise DatasetError(f"The labels of this data set are phrases and sentences, which {to} cannot hold. Use odvg.")
    place = Path(destination).expanduser()
    with atomic_folder(place, replaceable=PARTS if overwrite else None) as folder:
        records = _counted(dataset, progress)
        placing = Placing(source=getattr(dataset, "images", None), copy=copy, doomed=place)
        left_out = write_records(folder, to, records, dataset.names, placing, polygons=polygons)
    return Conversion(len(dataset), left_out)


def check_format(to: str, *, polygons: bool = False) -> None:
    """Find out before long work whether a format can be written.

    Raises:
        ConfigError: there is no such format, or it has no polygons.
        MissingExtraError: a package that it needs is not installed.
    """
    if to not in WRITERS:
        close = closest(to, WRITERS)
        hint = f"Did you mean {close!r}?" if close else f"Use one of {', '.join(WRITERS)}."
        raise ConfigError(f"There is no format {to!r}. {hint}")
    if polygons and to not in WITH_POLYGONS:
        raise ConfigError(f"{to} holds no polygons (--polygons). Write one of {', '.join(WITH_POLYGONS)}.")
    if to == "parquet":
        check_parquet()


def write_records(
    folder: Path,
    to: str,
    records: Iterable[Record],
    names: Sequence[str],
    placing: Placing,
    *,
    polygons: bool = False,
) -> dict[str, int]:
    """Write records into a folder, one after the other.

    Args:
        folder: an empty folder.
        to: one of WRITERS.
        records: pictures and what is in them.
        names: the vocabulary that their labels come from.
        placing: how pictures come into the folder, where the format takes them along.
        polygons: write COCO's masks as polygons, not as run lengths.

    Returns:
        What the format cannot hold, and how often it was met.

    Raises:
        DatasetError: the format cannot hold such labels, or a picture has another size than its record says.
        ImageError: a picture is missing.
        OSError: something cannot be written.
    """
    made = CocoWriter(folder, names, polygons=polygons) if to == "coco" else WRITERS[to](folder, names)
    with closing(made) as writer:
        place: Callable[[Record], str] = _key
        if writer.IMAGES:
            images = folder / writer.IMAGES
            images.mkdir()
            place = PictureFiles(
                images,
                source=placing.source,
                copy=placing.copy,
                shared=writer.SHARES_PICTURES,
                doomed=placing.doomed,
                flat=placing.flat,
            ).place
        for record in records:
            if record.masks is not None and to not in WITH_MASKS:
                writer.left_out["masks"] += len(record.masks)
            writer.add(record, place(record))
        writer.finish()
        return {what: count for what, count in writer.left_out.items() if count}


def _key(record: Record) -> str:
    return record.key


def _counted(dataset: Dataset, progress: Progress) -> Iterator[Record]:
    for index in range(len(dataset)):
        yield dataset[index]
        progress(index + 1, len(dataset))
