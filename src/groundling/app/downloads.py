"""Files that are made when a button is pressed, and uploads as the page hands them over."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from groundling.app.temporary import TemporaryFiles, let_go
from groundling.errors import ImageError

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


def uploaded(upload: dict[str, Any] | None, files: TemporaryFiles) -> tuple[Path | None, str]:
    """Return where an upload stands, None without one, and what the file was called.

    Args:
        upload: what the browser says, which may be anything.
        files: where uploads are; no other file is read for a page.

    Raises:
        ImageError: it is not an upload, or was let go.
    """
    if not isinstance(upload, dict) or not upload.get("path"):
        return None, ""
    path = Path(str(upload["path"]))
    name = Path(str(upload.get("orig_name") or path)).name
    if not files.holds(path):
        raise ImageError(f"{name!r} was not uploaded. Drop it into the field.")
    with suppress(OSError):  # a name that is too long for a file
        if path.is_file():
            return path, name
    raise let_go(name)
