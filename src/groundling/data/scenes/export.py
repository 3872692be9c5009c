"""Scenes as files: PNG pictures with COCO and ODVG annotations."""

import json
import multiprocessing
import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundling.data.scenes.generator import SPLITS, Scene, make_scene
from groundling.data.scenes.things import NEW_SHAPES, SHAPES, pair_names
from groundling.data.scenes.words import Expression, expressions
from groundling.errors import ConfigError, DatasetError

IMAGES, COCO, ODVG, LABEL_MAP = "images", "annotations.json", "odvg.jsonl", "label_map.json"

NAMES = pair_names(SHAPES)
"""Categories; COCO counts them from 1, ODVG from 0."""

NEW_NAMES = NAMES + pair_names(NEW_SHAPES)
"""Those of the split "new"."""

MOST_CAPTIONS = 4
"""Referring expressions written for each scene; a full scene has hundreds."""

_CHUNK = 8  # scenes handed to a worker at a time


@dataclass(frozen=True, slots=True)
class SceneFiles:
    """Which scenes are written.

    Attributes:
        count: number of scenes, from 1; their numbers begin at 0.
        split: one of SPLITS.
        seed: of the data set, from 0.
        size: side of the pictures in pixels, from 64.
    """

    count: int
    split: str = "train"
    seed: int = 0
    size: int = 224


def write_scenes(out: Path, files: SceneFiles, *, jobs: int = 1, advance: Callable[[], None] = lambda: None) -> None:
    """Write scenes into a folder: all of them or, after an error or an interruption, none.

    `images/000000.png` and so on are the pictures, `annotations.json` is COCO with masks as run lengths, `odvg.jsonl`
    has a detection line and up to MOST_CAPTIONS grounding lines for each picture, `label_map.json` goes with it.

    Args:
        out: a folder that is empty or does not exist.
        files: which scenes.
        jobs: processes that draw; the files do not depend on it.
        advance: called after each scene.

    Raises:
        ConfigError: a number is out of range or the split is unknown.
        DatasetError: `out` is a file or a folder with something in it.
        OSError: something cannot be written.
    """
    if files.count < 1 or jobs < 1:
        raise ConfigError(f"count={files.count} and jobs={jobs} must be at least 1.")
    make_scene(files.seed, 0, split=files.split, size=files.size)  # complains before anything is written
    with _new_folder(out) as folder:
        (folder / IMAGES).mkdir()
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        with (folder / ODVG).open("w", encoding="utf-8") as odvg:
            for written in _draw(_Draw(files, folder / IMAGES), range(files.count), jobs):
                images.append(written.image)
                for annotation in written.annotations:
                    annotations.append({"id": len(annotations) + 1, **annotation})
                odvg.writelines(f"{line}\n" for line in written.odvg)
                advance()
        names = NEW_NAMES if files.split == "new" else NAMES
        _dump(folder / LABEL_MAP, {str(index): name for index, name in enumerate(names)})
        coco = {
            "info": {"description": f"groundling scenes: {files.split}, seed {files.seed}, {files.size} pixels"},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": index, "name": name} for index, name in enumerate(names, start=1)],
        }
        _dump(folder / COCO, coco)


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Return a mask [H, W] as COCO's uncompressed run lengths: down the columns, the first run being outside."""
    pixels = mask.ravel(order="F")
    changes = (np.flatnonzero(pixels[1:] != pixels[:-1]) + 1).tolist()
    first = [0] if pixels[0] else []
    ends = [*first, *changes, pixels.size]
    counts = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    return {"counts": counts, "size": [int(side) for side in mask.shape]}


@dataclass(frozen=True, slots=True)
class _Written:
    """What is to be said about one picture; an annotation lacks its id, which depends on all before it."""

    image: dict[str, Any]
    annotations: list[dict[str, Any]]
    odvg: list[str]


@dataclass(frozen=True, slots=True)
class _Draw:
    """Draws a scene, writes its picture and describes it; a class because workers are sent it."""

    files: SceneFiles
    folder: Path

    def __call__(self, number: int) -> _Written:
        files = self.files
        scene = make_scene(files.seed, number, split=files.split, size=files.size)
        name = f"{number:06d}.png"
        scene.image.save(self.folder / name)
        # the choice of words is another random sequence than the drawing
        rng = np.random.default_rng([files.seed, SPLITS.index(files.split), number, 1])
        found = expressions(scene.things, files.size)
        chosen = [found[place] for place in sorted(rng.permutation(len(found))[:MOST_CAPTIONS])]
        about = {"width": files.size, "height": files.size}
        image = {"id": number + 1, "file_name": name, **about}
        lines = [_detection(scene), *(_grounding(scene, expression) for expression in chosen)]
        odvg = [json.dumps({"filename": name, **about, **line}) for line in lines]
        return _Written(image, list(_annotations(scene, number + 1)), odvg)


def _annotations(scene: Scene, image_id: int) -> Iterator[dict[str, Any]]:
    for thing, box, mask in zip(scene.things, _corners(scene), scene.masks, strict=True):
        left, top, right, bottom = box
        yield {
            "image_id": image_id,
            "category_id": NEW_NAMES.index(thing.name) + 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": int(mask.sum()),
            "iscrowd": 0,
            "segmentation": run_lengths(mask),
        }


def _detection(scene: Scene) -> dict[str, Any]:
    instances = [
        {"bbox": box, "label": NEW_NAMES.index(thing.name), "category": thing.name}
        for thing, box in zip(scene.things, _corners(scene), strict=True)
    ]
    return {"detection": {"instances": instances}}


def _grounding(scene: Scene, expression: Expression) -> dict[str, Any]:
    start, end = expression.phrase
    region = {
        "bbox": _corners(scene)[expression.thing],
        "phrase": expression.text[start:end],
        "tokens_positive": [[start, end]],
    }
    return {"grounding": {"caption": expression.text, "regions": [region]}}


def _corners(scene: Scene) -> list[list[int]]:
    corners: list[list[int]] = scene.boxes_xyxy.astype(int).tolist()
    return corners


def _draw(draw: _Draw, numbers: Iterable[int], jobs: int) -> Iterator[_Written]:
    """Yield what each scene gives, in order."""
    if jobs == 1:
        yield from map(draw, numbers)
        return
    # spawned processes are the same on every system, and none inherits a lock that a thread of ours holds
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=_leave_interruptions_to_the_parent) as pool:
        yield from pool.imap(draw, numbers, _CHUNK)


def _leave_interruptions_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a folder inside of `out`; what is in it moves to `out` when the block ends without an error."""
    target = Path(os.path.realpath(out))
    if target.exists() and not target.is_dir():
        raise DatasetError(f"{out} is a file. Name a folder that is empty or does not exist.")
    first = next(iter(sorted(target.iterdir())), None) if target.exists() else None
    if first is not None:
        raise DatasetError(
            f"The folder {out} is not empty: there is {first.name!r} in it. Name a folder that is empty or does not "
            "exist, or delete what is there."
        )
    is_new = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    folder = target / f".{uuid.uuid4().hex[:12]}.partial"
    try:
        folder.mkdir()
        yield folder
        for path in sorted(folder.iterdir(), key=lambda path: path.name == COCO):  # last: it says that all is there
            path.rename(target / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # it is not empty when all went well
                target.rmdir()


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")
