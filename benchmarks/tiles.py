"""Measure tiled search: what the rules of merging find, and the memory and time of merging, reading and searching.

    python -m benchmarks.tiles [--case mosaics merging reading searching] [--side 20000]

`reading` writes and removes a file of SIDE x SIDE pixels for each format, `searching` one and looks at all of it with
the bundled model. Memory is how much a fresh process grows. Needs the extra `tiles`, and Linux or macOS.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from groundling import Detector, Tiles
from groundling.data.scenes import make_scene
from groundling.files import BUNDLED_MODEL
from groundling.ops.boxes import pairwise_iou
from groundling.pictures.strips import open_strips
from groundling.pipeline import tile_merging
from groundling.pipeline import tiles as tiles_module
from groundling.pipeline.tile_merging import ViewBoxes, merge_views
from groundling.postprocess.nms import class_wise_nms
from groundling.postprocess.select import NMS_IOU

CELL = 224
FOUND_IOU = 0.6
LAYOUTS = {  # column, row and side of each scene, in cells of a picture of 4 x 4
    "scenes of 224 and 672": [(0, 0, 1), (1, 0, 1), (2, 0, 1), (3, 0, 1), (0, 1, 1), (0, 2, 1), (0, 3, 1), (1, 1, 3)],
    "scenes of 448": [(0, 0, 2), (2, 0, 2), (0, 2, 2), (2, 2, 2)],
}
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "TIFF, deflate, strips": ("a.tif", {"compression": "deflate"}),
    "TIFF, deflate, tiles of 256": ("b.tif", {"compression": "deflate", "tile": True}),
    "TIFF, JPEG in tiles": ("c.tif", {"compression": "jpeg", "tile": True}),
    "TIFF, 16 bits a channel, LZW": ("d.tif", {"compression": "lzw"}),
    "PNG": ("e.png", {"compression": 1}),
    "PNG with transparency": ("f.png", {"compression": 1}),
    "JPEG": ("g.jpg", {"Q": 85}),
    "PNG, interlaced": ("h.png", {"compression": 1, "interlace": True}),
    "JPEG, progressive": ("i.jpg", {"Q": 85, "interlace": True}),
    "WebP, at most 12,000 x 12,000": ("j.webp", {"Q": 50, "effort": 0}),
}


class Case(NamedTuple):
    """What was found in the views of one mosaic, and what is there, [K, 4] and [K]."""

    views: tuple[ViewBoxes, np.ndarray, tuple[int, int]]
    box_K4: torch.Tensor
    label_K: torch.Tensor


def mosaic_cases(layout: str, first_seed: int) -> Iterator[Case]:
    """Search eight mosaics with two overlaps, and keep what there was before merging."""
    detector = Detector.from_pretrained(BUNDLED_MODEL)
    for seed in range(first_seed, first_seed + 8):
        canvas = np.zeros((4 * CELL, 4 * CELL, 3), np.uint8)
        names, boxes = [], []
        for number, (column, row, side) in enumerate(LAYOUTS[layout]):
            scene = make_scene(seed, number, split="seen", size=side * CELL)
            left, top = column * CELL, row * CELL
            canvas[top : top + side * CELL, left : left + side * CELL] = np.asarray(scene.image)
            names += [f"{thing.color} {thing.shape}" for thing in scene.things]
            boxes.append(scene.boxes_xyxy + np.array([left, top, left, top]))
        labels = sorted(set(names))
        box_K4 = torch.from_numpy(np.concatenate(boxes)).double()
        label_K = torch.tensor([labels.index(name) for name in names])
        for overlap in (0.2, 0.4):
            with patch.object(tiles_module, "merge_views", side_effect=merge_views) as merge:
                detector(canvas, labels, tiles=Tiles(CELL, overlap))
            yield Case(merge.call_args.args, box_K4, label_K)


def only_suppression(found: ViewBoxes, *_: object) -> ViewBoxes:
    """Merge as if all boxes came from one call."""
    best = found[np.argsort(-found.score_N)]
    return best[class_wise_nms(torch.from_numpy(best.box_N4), torch.from_numpy(best.label_N), 0.5).numpy()]


def counts(cases: list[Case], merge: Callable[..., ViewBoxes]) -> np.ndarray:
    """Count things found, boxes without a thing of their name, and how many of these lie on a thing of another name."""
    total = np.zeros(3, int)
    for views, box_K4, label_K in cases:
        merged = merge(*views)
        box_N4, label_N = torch.from_numpy(merged.box_N4), torch.from_numpy(merged.label_N)
        kept = class_wise_nms(box_N4, label_N, NMS_IOU)
        iou_KN = pairwise_iou(box_K4, box_N4[kept])
        on_KN = iou_KN > FOUND_IOU
        right_KN = on_KN & (label_K[:, None] == label_N[kept])
        wrong_N = ~right_KN.any(dim=0)
        total += [int(right_KN.any(dim=1).sum()), int(wrong_N.sum()), int((wrong_N & on_KN.any(dim=0)).sum())]
    return total


def mosaics() -> Table:
    """Compare rules of merging."""
    same = {"_seen_better": lambda cut, *_: np.zeros(len(cut), bool)}
    variants: dict[str, tuple[Callable[..., ViewBoxes], dict[str, Any]]] = {
        "all four rules": (merge_views, {}),
        "only suppression at 0.5": (only_suppression, {}),
        "without rule 1": (merge_views, same),
        "all boxes that agree are partners": (merge_views, {"_is_best": lambda row, *_: np.ones(len(row), bool)}),
    }
    columns = ("found", "wrong", "of these, on a thing")
    table = Table("", *(f"{layout}: {column}" for layout in LAYOUTS for column in columns))
    cases = [list(mosaic_cases(layout, seed)) for layout, seed in zip(LAYOUTS, (200, 300), strict=True)]
    table.title = "things: " + ", ".join(str(sum(len(case.label_K) for case in part)) for part in cases)
    for name, (merge, changes) in variants.items():
        with ExitStack() as stack:
            for function, change in changes.items():
                stack.enter_context(patch.object(tile_merging, function, change))
            table.add_row(name, *(str(number) for part in cases for number in counts(part, merge)))
    return table


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def merge_many(count: int) -> tuple[int, int, float, float]:
    """Merge `count` things of 30 pixels, each in all tiles that show it; return boxes, cut ones, MB and seconds."""
    side, tile, starts = 20_000, 800, Tiles().starts(20_000)
    corners = [(left, top, left + tile, top + tile) for top in starts for left in starts]
    window_V4 = np.array([*corners, (0, 0, side, side)], float)
    rng = np.random.default_rng(0)
    low_N2 = rng.uniform(0, side - 30, (count, 2))
    thing_N4 = np.concatenate([low_N2, low_N2 + 30], axis=1)
    parts, views = [], []
    for view, window in enumerate(window_V4[:-1]):
        shown = ((thing_N4[:, 2:] > window[:2] + 6) & (thing_N4[:, :2] < window[2:] - 6)).all(axis=1)
        box = thing_N4[shown] + rng.normal(0, 1, (int(shown.sum()), 4))
        parts.append(np.concatenate([np.maximum(box[:, :2], window[:2]), np.minimum(box[:, 2:], window[2:])], axis=1))
        views.append(np.full(len(box), view))
    box_N4, view_N = np.concatenate(parts), np.concatenate(views)
    boxes = ViewBoxes(box_N4, rng.uniform(0.3, 1, len(box_N4)), np.zeros(len(box_N4), np.int64), view_N)
    is_cut = tile_merging._cut_sides(box_N4, window_V4[view_N], (side, side)).any(axis=1)
    merge_views(boxes[:20], window_V4, (side, side))  # what is loaded once
    before, start = peak_mb(), time.process_time()
    merge_views(boxes, window_V4, (side, side))
    return len(boxes), int(is_cut.sum()), peak_mb() - before, time.process_time() - start


def merging(_: int) -> Table:
    """Measure how merging grows with the number of boxes."""
    table = Table("things of one label", "boxes", "of these cut", "growth", "processor's time")
    for count in (1000, 5000, 20_000):
        boxes, cut, grown, seconds = in_fresh_process(merge_many, count)
        table.add_row(f"{count:,}", f"{boxes:,}", f"{cut:,}", f"{grown:.0f} MB", f"{seconds:.1f} s")
    return table


def write_picture(path: Path, side: int, options: dict[str, Any]) -> None:
    """Write a picture with gentle slopes, of the kind that its name in `FORMATS` says."""
    import pyvips

    where = pyvips.Image.xyz(side, side)
    slope = ((where[0] / 97 + where[1] / 113) % 64).cast("uchar")
    picture = (pyvips.Image.black(side, side, bands=3).linear(0, [200, 190, 180]) - slope).cast("uchar")
    picture = picture.copy(interpretation="srgb")
    if options.get("compression") == "lzw":
        picture = (picture.cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")
    if path.name == FORMATS["PNG with transparency"][0]:
        picture = picture.bandjoin(200).copy(interpretation="srgb")
    picture.write_to_file(str(path), **options)


def read_file(path: Path) -> tuple[float, float]:
    """Read all bands of 800 rows and the small copy, and return the growth in MB and the processor's seconds."""
    import cv2  # noqa: F401
    import pyvips  # noqa: F401

    before, start = peak_mb(), time.process_time()
    with patch("groundling.pictures.strips.WHOLE_PIXELS", 1):
        strips = open_strips(path)
    assert strips is not None
    width, height = strips.stored_wh
    strips.prepare_small(max(1, width // 1333))
    for top in Tiles().starts(height):
        strips.band(top, min(top + 800, height))
    strips.small()
    return peak_mb() - before, time.process_time() - start


def search_file(path: Path) -> tuple[float, float]:
    """Search with tiles of 800, and return the growth in MB beyond what a plain call takes, and the seconds."""
    detector = Detector.from_pretrained(BUNDLED_MODEL)
    labels = ["red star", "blue circle"]
    detector(np.zeros((500, 500, 3), np.uint8), labels)
    before, start = peak_mb(), time.perf_counter()
    detector(path, labels, tiles=Tiles(800))
    return peak_mb() - before, time.perf_counter() - start


def over_files(measure: Callable[[Path], tuple[float, float]], names: list[str], side: int) -> Table:
    """Write one file after another and measure what reads it."""
    table = Table(f"file of {side:,} x {side:,}", "growth", "time")
    for name in names:
        file_name, options = FORMATS[name]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / file_name
            in_fresh_process(write_picture, path, min(side, 12_000) if path.suffix == ".webp" else side, options)
            grown, seconds = in_fresh_process(measure, path)
        table.add_row(name, f"{grown:,.0f} MB", f"{seconds:.1f} s")
    return table


def in_fresh_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Run where nothing else has taken memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


CASES: dict[str, Callable[[int], Table]] = {
    "mosaics": lambda side: mosaics(),
    "merging": merging,
    "reading": lambda side: over_files(read_file, list(FORMATS), side),
    "searching": lambda side: over_files(search_file, ["PNG"], side),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--side", type=int, default=20_000)
    arguments = parser.parse_args()
    for case in arguments.case:
        Console(width=160).print(CASES[case](arguments.side))


if __name__ == "__main__":
    main()
