"""Large pictures: searched as a whole and in overlapping tiles, tile by tile as they are read."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from groundling.errors import ConfigError
from groundling.pictures.strips import ArrayStrips, Strips, Window, open_strips, upright, upright_wh, upright_window
from groundling.pipeline.pictures import Picture, read_picture
from groundling.pipeline.prompt_encoding import PromptEncoding
from groundling.pipeline.results import to_detections
from groundling.pipeline.tile_merging import ViewBoxes, merge_views
from groundling.postprocess.select import Selection, SelectionRules, choose_boxes
from groundling.processing.image_processor import GroundingDinoImageProcessor
from groundling.processing.sizes import target_size
from groundling.structures.checks import is_number
from groundling.structures.detections import Detections

if TYPE_CHECKING:
    from groundling.pipeline.detector import Detector
    from groundling.pipeline.stages import Labels

SMALLEST_TILE = 32
"""Models recognise nothing in fewer pixels: who gives fewer may mean the number of tiles, and waits for thousands."""

LARGEST_OVERLAP = 0.9
"""Nearer to 1, tiles hardly move on and their number has no bound."""

Progress = Callable[[int, int], None]
"""Called with how many parts of a picture are searched, and how many there are."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """How a large picture is cut into overlapping squares.

    Attributes:
        size: side of a tile in pixels of the picture, at least 32. The model sees tiles at its own resolution, so a
            smaller size enlarges small things.
        overlap: least share of its side, 0 to 0.9, that a tile has in common with the next one. Things up to
            `size * overlap` pixels are complete in some tile.
        whole: search the picture as a whole too, scaled down, for things that are larger than a tile.

    Raises:
        ConfigError: a value is of another type or outside its range.
    """

    size: int = 800
    overlap: float = 0.2
    whole: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < SMALLEST_TILE:
            raise ConfigError(f"The size of a tile must be at least {SMALLEST_TILE} pixels, got {self.size!r}.")
        if not is_number(self.overlap) or not 0 <= self.overlap <= LARGEST_OVERLAP:
            raise ConfigError(
                f"The overlap of tiles must be 0 to {LARGEST_OVERLAP} of their size, got {self.overlap!r}."
            )
        object.__setattr__(self, "overlap", float(self.overlap))  # one of numpy's cannot be written as JSON
        if not isinstance(self.whole, bool):
            raise ConfigError(f"whole must be True or False, got {self.whole!r}.")

    def starts(self, length: int) -> list[int]:
        """Return where tiles begin along a side of `length` pixels: as few as the overlap allows, evenly spread.

        All have the same size. One tile begins at 0 where the side is not longer than a tile.
        """
        spare = length - self.size
        if spare <= 0:
            return [0]
        step = max(1, int(self.size * (1 - self.overlap)))
        gaps = -(-spare // step)
        return [(2 * place * spare + gaps) // (2 * gaps) for place in range(gaps + 1)]


def detect_tiled(
    detector: "Detector",
    image: Picture,
    labels: "Labels",
    tiles: Tiles,
    *,
    rules: SelectionRules,
    batch_size: int = 4,
    allow_url: bool = False,
    progress: Progress | None = None,
) -> Detections:
    """Search a picture as a whole and in tiles, and put together what was found.

    A picture that fits into one tile gives what a plain call gives. Files of more than 40 million pixels are read in
    strips, where the format allows it and pyvips is installed: as many rows are held as a tile is high.

    Args:
        detector: what looks.
        image: see `read_picture`.
        labels: what to find; see `Detector.__call__`.
        tiles: how the picture is cut.
        rules: which boxes are kept; `top_k`, suppression and groups are judged in the picture, not in each tile.
        batch_size: most tiles computed at a time.
        allow_url: download the picture where `image` is a URL.
        progress: called after each tile.

    Returns:
        Boxes in pixels of the upright original, best first. `label_scores` is None unless one tile was enough.

    Raises:
        ConfigError: `tiles` are none.
        ImageError: the picture cannot be used, or turns out to be damaged on the way.
        MissingExtraError: the file is too large to be held whole, and pyvips is not installed.
        PromptError: the labels cannot be used.
    """
    if not isinstance(tiles, Tiles):
        raise ConfigError(f"tiles must be Tiles, such as Tiles(size=800, overlap=0.2), got {tiles!r:.120}.")
    asked = labels if isinstance(labels, PromptEncoding) else detector.prompts(labels)
    strips = _open(image, detector.processor.image_processor, tiles, allow_url)
    windows = _windows(strips.stored_wh, tiles)
    source = os.fspath(image) if isinstance(image, str | os.PathLike) else None
    if len(windows) == 1:
        (found,) = detector.detect_many(_tiles(strips, windows), asked, batch_size=batch_size, **asdict(rules))
        if progress is not None:
            progress(1, 1)
        return replace(found, source=source)
    whole = [(0, 0, *strips.stored_wh)] if tiles.whole else []
    scales = [1] * len(windows) + [strips.shrink] * len(whole)
    views = detector.detect_many(
        _tiles(strips, windows, whole=tiles.whole), asked, batch_size=batch_size, **asdict(_in_view(rules))
    )
    image_wh = upright_wh(strips.stored_wh, strips.orientation)
    window_V4 = np.array([upright_window(one, strips.stored_wh, strips.orientation) for one in windows + whole], float)
    merged = merge_views(_collected(views, window_V4, scales, progress), window_V4, image_wh)
    return _chosen(merged, rules, asked.labels, image_wh, source)


def _in_view(rules: SelectionRules) -> SelectionRules:
    """Leave out what compares boxes: one that is cut must not remove another before what it belongs to is known."""
    return replace(rules, top_k=None, nms_iou=None, nms_across_labels=False, drop_groups=False)


def _open(image: Picture, processor: GroundingDinoImageProcessor, tiles: Tiles, allow_url: bool) -> Strips:
    """Open a large file in strips, and anything else as an array."""
    if isinstance(image, str | os.PathLike) and not str(image).startswith(("http://", "https://")):
        strips = open_strips(_expanded(os.fspath(image)))
        if strips is not None:
            if tiles.whole:
                strips.prepare_small(_shrink(upright_wh(strips.stored_wh, strips.orientation), processor, tiles))
            return strips
    return ArrayStrips(read_picture(image, allow_url=allow_url).permute(1, 2, 0).numpy())


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # a home that does not exist; reading the picture says so
        return Path(name)


def _shrink(image_wh: tuple[int, int], processor: GroundingDinoImageProcessor, tiles: Tiles) -> int:
    """Return by what whole number a picture can be divided and still be as large as the model's input."""
    width, height = image_wh
    if processor.do_resize and processor.size is not None:
        needed_height, needed_width = target_size(height, width, processor.size)
    else:
        needed_height = needed_width = tiles.size
    return max(1, min(height // needed_height, width // needed_width))


def _windows(stored_wh: tuple[int, int], tiles: Tiles) -> list[Window]:
    """Return the tiles of a stored picture, row by row."""
    width, height = stored_wh
    return [
        (left, top, min(left + tiles.size, width), min(top + tiles.size, height))
        for top in tiles.starts(height)
        for left in tiles.starts(width)
    ]


def _tiles(strips: Strips, windows: list[Window], *, whole: bool = False) -> Iterator[Tensor]:
    """Yield the upright pixels [3, H, W] of each window, and at last of the whole."""
    for left, top, right, bottom in windows:
        yield _tensor(upright(strips.band(top, bottom)[:, left:right], strips.orientation).copy())
    if whole:
        yield _tensor(strips.small())


def _tensor(pixel_HWC: np.ndarray) -> Tensor:
    return torch.from_numpy(pixel_HWC).permute(2, 0, 1)


def _collected(
    views: Iterator[Detections], window_V4: np.ndarray, scales: list[int], progress: Progress | None
) -> ViewBoxes:
    """Gather the boxes of all views in pixels of the picture."""
    parts: list[ViewBoxes] = []
    for view, found in enumerate(views):
        left, top = window_V4[view, :2]
        box_N4 = found.boxes_xyxy.astype(np.float64) * scales[view] + [left, top, left, top]
        parts.append(ViewBoxes(box_N4, found.scores.astype(np.float64), found.label_ids, np.full(len(found), view)))
        if progress is not None:
            progress(view + 1, len(window_V4))
    return ViewBoxes(
        np.concatenate([part.box_N4 for part in parts]),
        np.concatenate([part.score_N for part in parts]),
        np.concatenate([part.label_N for part in parts]),
        np.concatenate([part.view_N for part in parts]),
    )


def _chosen(
    merged: ViewBoxes, rules: SelectionRules, labels: tuple[str, ...], image_wh: tuple[int, int], source: str | None
) -> Detections:
    selection = Selection(
        boxes_xyxy=torch.from_numpy(merged.box_N4).float(),
        scores=torch.from_numpy(merged.score_N).float(),
        label_ids=torch.from_numpy(merged.label_N),
        label_scores=None,
        query_ids=torch.arange(len(merged)),
    )
    chosen = choose_boxes([selection], rules)
    return to_detections(chosen, labels, image_hw=image_wh[::-1], source=source)
