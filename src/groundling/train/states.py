"""What a run leaves on disk so that it can go on exactly where it stopped."""

import logging
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

_DAMAGE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
"""What reading a damaged file can end in; it depends on the byte that is wrong."""

logger = logging.getLogger(__name__)


def save_state(run: Path, step: int, state: dict[str, Any]) -> Path:
    """Write the state after `step` steps and remove all others but the one before it.

    The file appears when it is complete; a full disk or a killed process leaves the earlier ones as they were.

    Args:
        run: folder of the run.
        step: steps done.
        state: tensors, numbers, texts, and lists and dicts of them.

    Raises:
        CheckpointError: it cannot be written; the earlier states are untouched.
    """
    path = run / FOLDER / f"step-{step:08d}.pt"
    try:
        with atomic_path(path) as temporary:
            torch.save(state | {"step": step}, temporary)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as either
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} could not be written ({reason}). Is the disk full? The states before it are unchanged: make room "
            "and start the run again to go on."
        ) from error
    # Later states are of a future that was given up, because they were damaged.
    earlier = [file for file in _files(run) if file < path]
    for old in {*_files(run)} - {path, *earlier[1 - KEPT :]}:
        old.unlink(missing_ok=True)
    return path


def load_state(run: Path) -> dict[str, Any] | None:
    """Return the last state of a run that can be read, or None where there is none; says which cannot be read.

    Raises:
        CheckpointError: there are states, but none can be read.
    """
    files = _files(run)
    for path in reversed(files):
        try:
            state = _read(path)
        except _DAMAGE as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            logger.warning("%s is damaged and left out (%s). An earlier state is used.", path, f"{reason:.100}")
            continue
        return state
    if files:
        raise CheckpointError(
            f"None of the {len(files)} checkpoints in {run / FOLDER} can be read: they are damaged. "
            "Start again with another output folder."
        )
    return None


def _read(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as file:  # torch does not compare checksums
        wrong = file.testzip()
    if wrong is not None:
        raise zipfile.BadZipFile(f"the checksum of {wrong} is wrong")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    int(state["step"])
    return state


def has_states(run: Path) -> bool:
    """Say whether a run has saved a state, readable or not."""
    return bool(_files(run))


def _files(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("step-*.pt"))
