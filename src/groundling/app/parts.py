"""The parts of the picture's tab: what they are called, how they look, and where they start."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import gradio as gr

from groundling.app import session
from groundling.app.session import Choice

MOST_OWN = 12
"""Labels that get a slider of their own."""

PICTURE_HEIGHT = 440  # pixels on the screen


class Inputs(NamedTuple):
    """What is looked for, and where."""

    picture: gr.Image
    labels: gr.Textbox
    negatives: gr.Textbox
    detect: gr.Button
    example: gr.Button


class Results(NamedTuple):
    """What follows the sliders."""

    picture: gr.Image
    summary: gr.HTML
    table: gr.Dataframe


class Sliders(NamedTuple):
    """What can be changed after the model ran."""

    threshold: gr.Slider
    nms: gr.Slider
    own: list[gr.Slider]
    own_labels: gr.State

    @property
    def all(self) -> list[gr.Slider]:
        """Every slider."""
        return [self.threshold, self.nms, *self.own]

    @property
    def inputs(self) -> list[Any]:
        """What `read_choice` reads."""
        return [self.threshold, self.nms, self.own_labels, *self.own]


class Inside(NamedTuple):
    """Where a word looked, and what each word said to each box."""

    look: gr.Button
    word: gr.Dropdown
    kind: gr.Radio
    overlay: gr.Image
    scores: gr.Image


def read_choice(threshold: float, nms: float, own_labels: Sequence[str], *own: float) -> Choice:
    """Read where the sliders stand; the single labels' sliders beyond `own_labels` are not shown."""
    given = zip(own_labels, own[: len(own_labels)], strict=True)
    return Choice(threshold, nms, {label: value for label, value in given if value > 0})


def add_inputs(*, example: bool) -> Inputs:
    """Lay out the left column."""
    picture = gr.Image(
        label="Picture", sources=["upload", "webcam", "clipboard"], type="filepath", height=300, elem_id="picture"
    )
    labels = add_labels("labels")
    negatives = gr.Textbox(
        label="But not (optional)",
        info="Look-alikes: what is more like one of these than like a label is left out.",
        placeholder="a toy cat",
        lines=1,
        max_lines=6,
        elem_id="negatives",
    )
    with gr.Row():
        detect = gr.Button("Detect", variant="primary", elem_id="detect")
        drawn = gr.Button("Draw an example", visible=example, elem_id="example")
    return Inputs(picture, labels, negatives, detect, drawn)


def add_results() -> tuple[Results, Inside]:
    """Lay out the tabs of the right column and the line below them."""
    with gr.Tabs():
        with gr.Tab("Boxes"):
            picture = _shown("found")
        with gr.Tab("Table"):
            table = gr.Dataframe(
                headers=list(session.COLUMNS),
                datatype=["str", "number", "number", "number", "number", "number"],
                interactive=False,
                show_label=False,
                max_height=PICTURE_HEIGHT,
                elem_id="table",
            )
        with gr.Tab("Look inside"):
            inside = _add_inside()
    summary = gr.HTML("<p>Give a picture and labels, then press Detect.</p>", elem_id="summary")
    return Results(picture, summary, table), inside


def _add_inside() -> Inside:
    look = gr.Button("Look inside (the model runs once more)", size="sm", interactive=False, elem_id="look")
    with gr.Row():
        word = gr.Dropdown([], label="Word", elem_id="word")
        kind = gr.Radio(
            [("where it matches", "similarity"), ("where it looks", "attention")],
            value="similarity",
            label="Show",
            elem_id="kind",
        )
    overlay = _shown("overlay")
    gr.HTML("<p>Score of each box (row) for each piece of the labels (column):</p>", elem_classes="help")
    return Inside(look, word, kind, overlay, _shown("scores", height=None, form="png"))


def add_slider(
    key: str, label: str, help_text: str, value: float, *, least: float = 0, most: float = 1, step: float = 0.01
) -> gr.Slider:
    """Lay out a slider with a line that says what it does."""
    return gr.Slider(least, most, value, step=step, label=label, info=help_text, buttons=[], elem_id=key)


def add_labels(key: str) -> gr.Textbox:
    """Lay out the field for labels."""
    return gr.Textbox(
        label="Labels",
        info="What to find: one a line, or separated by commas.",
        placeholder="red star\nblue circle",
        lines=3,
        max_lines=12,
        elem_id=key,
    )


def add_sliders() -> Sliders:
    """Lay out the sliders."""
    start = Choice()
    with gr.Row():
        threshold = add_slider(
            "threshold",
            "Threshold",
            "Boxes that score more are shown.",
            start.threshold,
            least=session.LOWEST_THRESHOLD,
        )
        nms = add_slider(
            "nms",
            "Overlap",
            "Of boxes of one label that overlap more, the best is shown.",
            start.nms_iou,
            most=session.KEEP_ALL,
        )
    with gr.Accordion("A threshold for each label", open=False, elem_id="own"):
        gr.HTML(
            f"<p>At 0 a label follows the general threshold. The {MOST_OWN} labels that score best have a slider.</p>",
            elem_classes="help",
        )
        own = [gr.Slider(0, 1, 0, step=0.01, visible=False, buttons=[]) for _ in range(MOST_OWN)]
    return Sliders(threshold, nms, own, gr.State([]))


def _shown(key: str, height: int | None = PICTURE_HEIGHT, form: str = "jpeg") -> gr.Image:
    """Show a picture; JPEG takes a hundredth of the time of PNG, so that it follows a slider."""
    return gr.Image(
        show_label=False, interactive=False, height=height, buttons=["fullscreen"], format=form, elem_id=key
    )
