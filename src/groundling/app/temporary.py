"""Files that exist for a while: uploads and downloads, all in one folder that goes when the server ends."""

import shutil
import tempfile
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

KEPT_SECONDS = 3600
"""How long a picture or a file stays after it was last made or asked for."""

ENVIRONMENT = "GRADIO_TEMP_DIR"
"""Says where Gradio puts uploads."""


class TemporaryFiles:
    """A folder of this server alone, which no other user can read; it is removed on leaving.

    Attributes:
        root: the folder.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="groundling-app-")).resolve()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def uploads(self) -> Path:
        """Where Gradio puts what is sent to the page and what it shows."""
        return self.root / "uploads"

    def new_folder(self) -> Path:
        """Make a folder for files to download, and remove those that have had their time."""
        made = self.root / "made"
        made.mkdir(exist_ok=True)
        for folder in made.iterdir():
            if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
        folder = made / uuid.uuid4().hex
        folder.mkdir()
        return folder
