"""From a checkpoint's name to its files: a local folder, a single file, or a repository on the Hugging Face hub."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack, cast

from groundling.errors import CheckpointError

_FILE_ENDINGS = (".pth", ".pt", ".bin", ".safetensors", ".json")
_MAIN_FILES = ("config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json")
BUNDLED_MODEL = "groundling/nano"
"""The checkpoint that comes with the package."""

BUNDLED_SEGMENTER = "groundling/nano-sam"
"""The segmenter that comes with the package."""

WANTED = "a local folder, a checkpoint file or a hub id such as 'IDEA-Research/grounding-dino-tiny'"
"""What names a detector, as messages say it."""

_MODELS = Path(__file__).parents[1] / "models"
_BUNDLED = {BUNDLED_MODEL: _MODELS / "nano", BUNDLED_SEGMENTER: _MODELS / "nano_sam"}
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


class HubOptions(TypedDict, total=False):
    """How a hub repository is looked up; a local path ignores all but `subfolder`.

    Attributes:
        revision: branch, tag or commit; None is the default branch.
        cache_dir: folder of downloaded files; None is the hub's own cache.
        local_files_only: never use the network.
        token: access token for private repositories; True reads the one stored by `hf auth login`.
        subfolder: folder inside the repository or local folder.
    """

    revision: str | None
    cache_dir: str | Path | None
    local_files_only: bool
    token: str | bool | None
    subfolder: str


class Location(ABC):
    """The place where one checkpoint's files are.

    Attributes:
        name: what the caller wrote.
        file: the checkpoint itself where the name is a single file, such as `model.pth`.
    """

    name: str
    file: Path | None = None

    @abstractmethod
    def find(self, filename: str) -> Path | None:
        """Return the local path of a file of the checkpoint, or None if it has no such file."""

    def require(self, filename: str) -> Path:
        """Return the local path of a file.

        Raises:
            CheckpointError: the checkpoint has no such file.
        """
        path = self.find(filename)
        if path is None:
            raise CheckpointError(f"{self.name!r} has no file {filename!r}. {self.contents()}")
        return path

    def first_of(self, *filenames: str) -> Path | None:
        """Return the local path of the first of several alternative files that the checkpoint has.

        A file that is here already wins over one that would have to be fetched.
        """
        return next((path for filename in filenames if (path := self.find(filename)) is not None), None)

    @abstractmethod
    def contents(self) -> str:
        """Say in a sentence what the place holds, for error messages."""


class _Folder(Location):
    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._folder = folder

    def find(self, filename: str) -> Path | None:
        path = self._folder / filename
        return path if path.is_file() else None

    def contents(self) -> str:
        names = sorted(entry.name for entry in self._folder.iterdir())
        if not names:
            return "The folder is empty."
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        return f"The folder holds: {shown}."


class _File(_Folder):
    """A single file; its neighbours (config.json, tokenizer.json, ...) belong to it."""

    def __init__(self, name: str, file: Path) -> None:
        super().__init__(name, file.parent)
        self.file = file


class _Hub(Location):
    """A hub repository: its files in the local cache first, the network only for those that are not there."""

    def __init__(self, name: str, options: HubOptions) -> None:
        self.name = name
        self._options = options
        self._answered = False
        self._failure: str | None = None

    def find(self, filename: str) -> Path | None:
        """Return the local path of a file, fetched if need be.

        Where the network cannot be reached, a repository that is in the cache is taken as it is there.
        """
        known_to_be_absent, cached = self._cached(filename)
        if cached is not None or known_to_be_absent or self._options.get("local_files_only", False):
            return cached
        if self._failure is None and not self._answered:
            self._knock(filename)
        if self._failure is None:
            return self._fetch(filename)
        if self._snapshot_is_cached():
            return None
        raise CheckpointError(self._unreachable(filename))

    def first_of(self, *filenames: str) -> Path | None:
        """Return the local path of the first of several alternative files."""
        cached = (self._cached(filename)[1] for filename in filenames)
        return next((path for path in cached if path is not None), None) or super().first_of(*filenames)

    def _knock(self, filename: str) -> None:
        """Ask the hub once without retrying: a download would try for half a minute where there is no network."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
        from huggingface_hub.errors import HfHubHTTPError

        subfolder, revision = self._options.get("subfolder"), self._options.get("revision")
        try:
            url = hf_hub_url(self.name, filename, subfolder=subfolder, revision=revision)
            get_hf_file_metadata(url, token=self._options.get("token"))
        except HfHubHTTPError:
            pass  # an answer, whatever it says: the download will tell what is wrong
        except Exception as error:  # the hub client raises errors of several HTTP libraries
            self._failure = _reason(error)
        self._answered = True

    def _fetch(self, filename: str) -> Path | None:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        try:
            return Path(
                hf_hub_download(
                    self.name,
                    filename,
                    subfolder=self._options.get("subfolder") or None,
                    revision=self._options.get("revision"),
                    cache_dir=self._options.get("cache_dir"),
                    token=self._options.get("token"),
                )
            )
        except LocalEntryNotFoundError as error:
            self._failure = _reason(error.__cause__ or error)
            if self._snapshot_is_cached():
                return None
            raise CheckpointError(self._unreachable(filename)) from error
        except EntryNotFoundError:
            return None
        except Exception as error:  # the hub client raises errors of several HTTP libraries
            self._failure = _reason(error)
            raise CheckpointError(self._unreachable(filename)) from error

    def _cached(self, filename: str) -> tuple[bool, Path | None]:
        """Return whether the file is known not to exist, and its path if it is in the cache."""
        from huggingface_hub import try_to_load_from_cache

        subfolder = self._options.get("subfolder", "")
        cached = try_to_load_from_cache(
            self.name,
            f"{subfolder}/{filename}" if subfolder else filename,
            cache_dir=self._options.get("cache_dir"),
            revision=self._options.get("revision"),
        )
        if isinstance(cached, str):
            return False, Path(cached)
        return cached is not None, None

    def _snapshot_is_cached(self) -> bool:
        return any(self._cached(filename)[1] is not None for filename in _MAIN_FILES)

    def _unreachable(self, filename: str) -> str:
        return (
            f"There is no file or folder {self.name!r} here, and {filename!r} of the hub repository {self.name!r} is "
            f"not in the local cache and could not be fetched ({self._failure}). Check the name and the network."
        )

    def contents(self) -> str:
        """Say why a file could not be had."""
        if self._failure is not None:
            return f"It is not in the local cache, and the hub cannot be reached ({self._failure})."
        if self._options.get("local_files_only", False):
            return "It is not in the local cache, and local_files_only forbids the network."
        return "Check the name of the checkpoint and its revision."


def _reason(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def split_hub_options(options: Mapping[str, Any]) -> tuple[HubOptions, dict[str, Any]]:
    """Separate the hub options among keyword arguments from the others."""
    hub = {name: value for name, value in options.items() if name in HubOptions.__annotations__}
    return cast(HubOptions, hub), {name: value for name, value in options.items() if name not in hub}


def locate(name: str | os.PathLike[str], *, wanted: str = WANTED, **options: Unpack[HubOptions]) -> Location:
    """Find where a checkpoint is: an existing path wins over the package's own model, and that over a hub id.

    Args:
        name: a folder, a single file, "groundling/nano", "groundling/nano-sam" or a hub id such as
            "IDEA-Research/grounding-dino-tiny".
        wanted: what the message says to give in place of an impossible name.
        **options: see `HubOptions`.

    Raises:
        CheckpointError: the name is neither an existing path nor a possible hub id.
    """
    text = os.fspath(name)
    path = Path(text).expanduser()
    if text and path.is_file():
        return _File(text, path)
    if text and path.is_dir():
        folder = path / options.get("subfolder", "")
        if not folder.is_dir():
            raise CheckpointError(f"The folder {text!r} has no subfolder {options.get('subfolder')!r}.")
        return _Folder(text, folder)
    if text in _BUNDLED and not isinstance(name, os.PathLike):
        return _Folder(text, _BUNDLED[text])
    is_path = isinstance(name, os.PathLike) or text.startswith((".", "/", "~")) or text.endswith(_FILE_ENDINGS)
    if is_path or not _HUB_ID.fullmatch(text):
        raise CheckpointError(f"There is no file or folder {text!r}, and it is not a hub id. Give {wanted}.")
    return _Hub(text, options)
