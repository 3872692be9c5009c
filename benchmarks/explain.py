"""Measure explanations: whether maps show the right place in drawn scenes, and the memory that they take.

    python -m benchmarks.explain [--case places memory] [--scenes 30]

Memory is the peak of a fresh process, of a Swin-T model of random weights and one picture of 800 x 1066 pixels. Needs
Linux or macOS.
"""

import argparse
from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from benchmarks.tiles import in_fresh_process, peak_mb
from rich.console import Console
from rich.table import Table

from groundling import Detector, GroundingDinoForObjectDetection, GroundingDinoImageProcessor, GroundingDinoProcessor
from groundling.configuration.presets import swin_t
from groundling.data.scenes.records import SceneRecords
from groundling.files import BUNDLED_MODEL
from groundling.processing import GroundingDinoTokenizer

COLORS = ("red", "blue", "green", "black", "white", "yellow", "brown", "grey")
NOUNS = ("car", "dog", "cat", "house", "tree", "boat", "chair", "bird")
PROMPTS = {7: ["red car", "dog"], 194: [f"{color} {noun}" for color, noun in product(COLORS, NOUNS)]}
"""Labels that take so many tokens."""


def places(scenes: int) -> Table:
    """Compare each map inside and outside the box of a thing that is alone of its kind."""
    detector = Detector.from_pretrained(BUNDLED_MODEL)
    records = SceneRecords(split="seen", seed=99, size=192, count=scenes)
    ratios: dict[str, list[float]] = {"similarity": [], "attention": []}
    peaks: dict[str, list[bool]] = {"similarity": [], "attention": []}
    for number in range(scenes):
        record = records[number]
        found = detector.explain(record.open(), [*record.labels, *record.absent[:3]])
        width, height = found.picture.size
        for (left, top, right, bottom), positive in zip(record.boxes_xyxy, record.positive_NL, strict=True):
            label = int(positive.argmax())
            if record.positive_NL[:, label].sum() > 1:
                continue
            for kind in ratios:
                heat = found.map(record.labels[label], kind)
                y = (np.arange(heat.shape[0]) + 0.5) * height / heat.shape[0]
                x = (np.arange(heat.shape[1]) + 0.5) * width / heat.shape[1]
                inside = ((y > top) & (y < bottom))[:, None] & ((x > left) & (x < right))
                if inside.any():
                    ratios[kind].append(heat[inside].mean() / heat[~inside].mean())
                    peaks[kind].append(bool(inside.flat[heat.argmax()]))
    table = Table("kind", "inside more than twice outside", "median of that ratio", "strongest place in the box")
    table.title = f"{len(ratios['similarity'])} things in {scenes} scenes"
    for kind, values in ratios.items():
        share = np.mean(np.array(values) > 2)
        table.add_row(kind, f"{share:.0%}", f"{np.median(values):.0f}", f"{np.mean(peaks[kind]):.0%}")
    return table


def peak_of(what: str, labels: list[str]) -> tuple[int, float]:
    """Return how many tokens the labels take, and the peak of memory in MB of one call."""
    torch.manual_seed(0)
    model = GroundingDinoForObjectDetection(swin_t()).eval()
    detector = Detector(model, GroundingDinoProcessor(GroundingDinoImageProcessor(), GroundingDinoTokenizer.default()))
    picture = np.random.default_rng(0).integers(0, 256, (800, 1066, 3), dtype=np.uint8)
    prompt = detector.prompt(labels)
    if what == "finding":
        detector(picture, labels)
    elif what == "explaining":
        detector.explain(picture, labels)
    else:
        with torch.inference_mode():
            image = detector.encode_images([detector.prepare(picture)])
            detector.model.model.enhance_select_decode(image, detector.encode_text([prompt]), attentions=True)
    return len(prompt.token_ids), peak_mb()


def memory(_: int) -> Table:
    """Measure finding, explaining, and asking the model for all that it can return."""
    table = Table("", *(f"{count} tokens" for count in PROMPTS))
    for what in ("finding", "explaining", "all attention weights"):
        cells = []
        for count, labels in PROMPTS.items():
            tokens, peak = in_fresh_process(peak_of, what, labels)
            assert tokens == count, (tokens, count)
            cells.append(f"{peak:,.0f} MB")
        table.add_row(what, *cells)
    return table


CASES: dict[str, Callable[[int], Table]] = {"places": places, "memory": memory}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--scenes", type=int, default=30)
    arguments = parser.parse_args()
    for case in arguments.case:
        Console().print(CASES[case](arguments.scenes))


if __name__ == "__main__":
    main()
