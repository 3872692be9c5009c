"""A run's folder: which settings it belongs to, and whether it can be written to."""

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from groundling.errors import ConfigError
from groundling.files import read_json, write_json
from groundling.train.settings import Augmentation, RunSettings
from groundling.train.states import has_states

SETTINGS_FILE = "run.json"

_FREE = (
    "output",
    "blend",
    "report",
    "validate",
    "optimizer.steps",
    "optimizer.accumulate",
    "data.workers",
    "model.gradient_checkpointing",
)
"""Settings that may change when a run goes on: they say how long, how it is computed and what is reported."""


def check_run_folder(settings: RunSettings) -> None:
    """Make the folder of a run, and see that the run that is in it, if there is one, is this one.

    Raises:
        ConfigError: the folder cannot be written to, or holds a run that learns something else.
    """
    if not settings.output:
        raise ConfigError("output is missing. Name the folder of the run.")
    run = Path(settings.output)
    if run.exists() and not run.is_dir():
        raise ConfigError(f"output={str(run)!r} is a file. Name a folder for the run.")
    try:
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run):
            pass
    except OSError as error:
        raise ConfigError(
            f"output={str(run)!r} cannot be written to: {error.strerror or error}. Name another folder."
        ) from error
    if has_states(run) and (run / SETTINGS_FILE).exists():
        _check_same(_plain(settings), read_json(run / SETTINGS_FILE), run)


def write_settings(settings: RunSettings) -> None:
    """Note the settings in the folder of the run."""
    write_json(Path(settings.output) / SETTINGS_FILE, _plain(settings))


def _check_same(now: Mapping[str, Any], before: Mapping[str, Any], run: Path) -> None:
    # A setting that did not exist when the run began had the value that is now the default.
    known = dict(_flat(_spelled_out(_plain(RunSettings())))) | dict(_flat(_spelled_out(before)))
    for name, value in _flat(_spelled_out(now)):
        if known.get(name) != value and not any(name == free or name.startswith(f"{free}.") for free in _FREE):
            raise ConfigError(
                f"The run in {run} has {name}={json.dumps(known.get(name))}, but now {name}={json.dumps(value)} is "
                "asked for, which would learn something else half-way. Set it back to go on, or name another output "
                f"folder to start anew. If it is only a path that has moved, correct it in {run / SETTINGS_FILE}."
            )


def _plain(settings: RunSettings) -> dict[str, Any]:
    """Return settings as JSON has them."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings), default=str))
    return values


def _spelled_out(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write the short form of an augmentation, the name of its preset alone, as the long one."""
    data = dict(values.get("data", {}))
    if isinstance(data.get("augment"), str):
        data["augment"] = dataclasses.asdict(Augmentation(data["augment"]))
    return {**values, "data": data}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
