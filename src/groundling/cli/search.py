"""Detection in many files, some of which may be broken."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image
from torch import Tensor

from groundling.cli.progress import counted
from groundling.errors import ImageError
from groundling.pipeline.detector import Detector
from groundling.pipeline.pictures import read_picture
from groundling.pipeline.prompt_encoding import PromptEncoding
from groundling.postprocess.select import SelectionRules
from groundling.structures.detections import Detections

if TYPE_CHECKING:
    from groundling.pipeline.tiles import Tiles


@dataclass(frozen=True, slots=True)
class Outcome:
    """One picture as it was searched, upright and RGB, or its path, and what was found in it."""

    picture: PIL.Image.Image | Path
    detections: Detections

    def save(self, path: Path) -> None:
        """Draw on a copy of the picture, a very large one scaled down, and write it.

        Raises:
            ImageError: the picture cannot be read, or the ending is not a picture format.
            OSError: the file cannot be written.
        """
        self.detections.save(path, self.picture)


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
    tiles: "Tiles | None"

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

    def _in_tiles(self, path: Path, tiles: "Tiles", batch_size: int) -> Outcome | ImageError:
        from groundling.pipeline.tiles import detect_tiled

        try:
            with counted(path.name, "tiles") as advance:
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


def _read(path: Path) -> Tensor | ImageError:
    try:
        return read_picture(path)
    except ImageError as error:
        return error
