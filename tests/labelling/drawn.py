"""Folders of drawn scenes, and what a labelling leaves."""

import json
from pathlib import Path

import numpy as np

from groundling.data.scenes.records import SceneRecords
from groundling.labelling.journal import Journal

SCENES = SceneRecords(split="seen", count=12, size=128)
FOUR = ("a.png", "b.png", "c.png", "d.png")
LABELS = sorted({label for number in range(4) for label in SCENES[number].labels})


def folder_of(place: Path, *names: str, first: int = 0) -> Path:
    """Draw scenes, one for each name; of every three one is smaller."""
    for number, name in enumerate(names, first):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = SCENES[number].open()
        picture.resize((96, 128) if number % 3 == 1 else picture.size).save(path)
    return place


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder and the folders in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def predictions(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]


def boxes_of(out: Path) -> dict[str, np.ndarray]:
    """The boxes of each picture as they were predicted."""
    return {
        line["picture"]: np.array([one["box_xyxy"] for one in line["detections"]]).reshape(-1, 4)
        for line in predictions(out)
        if "error" not in line
    }


def labels_of(out: Path) -> dict[str, list[str]]:
    return {
        line["picture"]: [one["label"] for one in line["detections"]]
        for line in predictions(out)
        if "error" not in line
    }


def folders(place: Path) -> list[str]:
    """The names of what is in a folder."""
    return sorted(path.name for path in place.iterdir())


def stop_after(monkeypatch, count, error):
    """Let the journal fail when this many batches are in it."""
    add, added = Journal.add, []

    def adding(self, findings):
        if len(added) == count:
            raise error
        add(self, findings)
        added.append(findings)

    monkeypatch.setattr(Journal, "add", adding)
