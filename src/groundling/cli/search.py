"""Detection in many files, some of which may be broken."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import PIL.Image
from torch import Tensor

from groundling.errors import ImageError
from groundling.pipeline.detector import Detector
from groundling.pipeline.pictures import read_picture
from groundling.pipeline.prompt_encoding import PromptEncoding
from groundling.pipeline.tiles import Tiles, detect_tiled
from groundling.postprocess.select import SelectionRules
from groundling.structures.detections import Detections


@dataclass(frozen=True, slots=True)
class Outcome:
    """One picture as it was searched, upright and RGB, or its path, and what was found in it."""

    picture: PIL.Image.Image | Path
    detections: Detections


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, and how; the same for every picture.

    Attributes:
        detector: what looks.
        labels: what it looks for.
        rules: which boxes are kept.
        tiles: how pictures are divided, or None.
    """

    detector: Detector
    labels: PromptEncoding
    rules: SelectionRules
    tiles: Tiles | None

    def run(self, paths: Sequence[Path], batch_size: int) -> Iterator[Outcome | ImageError]:
        """Yield one outcome for each path, in order; a picture that cannot be used gives its error."""
        if self.tiles is not None:
            yield from (self._in_tiles(path, self.tiles, batch_size) for path in paths)
            return
        for start in range(0, len(paths), batch_size):
            chunk = paths[start : start + batch_size]
            opened = [_read(path) for path in chunk]
            found = iter(self._find([picture for picture in opened if isinstance(picture, Tensor)]))
            for path, picture in zip(chunk, opened, strict=True):
                if isinstance(picture, ImageError):
                    yield picture
                    continue
                result = next(found)
                if isinstance(result, ImageError):
                    yield result
                    continue
                shown = PIL.Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
                yield Outcome(shown, replace(result, source=str(path)))

    def _in_tiles(self, path: Path, tiles: Tiles, batch_size: int) -> Outcome | ImageError:
        try:
            with _tile_progress(path) as advance:
                found = detect_tiled(
                    self.detector,
                    path,
                    self.labels,
                    tiles,
                    rules=self.rules,
                    batch_size=batch_size,
                    progress=advance,
                )
        except ImageError as error:
            return error
        return Outcome(path, found)

    def _find(self, pictures: list[Tensor]) -> list[Detections | ImageError]:
        try:
            return list(self._detect(pictures))
        except ImageError as error:
            if len(pictures) == 1:
                return [error]
            return [found for picture in pictures for found in self._find([picture])]

    def _detect(self, pictures: list[Tensor]) -> Iterator[Detections]:
        return self.detector.detect_many(
            pictures,
            self.labels,
            batch_size=max(1, len(pictures)),
            **asdict(self.rules),
        )


@contextmanager
def _tile_progress(path: Path) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows on a terminal how much of a picture is searched."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(path.name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _read(path: Path) -> Tensor | ImageError:
    try:
        return read_picture(path)
    except ImageError as error:
        return error
