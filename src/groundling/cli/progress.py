"""How far a verb is, on stderr and on a terminal only; stdout is left alone, it may be a file that someone parses."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class Rate(ProgressColumn):
    """How many of a unit are done in a second.

    Args:
        unit: what is counted, such as "pictures".
    """

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return the rate; nothing where it is not known yet."""
        return Text("" if task.speed is None else f"{task.speed:.1f} {self._unit}/s")


def progress_bar(unit: str | None = None, *, shown: bool = True) -> Progress:
    """Return a bar with the number done and the time left.

    Args:
        unit: what is counted, to show the rate; None shows none.
        shown: False shows nothing, on a terminal too.
    """
    rate = () if unit is None else (Rate(unit),)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *rate,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not shown or not sys.stderr.isatty(),
    )


@contextmanager
def counted(title: str, unit: str | None = None) -> Iterator[Callable[[int, int], None]]:
    """Give a function that takes the number done and the number of all.

    Args:
        title: what is being done.
        unit: see `progress_bar`.
    """
    with progress_bar(unit) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
