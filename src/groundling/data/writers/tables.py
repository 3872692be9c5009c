"""Tables, as CSV or Parquet: `boxes` with one row for each box and `pictures` with one row for each picture."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from groundling.data.record import Record
from groundling.data.writers.objects import DECIMALS, Writer, named_objects
from groundling.errors import missing_extra

if TYPE_CHECKING:
    import pyarrow

BOXES, PICTURES = "boxes", "pictures"

BOX_COLUMNS = {
    "picture": "string",
    "width": "int32",
    "height": "int32",
    "label": "string",
    "label_id": "int32",
    "score": "float64",
    "left": "float64",
    "top": "float64",
    "right": "float64",
    "bottom": "float64",
}
PICTURE_COLUMNS = {"picture": "string", "width": "int32", "height": "int32", "boxes": "int32"}

_ROWS = 10_000  # written at a time


class _Table(Protocol):
    """Takes in rows and writes them in the order of the columns."""

    def add(self, row: Sequence[Any]) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


class _Tables(Writer):
    """Writes both tables; only tables with scores have any in that column. Pictures are named and not taken along."""

    IMAGES: ClassVar[str] = ""
    SHARES_PICTURES: ClassVar[bool] = False

    def __init__(self, names: Sequence[str], boxes: _Table, pictures: _Table) -> None:
        self.left_out: Counter[str] = Counter()
        self._names = tuple(names)
        self._index_of = {name: index for index, name in enumerate(names)}
        self._boxes = boxes
        self._pictures = pictures

    def add(self, record: Record, file_name: str) -> None:
        """Take in a record; see `Writer`."""
        picture = (file_name, *record.image_wh)
        count = 0
        for one in named_objects(record, self._index_of, self.left_out):
            if one.is_crowd:
                self.left_out["crowds"] += 1
                continue
            count += 1
            box = (round(number, DECIMALS) for number in one.box)
            self._boxes.add((*picture, self._names[one.name_id], one.name_id, one.score, *box))
        self._pictures.add((*picture, count))

    def finish(self) -> None:
        """Write what is left of both."""
        self._boxes.finish()
        self._pictures.finish()

    def close(self) -> None:
        """Let go of both files; see `Writer`."""
        self._boxes.close()
        self._pictures.close()


class CsvWriter(_Tables):
    """Writes `boxes.csv` and `pictures.csv`: UTF-8, a line of column names, commas, an empty field for no score."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        boxes, pictures = folder / f"{BOXES}.csv", folder / f"{PICTURES}.csv"
        super().__init__(names, _CsvTable(boxes, BOX_COLUMNS), _CsvTable(pictures, PICTURE_COLUMNS))


class ParquetWriter(_Tables):
    """Writes `boxes.parquet` and `pictures.parquet`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        boxes, pictures = folder / f"{BOXES}.parquet", folder / f"{PICTURES}.parquet"
        super().__init__(names, _ParquetTable(boxes, BOX_COLUMNS), _ParquetTable(pictures, PICTURE_COLUMNS))


class _CsvTable:
    def __init__(self, path: Path, columns: Iterable[str]) -> None:
        self._path = path
        self._rows: list[Sequence[Any]] = [tuple(columns)]
        self._write("w")

    def add(self, row: Sequence[Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self._write("a")

    def finish(self) -> None:
        self._write("a")

    def close(self) -> None:
        """Do nothing: it is open only while rows are written."""

    def _write(self, mode: str) -> None:
        with self._path.open(mode, encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(self._rows)
        self._rows.clear()


class _ParquetTable:
    """The file stays open until it is closed, since its description stands at its end."""

    def __init__(self, path: Path, columns: dict[str, str]) -> None:
        check_parquet()
        import pyarrow.parquet

        self._schema = pyarrow.schema([(name, getattr(pyarrow, kind)()) for name, kind in columns.items()])
        self._stream = path.open("wb")
        self._file = pyarrow.parquet.ParquetWriter(self._stream, self._schema)
        self._rows: list[Sequence[Any]] = []

    def add(self, row: Sequence[Any]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _ROWS:
            self._write()

    def finish(self) -> None:
        if self._rows:
            self._write()
        self._file.close()
        self._stream.close()

    def close(self) -> None:
        with suppress(OSError, ValueError):  # a full disk has been told of
            self._file.close()
        self._file.is_open = False  # else it would try again when it is forgotten
        with suppress(OSError):
            self._stream.close()

    def _write(self) -> None:
        self._file.write_table(self._table())
        self._rows.clear()

    def _table(self) -> "pyarrow.Table":
        import pyarrow

        columns = list(zip(*self._rows, strict=True))
        return pyarrow.table(dict(zip(self._schema.names, columns, strict=True)), schema=self._schema)


def check_parquet() -> None:
    """Find out before long work, not after.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise missing_extra("pyarrow", "tables", "Writing Parquet") from error
