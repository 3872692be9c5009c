"""From names of pictures to findings: threads read ahead, and pictures of one size are computed together."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from groundling.errors import ImageError
from groundling.labelling.finding import Finding, Stamp, stamp_of
from groundling.labelling.pictures import unusable_name
from groundling.labelling.settings import LabelSettings
from groundling.pipeline.detector import Detector
from groundling.pipeline.grounded_sam import GroundedSam
from groundling.pipeline.pictures import read_picture
from groundling.pipeline.preparation import PreparedPicture
from groundling.pipeline.prompt_encoding import PromptEncoding
from groundling.structures.detections import Detections

MOST_THREADS = 8
"""That read and resize pictures; more only wait for each other's memory."""

WAITING_BATCHES = 4
"""So many batches of pictures may wait for others of their size: photographs have few sizes, usually two to four."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True)
class Ready:
    """A picture as the models read it.

    Attributes:
        name: its name in the list of pictures.
        stamp: of its file.
        prepared: what the detector reads.
        pixels: what the segmenter reads, uint8 RGB [3, H, W]; None where there is no segmenter.
    """

    name: str
    stamp: Stamp | None
    prepared: PreparedPicture
    pixels: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Labeller:
    """What is done with every picture.

    Attributes:
        detector: finds boxes.
        encoding: what it looks for.
        root: the folder that names of pictures are relative to.
        settings: how.
        sam: the same detector with what makes masks; None where there are to be none.
    """

    detector: Detector
    encoding: PromptEncoding
    root: Path
    settings: LabelSettings
    sam: GroundedSam | None = None

    def run(self, names: Sequence[str]) -> Generator[list[Finding], None, None]:
        """Yield findings of all pictures, a batch at a time.

        Which pictures share a batch follows from their order and sizes alone. Whoever leaves out those of the first
        batches gets the same batches as before from there on, so a labelling that goes on finds exactly the same.
        """
        if self.settings.tiles is not None:  # large pictures are read part by part, by whoever searches them
            yield from ([self._tiled(name)] for name in names)
            return
        size = self.settings.batch_size
        threads = min(MOST_THREADS, os.cpu_count() or 1)
        with closing(read_ahead(self._prepared, names, threads=threads, ahead=size + threads)) as pictures:
            for batch in batches_by_size(pictures, size, waiting=WAITING_BATCHES * size):
                yield self._detect(batch) if isinstance(batch, list) else [batch]

    def _prepared(self, name: str) -> Ready | Finding:
        return self._tried(name, partial(self._read, name))

    def _read(self, name: str, path: Path, stamp: Stamp | None) -> Ready:
        if self.sam is None:
            return Ready(name, stamp, self.detector.prepare(path))
        pixels = read_picture(path)  # once, for both models
        return Ready(name, stamp, self.detector.prepare(pixels), pixels)

    def _tiled(self, name: str) -> Finding:
        return self._tried(name, lambda path, stamp: Finding.of(name, stamp, self._searched(path)))

    def _searched(self, path: Path) -> Detections:
        settings = self.settings
        rules = asdict(settings.rules)
        found = self.detector(path, self.encoding, batch_size=settings.batch_size, tiles=settings.tiles, **rules)
        if self.sam is None or not found:
            return found
        try:
            return self.sam.segment(path, found, masks=settings.masks, tighten=settings.tighten)
        except ImageError as error:  # it has just been read, but in parts
            raise ImageError(
                f"{path} cannot be read whole, as masks need it ({error}). Label it without --sam."
            ) from error

    def _tried(self, name: str, use: Callable[[Path, Stamp | None], _Out]) -> _Out | Finding:
        """Use a picture's file; what stands in the way is a finding, too."""
        path = self.root / name
        stamp = stamp_of(path)  # before it is read: what changes meanwhile is done again
        error = unusable_name(name)
        if error is None:
            try:
                return use(path, stamp)
            except ImageError as problem:
                error = " ".join(str(problem).split())
        return Finding(name, stamp, error=error)

    def _detect(self, batch: Sequence[Ready]) -> list[Finding]:
        settings = self.settings
        pictures = [one.prepared for one in batch]
        rules = asdict(settings.rules)
        found = list(self.detector.detect_many(pictures, self.encoding, batch_size=settings.batch_size, **rules))
        if self.sam is not None:
            pixels = [one.pixels for one in batch if one.pixels is not None]
            found = self.sam.add_masks(pixels, found, settings.masks, tighten=settings.tighten)
        return [Finding.of(one.name, one.stamp, some) for one, some in zip(batch, found, strict=True)]


def read_ahead(
    function: Callable[[_In], _Out], items: Iterable[_In], *, threads: int, ahead: int
) -> Generator[_Out, None, None]:
    """Call a function in threads and yield its results in the order of the items, as they are asked for.

    Args:
        function: what is called.
        items: with what.
        threads: how many calls run at a time.
        ahead: how many calls are begun before their results are asked for; it bounds the memory.
    """
    begun: deque[Future[_Out]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                begun.append(pool.submit(function, item))
                if len(begun) > ahead:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for one in begun:
                one.cancel()


def batches_by_size(pictures: Iterable[Ready | Finding], size: int, *, waiting: int) -> Iterator[list[Ready] | Finding]:
    """Put pictures of one size together; what could not be read is passed on at once.

    Args:
        pictures: in their order.
        size: most pictures in a batch.
        waiting: most pictures that wait for others of their size; beyond it the batch of the first one goes as it is.
    """
    groups: dict[object, list[Ready]] = {}  # in the order of their first pictures
    for picture in pictures:
        if isinstance(picture, Finding):
            yield picture
            continue
        kind = picture.prepared.kind
        group = groups.setdefault(kind, [])
        group.append(picture)
        if len(group) == size:
            yield groups.pop(kind)
        elif sum(map(len, groups.values())) > waiting:
            yield groups.pop(next(iter(groups)))
    yield from groups.values()
