"""Label a folder and be killed at a given moment: `python killed.py MOMENT PICTURES OUT LOG SEGMENTER LABEL...`.

Moments: "never"; "batch N" after the line of the Nth batch; "torn N" in the middle of that line; "seeding" when what a
finished data set knows is copied; "writing" in the middle of the data set; "swap" when the old one is gone and the new
one not yet there; "done" when it is there and nobody has taken note of it. LOG hears of each picture that is on disk.
SEGMENTER is a folder, or empty where there are to be no masks.
"""

import os
import signal
import sys
from pathlib import Path

from groundling.data.writers.coco import CocoWriter
from groundling.labelling import LabelSettings, label_folder
from groundling.labelling.journal import Journal
from groundling.labelling.workplace import Workplace
from groundling.pipeline.detector import Detector
from groundling.segmentation import load_segmenter

moment, pictures, out, log, segmenter, *labels = sys.argv[1:]
kind, _, number = moment.partition(" ")


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(method, count, then):
    """Make a method do something else after it has run so many times."""
    calls = []

    def wrapped(*arguments):
        calls.append(arguments)
        result = method(*arguments)
        if len(calls) == count:
            then()
        return result

    return wrapped


add = Journal.add
batches = []


def adding(self, findings):
    batches.append(findings)
    if kind == "torn" and len(batches) == int(number):
        before = self._end
        add(self, findings)
        os.truncate(self._path, (before + self._end) // 2)
        die()
    add(self, findings)
    with Path(log).open("a") as file:
        file.writelines(f"{finding.picture}\n" for finding in findings)
    if kind == "batch" and len(batches) == int(number):
        die()


Journal.add = adding
if kind == "seeding":
    import groundling.labelling.workplace as workplace

    workplace.write_json = die
if kind == "writing":
    CocoWriter.add = after(CocoWriter.add, 2, die)
if kind == "swap":
    Path.rename = after(Path.rename, 1, die)
if kind == "done":
    Workplace.clear = die

label_folder(
    Detector.from_pretrained("groundling/nano"),
    pictures,
    labels,
    out,
    LabelSettings(batch_size=2),
    segmenter=load_segmenter(segmenter) if segmenter else None,
)
