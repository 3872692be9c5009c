"""The tab for videos: things are followed through a clip, and it comes back with boxes."""

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from groundling.app import clips, session
from groundling.app.downloads import CHEAP, PRIVATE, offer_download, uploaded
from groundling.app.messages import told, told_on_the_way
from groundling.app.parts import add_labels, add_slider
from groundling.app.temporary import KEPT_SECONDS, TemporaryFiles
from groundling.errors import ImageError
from groundling.pipeline.detector import Detector

logger = logging.getLogger(__name__)

MOST_EVERY = 30


class Inputs(NamedTuple):
    """What is looked for, and where."""

    video: gr.Video
    labels: gr.Textbox
    every: gr.Slider
    threshold: gr.Slider
    start: gr.Button
    stop: gr.Button


class Results(NamedTuple):
    """What was found."""

    video: gr.Video
    summary: gr.HTML
    table: gr.Dataframe
    save: gr.Button


def add_video_tab(detector: Detector, files: TemporaryFiles) -> None:
    """Lay out the tab and say what answers to what."""
    clip = gr.State(None, time_to_live=KEPT_SECONDS)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            inputs = _add_inputs()
        with gr.Column(scale=3, min_width=320):
            results = _add_results()
    following = inputs.start.click(
        told_on_the_way(follower(detector, files)),
        [inputs.video, inputs.labels, inputs.every, inputs.threshold],
        [clip, *results],
        preprocess=False,  # groundling reads the upload itself
        concurrency_id="video",  # one at a time, beside the pictures: a video may take minutes
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=results.video,
        **PRIVATE,
    )
    inputs.stop.click(lambda: "<p>Stopped.</p>", None, results.summary, cancels=[following], **CHEAP)
    offer_download(results.save, told(_tracks), [clip])


def _add_inputs() -> Inputs:
    video = gr.Video(label="Video", sources=["upload"], height=300, elem_id="video")
    labels = add_labels("video-labels")
    every = add_slider(
        "every",
        "Look at every so many frames",
        "In the frames between, boxes move from one detection to the next.",
        5,
        least=1,
        most=MOST_EVERY,
        step=1,
    )
    threshold = add_slider(
        "video-threshold",
        "Threshold",
        "Boxes that score more begin a track.",
        session.Choice().threshold,
        least=session.LOWEST_THRESHOLD,
    )
    with gr.Row():
        start = gr.Button("Track", variant="primary", elem_id="track")
        stop = gr.Button("Stop", elem_id="stop")
    return Inputs(video, labels, every, threshold, start, stop)


def _add_results() -> Results:
    video = gr.Video(show_label=False, interactive=False, height=440, buttons=["download"], elem_id="annotated")
    summary = gr.HTML("<p>Give a video and labels, then press Track.</p>", elem_id="video-summary")
    table = gr.Dataframe(
        headers=list(clips.COLUMNS),
        datatype=["number", "str", "number", "number", "number", "number"],
        interactive=False,
        show_label=False,
        max_height=300,
        elem_id="things",
    )
    save = gr.Button("Save tracks (JSON Lines)", size="sm", interactive=False, elem_id="save-tracks")
    return Results(video, summary, table, save)


def follower(detector: Detector, files: TemporaryFiles) -> Callable[..., Iterator[tuple[Any, ...]]]:
    """Return what answers to the start button: values of the clip and of `Results`, from time to time.

    The files stay only if it comes to the end.
    """

    def follow(upload: dict[str, Any] | None, labels: str, every: int, threshold: float) -> Iterator[tuple[Any, ...]]:
        began = time.perf_counter()
        vocabulary = session.read_vocabulary(labels, None)
        path, name = uploaded(upload, files)
        folder, is_done = files.new_folder(), False
        steps = clips.follow(detector, path, name, vocabulary, every=int(every), threshold=threshold, folder=folder)
        try:
            with closing(steps):
                for now in steps:
                    is_done = now.done
                    if is_done:
                        logger.info("A video was searched: %d frames, %.1f s.", now.frames, time.perf_counter() - began)
                        yield now, str(now.video), clips.summary(now), clips.rows(now), gr.update(interactive=True)
                    else:
                        yield gr.skip(), gr.skip(), clips.summary(now), gr.skip(), gr.skip()
        finally:
            if not is_done:
                shutil.rmtree(folder, ignore_errors=True)

    return follow


def _tracks(clip: clips.Clip | None) -> str:
    if clip is None or not Path(clip.tracks).exists():
        raise ImageError("No video was searched, or it was let go after an hour. Press Track.")
    return str(clip.tracks)
