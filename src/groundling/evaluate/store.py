"""What was found so far, on disk, so that a killed evaluation goes on where it stopped."""

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from groundling.errors import ConfigError, DatasetError
from groundling.evaluate.found import Found
from groundling.structures.masks import Masks

WHOLE = "predictions.jsonl"
PART = "predictions.partial.jsonl"
MASKS = ("masks", "true_box_masks")


class FoundFile:
    """A file of findings, one picture a line, that grows while the evaluation runs.

    The first line says what the findings belong to. The file gets its final name when all pictures are in it. A line
    that was only half written when the process was killed is removed; its picture is computed again.

    Args:
        folder: where the file is; it is made.
        identity: everything that the findings depend on, as JSON; findings of something else are not mixed in.

    Raises:
        ConfigError: the folder holds findings of another evaluation.
        DatasetError: the file is damaged.
    """

    def __init__(self, folder: Path, identity: Mapping[str, object]) -> None:
        self._folder = folder
        self._identity: dict[str, object] = json.loads(json.dumps(identity))
        self._found: dict[int, Found] = {}
        self._stream: IO[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder / WHOLE, folder / PART):
            if path.exists():
                self._read(path)
                break

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    @property
    def done(self) -> frozenset[int]:
        """Numbers of the pictures that are in the file."""
        return frozenset(self._found)

    def add(self, results: Iterable[Found]) -> None:
        """Write down what was found in some pictures."""
        if self._stream is None:
            path = self._folder / PART
            is_new = not path.exists()
            self._stream = path.open("ab")
            if is_new:
                self._stream.write(_line(self._identity))
        for found in results:
            if found.index not in self._found:
                self._stream.write(_line(_to_dict(found)))
                self._found[found.index] = found
        self._stream.flush()

    def finish(self) -> list[Found]:
        """Give the file its final name and return everything in the order of the data set."""
        if self._stream is not None:
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._stream = None
            (self._folder / PART).replace(self._folder / WHOLE)
        elif (self._folder / PART).exists():
            (self._folder / PART).replace(self._folder / WHOLE)
        return [self._found[index] for index in sorted(self._found)]

    def _read(self, path: Path) -> None:
        lines = path.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
            with path.open("rb+") as stream:
                stream.truncate(sum(map(len, lines)))
        if not lines:
            path.unlink()
            return
        self._check_identity(path, _parse(path, 1, lines[0]))
        for number, line in enumerate(lines[1:], start=2):
            found = _from_dict(path, number, _parse(path, number, line))
            self._found.setdefault(found.index, found)

    def _check_identity(self, path: Path, other: Mapping[str, object]) -> None:
        differing = _differing(other, self._identity)
        if differing:
            before = ", ".join(differing)
            raise ConfigError(
                f"{path} holds the predictions of another evaluation (there {before}). "
                "Give another folder with --out, or remove this one."
            )


def _differing(there: Mapping[str, object], here: Mapping[str, object]) -> list[str]:
    """Return what differs between two descriptions, as it is in the first."""
    found = []
    for name in sorted({*there, *here}):
        one, other = there.get(name), here.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += [f"{name}.{inner}" for inner in _differing(one, other)]
        elif one != other:
            found.append(f"{name}={one.get('name', one) if isinstance(one, Mapping) else one!r:.60}")
    return found


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode() + b"\n"


def _to_dict(found: Found) -> dict[str, object]:
    masks = {name: _masks_to_dict(getattr(found, name)) for name in MASKS if getattr(found, name) is not None}
    return masks | {
        "index": found.index,
        "boxes_xyxy": _shortest(found.boxes_xyxy).tolist(),
        "scores": _shortest(found.scores).tolist(),
        "label_ids": found.label_ids.tolist(),
    }


def _masks_to_dict(masks: Masks) -> dict[str, object]:
    width, height = masks.image_wh
    return {"size": [height, width], "counts": masks.counts, "checksum": _checksum(masks.counts)}


def _masks_from_dict(value: Mapping[str, Any] | None) -> Masks | None:
    if value is None:
        return None
    height, width = value["size"]
    if _checksum(value["counts"]) != value["checksum"]:
        raise ValueError("run lengths were changed")
    return Masks(tuple(value["counts"]), (width, height))


def _checksum(counts: Iterable[str]) -> int:
    """Return a number that other run lengths do not have: the library for figures may hang on damaged ones."""
    return zlib.crc32(" ".join(counts).encode())


def _shortest(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return doubles with few digits that are still the same numbers as float32."""
    return values.astype("U").astype(np.float64)


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DatasetError(
            f"{path}, line {number}: not valid JSON ({error}). Remove the file and start again."
        ) from error
    if not isinstance(value, dict):
        raise DatasetError(f"{path}, line {number}: not a JSON object. Remove the file and start again.")
    return value


def _from_dict(path: Path, number: int, value: Mapping[str, Any]) -> Found:
    try:
        found = Found(
            index=int(value["index"]),
            boxes_xyxy=np.array(value["boxes_xyxy"], np.float32).reshape(-1, 4),
            scores=np.array(value["scores"], np.float32),
            label_ids=np.array(value["label_ids"], np.int64),
            **{name: _masks_from_dict(value.get(name)) for name in MASKS},
        )
    except (KeyError, OverflowError, TypeError, ValueError) as error:  # of which DatasetError is one
        raise DatasetError(
            f"{path}, line {number}: not what was found in a picture ({error!r}). Remove the file and start again."
        ) from error
    if found.index < 0 or (found.label_ids < 0).any() or not np.isfinite(found.scores).all():
        raise DatasetError(f"{path}, line {number}: a number is out of range. Remove the file and start again.")
    lengths = {len(found.boxes_xyxy), len(found.scores), len(found.label_ids)}
    if len(lengths if found.masks is None else lengths | {len(found.masks)}) > 1:
        raise DatasetError(f"{path}, line {number}: columns of unlike length. Remove the file and start again.")
    return found
