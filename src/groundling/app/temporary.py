"""Files that exist for a while: uploads and downloads, all in one folder that goes when the server ends."""

import shutil
import tempfile
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from groundling.errors import ImageError

KEPT_SECONDS = 3600
"""How long a picture or a file stays after it was last made or asked for."""

CHECK_SECONDS = 600
"""How often old files are looked for."""

ENVIRONMENT = "GRADIO_TEMP_DIR"
"""Says where Gradio puts uploads."""


def let_go(name: str) -> ImageError:
    """Return the error that an upload had its time."""
    return ImageError(f"{name!r} was let go, as all uploads are after an hour. Drop it into the field again.")


class TemporaryFiles:
    """A folder of this server alone, which no other user can read; old files go in time, and all of them on leaving.

    Attributes:
        root: the folder.
        made: the folder in it for files to download.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="groundling-app-")).resolve()
        self.made = self.root / "made"
        self.made.mkdir()
        self._leaving = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_in_time, daemon=True)

    def __enter__(self) -> Self:
        self._sweeper.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leaving.set()
        self._sweeper.join()
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def uploads(self) -> Path:
        """Where Gradio puts what is sent to the page and what it shows."""
        return self.root / "uploads"

    def holds(self, path: str | Path) -> bool:
        """Say whether a path, its links followed, leads into the folder for uploads; nothing may be there any more."""
        try:
            return Path(path).resolve().is_relative_to(self.uploads)
        except (OSError, ValueError, RuntimeError):  # names that no file can have, and links in a circle
            return False

    def new_folder(self) -> Path:
        """Make a folder for files to download."""
        folder = self.made / uuid.uuid4().hex
        folder.mkdir()
        return folder

    def sweep(self) -> None:
        """Remove files to download, and uploads that broke off, when they had their time; Gradio removes whole ones."""
        for folder in self.made.iterdir():
            with suppress(FileNotFoundError):  # who made it removed it just now
                if all(_is_old(path) for path in (folder, *folder.iterdir())):
                    shutil.rmtree(folder, ignore_errors=True)
        for path in self.uploads.glob("*"):
            with suppress(FileNotFoundError):
                if path.is_file() and _is_old(path):
                    path.unlink()

    def _sweep_in_time(self) -> None:
        while not self._leaving.wait(CHECK_SECONDS):
            self.sweep()


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > KEPT_SECONDS
