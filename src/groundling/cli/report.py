"""What `groundling detect` and `segment` print: results on stdout, everything else on stderr."""

import sys
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.table import Table

from groundling.cli.progress import progress_bar
from groundling.cli.stdout import allow_any_letter
from groundling.errors import ImageError
from groundling.structures.detections import Detections

PIPE_WIDTH = 200  # columns of a table that goes into a file or another program


class Report:
    """Prints results as they come (JSON Lines) or as one table at the end, and shows the progress.

    Args:
        count: number of pictures.
        as_json: print JSON Lines.
        with_masks: what is found has masks; the table says how good and how large they are.

    Attributes:
        failures: number of pictures that could not be used.
    """

    def __init__(self, *, count: int, as_json: bool, with_masks: bool = False) -> None:
        self.failures = 0
        allow_any_letter(as_json=as_json)
        self._as_json = as_json
        about_masks = ("mask", "area") if with_masks else ()
        self._table = Table("picture", "label", "score", *about_masks, "left", "top", "right", "bottom")
        for column in self._table.columns:
            column.overflow = "fold"  # nothing is cut
        for column in self._table.columns[2:]:
            column.justify = "right"
        self._written: list[Path] = []
        self._progress = progress_bar("pictures", shown=count > 1)
        self._task = self._progress.add_task("detecting", total=count)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if kind is None and not self._as_json:
            self._print_table()

    def add(self, found: Detections, *written: Path | None) -> None:
        """Take in the result of one picture and what was written of it: its drawing, folders of its things."""
        self._progress.advance(self._task)
        if self._as_json:
            typer.echo(replace(found, label_scores=None).to_json())
            return
        name = Path(found.source or "").name
        self._written += [path for path in written if path is not None]
        if len(found) == 0:
            self._table.add_row(name, "nothing found")
        areas = None if found.masks is None else found.masks.areas
        for row, item in enumerate(found):
            numbers = [f"{item.score:.2f}"]
            if areas is not None and item.mask_score is not None:
                numbers += [f"{item.mask_score:.2f}", f"{areas[row]:,}"]
            self._table.add_row(name, item.label, *numbers, *(f"{side:.1f}" for side in item.box_xyxy))

    def add_failure(self, error: ImageError) -> None:
        """Say why a picture could not be used and go on."""
        self.failures += 1
        self._progress.advance(self._task)
        typer.echo(f"groundling: {' '.join(str(error).split())}", err=True)

    def _print_table(self) -> None:
        console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, highlight=False)
        if self._table.row_count:
            console.print(self._table)
        for path in self._written:
            console.print(f"wrote {path}", soft_wrap=True)
