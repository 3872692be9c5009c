"""The tab for videos: things are followed through a clip, and it comes back with boxes."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from groundling.app import clips, session
from groundling.app.downloads import CHEAP, PRIVATE, offer_download, uploaded
from groundling.app.messages import told, told_on_the_way
from groundling.app.parts import LABELS_EXAMPLE, LABELS_HELP
from groundling.app.temporary import KEPT_SECONDS, TemporaryFiles
from groundling.errors import ImageError
from groundling.pipeline.detector import Detector

logger = logging.getLogger(__name__)

MOST_EVERY = 30


def add_video_tab(detector: Detector, files: TemporaryFiles) -> None:
    """Lay out the tab and say what answers to what."""
    clip = gr.State(None, time_to_live=KEPT_SECONDS)
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            video = gr.Video(label="Video", sources=["upload"], height=300, elem_id="video")
            labels = gr.Textbox(
                label="Labels",
                info=LABELS_HELP,
                placeholder=LABELS_EXAMPLE,
                lines=3,
                max_lines=12,
                elem_id="video-labels",
            )
            every = gr.Slider(
                1,
                MOST_EVERY,
                5,
                step=1,
                label="Look at every so many frames",
                info="In the frames between, boxes move from one detection to the next.",
                buttons=[],
                elem_id="every",
            )
            threshold = gr.Slider(
                session.LOWEST_THRESHOLD,
                1,
                session.Choice().threshold,
                step=0.01,
                label="Threshold",
                info="Boxes that score more begin a track.",
                buttons=[],
                elem_id="video-threshold",
            )
            with gr.Row():
                start = gr.Button("Track", variant="primary", elem_id="track")
                stop = gr.Button("Stop", elem_id="stop")
        with gr.Column(scale=3, min_width=320):
            annotated = gr.Video(
                show_label=False, interactive=False, height=440, buttons=["download"], elem_id="annotated"
            )
            summary = gr.HTML("<p>Give a video and labels, then press Track.</p>", elem_id="video-summary")
            things = gr.Dataframe(
                headers=list(clips.COLUMNS),
                datatype=["number", "str", "number", "number", "number", "number"],
                interactive=False,
                show_label=False,
                max_height=300,
                elem_id="things",
            )
            save = gr.Button("Save tracks (JSON Lines)", size="sm", interactive=False, elem_id="save-tracks")

    def follow(upload: dict[str, Any] | None, labels: str, every: int, threshold: float) -> Iterator[tuple[Any, ...]]:
        began = time.perf_counter()
        vocabulary = session.read_vocabulary(labels, None)
        path, name = uploaded(upload)
        folder = files.new_folder()
        for now in clips.follow(detector, path, name, vocabulary, every=int(every), threshold=threshold, folder=folder):
            if not now.done:
                yield gr.skip(), gr.skip(), clips.summary(now), gr.skip(), gr.skip()
                continue
            logger.info("A video was searched: %d frames, %.1f s.", now.frames, time.perf_counter() - began)
            yield now, str(now.video), clips.summary(now), clips.rows(now), gr.update(interactive=True)

    following = start.click(
        told_on_the_way(follow),
        [video, labels, every, threshold],
        [clip, annotated, summary, things, save],
        preprocess=False,  # groundling reads the upload itself
        concurrency_id="video",  # one at a time, beside the pictures: a video may take minutes
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=annotated,
        **PRIVATE,
    )
    stop.click(lambda: "<p>Stopped.</p>", None, summary, cancels=[following], **CHEAP)
    offer_download(save, told(_tracks), [clip])


def _tracks(clip: clips.Clip | None) -> str:
    if clip is None or not Path(clip.tracks).exists():
        raise ImageError("No video was searched, or it was let go after an hour. Press Track.")
    return str(clip.tracks)
