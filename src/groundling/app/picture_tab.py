"""The tab for pictures: which function answers to what."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from groundling.app import session
from groundling.app.downloads import CHEAP, PRIVATE, offer_download, uploaded
from groundling.app.messages import told
from groundling.app.parts import (
    MOST_OWN,
    Inputs,
    Inside,
    Results,
    Sliders,
    add_inputs,
    add_results,
    add_sliders,
    read_choice,
)
from groundling.app.session import Choice, SearchedPicture
from groundling.app.temporary import KEPT_SECONDS, TemporaryFiles
from groundling.data.scenes import make_scene
from groundling.pipeline.detector import Detector
from groundling.structures.detections import Detections
from groundling.structures.explanation import Explanation, MapKind

logger = logging.getLogger(__name__)

SHOW_RESULT = "() => document.querySelector('#found')?.scrollIntoView({block: 'nearest', behavior: 'smooth'})"
"""On a narrow screen the result stands below what was asked."""

Saver = Callable[[SearchedPicture, Detections, Path], Path]
DOWNLOADS: tuple[tuple[str, str, Saver], ...] = (
    ("save-picture", "Save picture", session.save_annotated),
    ("save-json", "Save JSON", session.save_json),
    ("save-coco", "Save COCO", session.save_coco),
)

MODEL: dict[str, Any] = {**PRIVATE, "concurrency_id": "model", "concurrency_limit": 1}  # one run at a time


def add_picture_tab(detector: Detector, files: TemporaryFiles, *, example: bool) -> None:
    """Lay out the tab and say what answers to what."""
    searched = gr.State(None, time_to_live=KEPT_SECONDS)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            inputs = add_inputs(example=example)
        with gr.Column(scale=3, min_width=320):
            results, inside = add_results()
            sliders = add_sliders()
            with gr.Row():
                saves = [gr.Button(name, elem_id=key, size="sm", interactive=False) for key, name, _ in DOWNLOADS]
    _answer_detect(detector, files, searched, inputs, results, sliders, [*saves, inside.look])
    gr.on(
        [slider.input for slider in sliders.all],
        told(_move),
        [searched, *sliders.inputs],
        list(results),
        trigger_mode="always_last",
        **CHEAP,
    )
    _answer_look(detector, searched, sliders, inside)
    for button, (_, _, save) in zip(saves, DOWNLOADS, strict=True):
        offer_download(button, told(_maker(save, files)), [searched, *sliders.inputs])
    inputs.example.click(lambda: _example(files), None, [inputs.picture, inputs.labels], **CHEAP)


def _answer_detect(
    detector: Detector,
    files: TemporaryFiles,
    searched: gr.State,
    inputs: Inputs,
    results: Results,
    sliders: Sliders,
    usable_then: Sequence[gr.Button],
) -> None:
    def detect(upload: dict[str, Any] | None, labels: str, negatives: str, *choice: Any) -> tuple[Any, ...]:
        began = time.perf_counter()
        vocabulary = session.read_vocabulary(labels, negatives)
        found = session.search(detector, *uploaded(upload, files), vocabulary)
        _log_run(found, time.perf_counter() - began)
        before = read_choice(*choice)
        own = session.best_labels(found, MOST_OWN)
        kept = {label: before.own.get(label, 0.0) for label in own}  # a label keeps its threshold
        shown = _show(found, replace(before, own={label: value for label, value in kept.items() if value}))
        free = [gr.update(label=label, value=value, visible=True) for label, value in kept.items()]
        free += [gr.update(visible=False)] * (MOST_OWN - len(own))
        return found, *shown, own, *free, *[gr.update(interactive=True)] * len(usable_then)

    asked = gr.on(
        [inputs.detect.click, inputs.labels.submit, inputs.negatives.submit],
        told(detect),
        [inputs.picture, inputs.labels, inputs.negatives, *sliders.inputs],
        [searched, *results, sliders.own_labels, *sliders.own, *usable_then],
        preprocess=False,  # groundling reads the upload itself, so that a broken file gets its message
        show_progress_on=results.picture,
        **MODEL,
    )
    asked.success(None, js=SHOW_RESULT, **PRIVATE)


def _answer_look(detector: Detector, searched: gr.State, sliders: Sliders, inside: Inside) -> None:
    explained = gr.State(None, time_to_live=KEPT_SECONDS)

    def look(searched: SearchedPicture | None, word: str | None, kind: MapKind, *choice: Any) -> tuple[Any, ...]:
        began = time.perf_counter()
        kept = session.still_there(searched)
        explanation = session.look_inside(detector, kept)
        _log_run(kept, time.perf_counter() - began)
        chosen = word if word in explanation.words else explanation.words[0]
        shown = redraw(explanation, chosen, kind, *choice)
        return explanation, gr.update(choices=list(explanation.words), value=chosen), *shown

    def redraw(explanation: Explanation | None, word: str | None, kind: MapKind, *choice: Any) -> tuple[Any, ...]:
        if explanation is None or word is None:
            return None, None
        shown = session.choose_explained(explanation, read_choice(*choice))
        return session.in_shown_size(shown.draw_map(word, kind)), shown.draw_scores()

    pictures = [inside.overlay, inside.scores]
    shown = [inside.word, inside.kind, *sliders.inputs]
    inside.look.click(
        told(look),
        [searched, *shown],
        [explained, inside.word, *pictures],
        show_progress_on=inside.overlay,
        **MODEL,
    )
    moved = [slider.release for slider in sliders.all]
    gr.on(
        [inside.word.input, inside.kind.input, *moved],
        told(redraw),
        [explained, *shown],
        pictures,
        trigger_mode="always_last",  # else a click would be lost while the one before is answered
        **CHEAP,
    )
    searched.change(
        lambda: (None, gr.update(choices=[], value=None), None, None),
        None,
        [explained, inside.word, *pictures],
        **CHEAP,
    )


def _maker(save: Saver, files: TemporaryFiles) -> Callable[..., str]:
    def make(searched: SearchedPicture | None, *choice: Any) -> str:
        kept = session.still_there(searched)
        return str(save(kept, session.choose(kept, read_choice(*choice)), files.new_folder()))

    return make


def _move(searched: SearchedPicture | None, *choice: Any) -> Any:
    """Answer to a slider."""
    return gr.skip() if searched is None else _show(searched, read_choice(*choice))


def _show(searched: SearchedPicture, choice: Choice) -> tuple[Any, ...]:
    """Return the values of `Results`."""
    found = session.choose(searched, choice)
    summary = session.summary(searched, found) + session.legend_html(session.legend(found))
    return session.draw(searched, found), summary, session.rows(found)


def _example(files: TemporaryFiles) -> tuple[str, str]:
    """Draw a scene and name what is in it."""
    scene = make_scene(2024, random.randrange(1000), split="held_out", size=448)
    path = files.new_folder() / "scene.png"
    scene.image.save(path)
    return str(path), "\n".join(sorted({thing.name for thing in scene.things}))


def _log_run(searched: SearchedPicture, seconds: float) -> None:
    width, height = searched.candidates.image_wh
    logger.info(
        "The model ran: a picture of %d x %d pixels, %d labels, %d boxes above %g, %.2f s.",
        width,
        height,
        len(searched.vocabulary.labels),
        len(searched.candidates),
        session.LOWEST_THRESHOLD,
        seconds,
    )
