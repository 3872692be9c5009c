"""Files that are made when a button is pressed, and uploads as the page hands them over."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
"""For every event: the page is for people, it offers no interface for programs."""

CHEAP: dict[str, Any] = {**PRIVATE, "concurrency_limit": None, "show_progress": "hidden"}
"""For events that do not run the model."""

SAVE = "file => { const a = document.createElement('a'); a.href = file.url; a.download = file.orig_name; a.click(); }"
"""Has the browser save a file that was just made."""


def offer_download(button: gr.Button, make: Callable[..., str], inputs: Sequence[Any]) -> None:
    """Make a file when a button is pressed, and hand it to the browser.

    Args:
        button: what is pressed.
        make: makes the file from the values of `inputs` and returns its path.
        inputs: parts of the page.
    """
    made = gr.DownloadButton(visible="hidden")
    button.click(make, inputs, made, **CHEAP).success(None, made, None, js=SAVE, **PRIVATE)


def uploaded(upload: dict[str, Any] | None) -> tuple[Path | None, str]:
    """Return where an upload stands, None without one, and what the file was called."""
    if upload is None or not upload.get("path"):
        return None, ""
    path = Path(upload["path"])
    return path, Path(upload.get("orig_name") or path).name
