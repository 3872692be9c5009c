"""The numbers of a run: `metrics.jsonl`, one line for each report, and TensorBoard beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from groundling.errors import missing_extra
from groundling.files import write_text

FILE = "metrics.jsonl"


class Metrics:
    """Writes the numbers of a run; lines of steps that a resumed run does again are removed first.

    Args:
        run: folder of the run.
        step: steps done so far; later lines are removed.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self, run: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise missing_extra("tensorboard", "train", "Training") from error
        path = run / FILE
        kept = [line for line in read_metrics(run) if line["step"] <= step] if step else []
        write_text(path, "".join(f"{json.dumps(line)}\n" for line in kept))
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by name, such as "loss/loss_giou"."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def picture(self, step: int, name: str, pixels: Any) -> None:
        """Add a picture [H, W, 3] in 0..255."""
        self._board.add_image(name, pixels, step, dataformats="HWC")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left."""
        self._file.close()
        self._board.close()


def read_metrics(run: Path) -> list[dict[str, float]]:
    """Return the lines of `metrics.jsonl`, each with its "step"; a line that a crash has cut off is left out."""
    path = run / FILE
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    found = [_parsed(line) for line in text.split("\n")[:-1]]  # what follows the last newline was cut off
    return [line for line in found if isinstance(line.get("step"), int)]


def _parsed(line: str) -> dict[str, float]:
    try:
        values = json.loads(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
