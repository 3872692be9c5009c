"""Detection in many files, some of which may be broken."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import PIL.Image
from torch import Tensor

from groundling.errors import ImageError
from groundling.pipeline.detector import Detector
from groundling.pipeline.pictures import read_picture
from groundling.structures.detections import Detections
from groundling.structures.prompt import Prompt


@dataclass(frozen=True, slots=True)
class Outcome:
    """One picture as it was searched, upright and RGB, and what was found in it."""

    picture: PIL.Image.Image
    detections: Detections


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, and how; the same for every picture.

    Attributes:
        detector: what looks.
        prompt: what it looks for.
        threshold: see `Detector`, as the others.
        top_k: most boxes a picture.
        nms_iou: overlap from which a box is dropped for a better one.
    """

    detector: Detector
    prompt: Prompt
    threshold: float
    top_k: int | None
    nms_iou: float | None

    def run(self, paths: Sequence[Path], batch_size: int) -> Iterator[Outcome | ImageError]:
        """Yield one outcome for each path, in order; a picture that cannot be used gives its error."""
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
            self.prompt,
            batch_size=max(1, len(pictures)),
            threshold=self.threshold,
            top_k=self.top_k,
            nms_iou=self.nms_iou,
        )


def _read(path: Path) -> Tensor | ImageError:
    try:
        return read_picture(path)
    except ImageError as error:
        return error
