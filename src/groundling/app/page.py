"""The page: a tab for pictures and a tab for videos."""

import html
from pathlib import Path

import gradio as gr

from groundling.app.picture_tab import add_picture_tab
from groundling.app.temporary import CHECK_SECONDS, KEPT_SECONDS, TemporaryFiles
from groundling.app.video_tab import add_video_tab
from groundling.pipeline.detector import Detector

TITLE = "groundling"
MOST_WAITING = 64  # requests in the queue; more are told that it is full
MOST_SESSIONS = (
    32  # pages whose results are held, 50 MB each at most; the page that was not used for longest loses its own
)

STYLE = Path(__file__).with_name("page.css")


def build_page(detector: Detector, files: TemporaryFiles, model: str, *, example: bool, local: bool) -> gr.Blocks:
    """Build the page.

    Args:
        detector: what looks for things; it serves all sessions.
        files: where files for downloads stand for a while.
        model: the model's name, to be shown.
        example: offer a drawn scene, which the bundled model knows.
        local: only this computer can reach the page.
    """
    # No request may leave the machine: neither figures of use nor a look for newer releases.
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(CHECK_SECONDS, KEPT_SECONDS)) as blocks:
        gr.HTML(_header(model, bundled=example, local=local))
        with gr.Tabs():
            with gr.Tab("Picture"):
                add_picture_tab(detector, files, example=example)
            with gr.Tab("Video"):
                add_video_tab(detector, files)
    blocks.state_session_capacity = MOST_SESSIONS
    page: gr.Blocks = blocks.queue(max_size=MOST_WAITING, api_open=False)
    return page


def theme() -> gr.Theme:
    """Return the look of the page; its letters are those of the reader's system, none are loaded."""
    return gr.themes.Default(
        primary_hue="teal",
        neutral_hue="slate",
        spacing_size="sm",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    )


def _header(model: str, *, bundled: bool, local: bool) -> str:
    known = ", which knows drawn shapes only" if bundled else ""
    privacy = (
        "Nothing leaves this computer." if local else "Pictures go to the computer that serves this page, no further."
    )
    return (
        '<header class="top"><h1>groundling</h1>'
        f"<p>Name what you want to find. Model: <b>{html.escape(model)}</b>{known}. {privacy}</p></header>"
    )
