"""From the paths on the command line to the pictures to read and the pictures to write."""

import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from groundling.errors import ImageError
from groundling.pictures.folders import DETECTED, PICTURE_ENDINGS, is_picture

__all__ = ["DETECTED", "check_writable", "choose_outputs", "choose_pictures", "find_pictures"]

WRITABLE = PICTURE_ENDINGS - {".gif"}


def choose_pictures(names: Sequence[str] | None, labels: Sequence[str] | None, verb: str) -> list[Path]:
    """List the pictures that are meant, if at least one is there: a mistake is told before a model is loaded.

    Args:
        names: what the command line names; see `find_pictures`.
        labels: the words after --labels, which may have swallowed a picture.
        verb: how messages call the command.

    Raises:
        ImageError: no picture is named, a folder has none in it, or none exists.
    """
    if not names:
        raise _no_picture(labels or [], verb)
    pictures = find_pictures(names)
    if not any(picture.exists() for picture in pictures):
        raise ImageError(f"There is no picture file {str(pictures[0])!r}. Check the path.")
    return pictures


def find_pictures(names: Sequence[str]) -> list[Path]:
    """List the pictures that are meant: a file is itself, a folder all pictures directly in it, by name.

    Raises:
        ImageError: a folder has no picture in it.
    """
    found: list[Path] = []
    for name in names:
        if name.startswith(("http://", "https://")):
            raise ImageError(f"{name!r} is a URL. Download the picture first; groundling reads files.")
        path = Path(name).expanduser()
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.iterdir() if is_picture(p.name) and p.is_file())
        if not inside:
            raise ImageError(f"The folder {name!r} has no pictures in it ({', '.join(sorted(PICTURE_ENDINGS))}).")
        found += inside
    return found


def choose_outputs(pictures: Sequence[Path], out: str | None, ending: str = DETECTED) -> list[Path]:
    """Choose for each picture where the annotated one goes, no two to one place and none onto its source.

    Args:
        pictures: what was read.
        out: a picture's path for one picture, otherwise a folder, as anything with a slash at the end; None is the
            current folder.
        ending: of names in a folder.

    Raises:
        ImageError: the place cannot be written, or `out` names one picture for several, the picture that is read, or an
            ending that cannot be written.
    """
    if out == "-":
        raise ImageError("--out - is standard output, where no picture is written. Give a path such as a.png.")
    place = Path(out or "").expanduser()
    is_folder = out is None or out.endswith(("/", os.sep)) or place.is_dir() or not place.suffix
    if not is_folder:
        return [_one_output(pictures, place)]
    if place.is_file():
        raise ImageError(
            f"--out {str(place)!r} is a file that is not a picture. Give a folder or a path such as a.png."
        )
    check_writable(place)
    taken: set[Path] = set()
    chosen = []
    for picture in pictures:
        path = place / f"{picture.stem}{ending}"
        number = 2
        while path in taken:
            path = place / f"{picture.stem}-{number}{ending}"
            number += 1
        taken.add(path)
        chosen.append(path)
    return chosen


def _one_output(pictures: Sequence[Path], out: Path) -> Path:
    if out.suffix.lower() not in WRITABLE:
        raise ImageError(f"--out {str(out)!r} does not end in a picture format. Use .png, .jpg or .webp.")
    if len(pictures) > 1:
        raise ImageError(f"--out {str(out)!r} is one picture, but there are {len(pictures)} to write. Give a folder.")
    if any(out.exists() and picture.exists() and out.samefile(picture) for picture in pictures):
        raise ImageError(f"--out {str(out)!r} is the picture itself, which would be lost. Give another path.")
    check_writable(out.parent)
    return out


def check_folder(folder: Path) -> None:
    """Find out whether files can be written into a folder, which need not exist yet.

    Raises:
        ImageError: it is a file, or may not be changed.
    """
    if folder.is_file():
        raise ImageError(f"{str(folder)!r} is a file. Name a folder.")
    check_writable(folder)


def check_writable(folder: Path) -> None:
    """Find out before the model computes, not after."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):  # some folders, such as /proc, promise more than they do
            pass
    except OSError as error:
        raise ImageError(
            f"Nothing can be written to {str(folder)!r}: {str(place)!r} is no folder that you may change."
        ) from error


def choose_folders(folder: Path | None, pictures: Sequence[Path]) -> list[Path] | list[None]:
    """Choose a folder in `folder` for what is written of each picture; pictures may be called the same."""
    if folder is None:
        return [None] * len(pictures)
    taken: set[str] = set()
    chosen = []
    for picture in pictures:
        number, name = 1, picture.stem
        while name.casefold() in taken:
            number += 1
            name = f"{picture.stem}-{number}"
        taken.add(name.casefold())
        chosen.append(folder / name)
    return chosen


def refuse_too_large(picture: Path) -> ImageError | None:
    """Return what is wrong where a picture is too large for masks; any other problem shows when it is read."""
    import PIL.Image

    try:
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(picture):
            return None
    except PIL.Image.DecompressionBombError as error:
        return ImageError(
            f"{str(picture)!r} is too large to be held whole ({error}), which masks need, with --tile too. "
            "Reduce it or cut it into parts first."
        )
    except Exception:
        return None


def _no_picture(labels: Sequence[str], verb: str) -> ImageError:
    swallowed = next((label for label in labels if Path(label).expanduser().exists()), None)
    if swallowed is None:
        return ImageError(f"No picture is given. Put one or more before the options: groundling {verb} PICTURE ...")
    return ImageError(
        f"No picture is given: --labels takes all words up to the next option, also {swallowed!r}. "
        f"Put pictures before --labels, or end the labels with --, as in: --labels {labels[0]!r} -- {swallowed}"
    )
