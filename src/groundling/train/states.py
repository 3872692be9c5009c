"""What a run leaves on disk so that it can go on exactly where it stopped."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from groundling.errors import CheckpointError
from groundling.files import atomic_path

FOLDER = "checkpoints"
KEPT = 2
"""The last good state and the one before it."""


def save_state(run: Path, step: int, state: dict[str, Any]) -> Path:
    """Write the state after `step` steps and remove all but the last two.

    The file appears when it is complete; a full disk or a killed process leaves the earlier ones as they were.

    Args:
        run: folder of the run.
        step: steps done.
        state: tensors, numbers, texts, and lists and dicts of them.
    """
    folder = run / FOLDER
    path = folder / f"step-{step:08d}.pt"
    with atomic_path(path) as temporary:
        torch.save(state | {"step": step}, temporary)
    for old in _files(run)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_state(run: Path) -> dict[str, Any] | None:
    """Return the last state of a run that can be read, or None where there is none.

    Raises:
        CheckpointError: there are states, but none can be read.
    """
    files = _files(run)
    for path in reversed(files):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile):
            continue
        return state
    if files:
        raise CheckpointError(
            f"None of the {len(files)} checkpoints in {run / FOLDER} can be read: they are damaged. "
            "Start again with another output folder."
        )
    return None


def _files(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("step-*.pt"))
