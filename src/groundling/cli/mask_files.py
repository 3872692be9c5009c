"""Masks of one picture as PNG files in a folder of its own: each thing, both maps, and what is cut out.

`things.json` in the folder lists what groundling has written there. Nothing else in it is replaced or removed.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image

from groundling.cli.pictures import check_writable
from groundling.errors import CheckpointError, ImageError
from groundling.files import read_json, write_json
from groundling.pictures.drawing import save_picture
from groundling.pictures.folders import thing_name
from groundling.structures.mask_pictures import cutouts, masks_of

if TYPE_CHECKING:
    from groundling.structures.detections import Detections
    from groundling.structures.detections_shown import Drawable

LABEL_MAP, INSTANCE_MAP = "labels.png", "instances.png"

LIST = "things.json"
MASKS, CUTOUTS = "groundling segment --masks", "groundling segment --cutouts"
"""What has made a folder; the one does not replace what the other has written."""


def check_thing_folder(folder: Path, made_by: str, picture: Path, pictures: Sequence[Path]) -> None:
    """Find out whether the folder of one picture's things is new or was made by groundling.

    Args:
        folder: where things would be written.
        made_by: MASKS or CUTOUTS.
        picture: whose things they are.
        pictures: all that are read.

    Raises:
        ImageError: it is a file, holds one of the pictures, something that was made otherwise or the things of another
            picture, or may not be changed.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ImageError(f"{str(folder)!r} is a file, but things go into a folder of that name. Give another folder.")
    if read := next((path for path in pictures if path.exists() and path.parent.samefile(folder)), None):
        raise ImageError(f"Things would go into {str(folder)!r}, where {str(read)!r} is read. Give another folder.")
    if not (folder / LIST).exists():
        own = next((path.name for path in sorted(folder.iterdir()) if not path.name.startswith(".")), None)
        if own is not None:
            raise ImageError(
                f"{str(folder)!r} holds {own!r} and was not made by groundling, so nothing is written there. "
                "Give another folder."
            )
    if _listed(folder, made_by) and (other := _other_picture(folder, picture)) is not None:
        raise ImageError(
            f"{str(folder)!r} holds what was made of {other!r}, which would be replaced by that of {str(picture)!r}. "
            "Give another folder."
        )
    check_writable(folder)


def save_masks(found: "Detections", folder: Path) -> None:
    """Write each thing's mask (255 is inside), `labels.png` and `instances.png`; see `Detections.label_map`.

    What an earlier call has written into the folder is removed.

    Args:
        found: the detections, with masks.
        folder: where to; it is made if needed.

    Raises:
        ImageError: files that groundling has not made are in the way.
        OSError: something cannot be written.
    """
    masks = (PIL.Image.fromarray(mask.astype(np.uint8) * 255) for mask in found.masks or ())
    maps = {LABEL_MAP: found.label_map(), INSTANCE_MAP: found.instance_map()}
    drawn = {name: PIL.Image.fromarray(pixels) for name, pixels in maps.items()}
    _save_things(found, MASKS, masks, drawn, folder)


def save_cutouts(found: "Detections", picture: "Drawable", folder: Path) -> None:
    """Write each thing, cut out, with alpha; see `Detections.cutouts`.

    What an earlier call has written into the folder is removed.

    Args:
        found: the detections, with masks.
        picture: what they were found in.
        folder: where to; it is made if needed.

    Raises:
        ImageError: files that groundling has not made are in the way.
        OSError: something cannot be written.
    """
    _save_things(found, CUTOUTS, cutouts(found, picture), {}, folder)


def _save_things(
    found: "Detections",
    made_by: str,
    pictures: Iterable[PIL.Image.Image],
    maps: Mapping[str, PIL.Image.Image],
    folder: Path,
) -> None:
    names = [thing_name(number, item.label) for number, item in enumerate(found, 1)]
    folder.mkdir(parents=True, exist_ok=True)
    earlier, now = _listed(folder, made_by), {*names, *maps}
    _refuse_others(folder, earlier, now)
    for name in earlier:
        if name not in now or (folder / name).is_symlink():  # what a link leads to is not ours
            (folder / name).unlink(missing_ok=True)
    about = {"made_by": made_by, **_description(found, names, sorted(maps))}
    write_json(folder / LIST, about)  # first: what is cut off is still known as ours
    for name, picture in zip(names, pictures, strict=True):
        save_picture(picture, folder / name)
    for name, picture in maps.items():
        save_picture(picture, folder / name)


def _refuse_others(folder: Path, earlier: frozenset[str], now: set[str]) -> None:
    """Refuse to write over what groundling has not made; some file systems know no capital letters."""
    wanted = {name.casefold() for name in now}
    for path in sorted(folder.iterdir()):
        if path.name not in earlier and path.name.casefold() in wanted:
            raise ImageError(f"{str(path)!r} was not made by groundling and is not replaced. Give another folder.")


def _description(found: "Detections", names: Sequence[str], maps: Sequence[str]) -> dict[str, Any]:
    masks = masks_of(found, "to describe")
    things = [
        {
            "number": number,
            "file": name,
            "label": item.label,
            "score": round(item.score, 4),
            "box_xyxy": [round(side, 2) for side in item.box_xyxy],
            "mask_score": None if item.mask_score is None else round(item.mask_score, 4),
            "mask_area": int(masks.areas[number - 1]),
            "mask_box_xyxy": masks.boxes_xyxy[number - 1].astype(int).tolist(),
        }
        for number, (name, item) in enumerate(zip(names, found, strict=True), 1)
    ]
    return {
        "image": found.source,
        "image_wh": list(found.image_wh),
        "labels": [{"number": number, "label": label} for number, label in enumerate(found.labels, 1)],
        "maps": list(maps),
        "things": things,
    }


def _listed(folder: Path, made_by: str) -> frozenset[str]:
    """Return the names of the files that an earlier call has written into a folder.

    Raises:
        ImageError: there is a list, but it was made otherwise.
    """
    path = folder / LIST
    if not path.exists():
        return frozenset()
    try:
        description = read_json(path)
        names = [*description["maps"], *(thing["file"] for thing in description["things"])]
        made = description["made_by"] if all(_is_name(name) for name in names) else None
    except (CheckpointError, KeyError, TypeError):
        made = None
    if made not in (MASKS, CUTOUTS):
        raise ImageError(f"{str(path)!r} was not made by groundling, so nothing is written there. Give another folder.")
    if made != made_by:
        raise ImageError(f"{str(path)!r} was made by {made}, so {made_by} writes nothing there. Give another folder.")
    return frozenset(names)


def _other_picture(folder: Path, picture: Path) -> str | None:
    """Return the picture that a folder's things are of, if it is still there and is another one."""
    source = read_json(folder / LIST).get("image")
    if not isinstance(source, str) or not picture.exists():
        return None
    read = Path(source)
    return source if read.is_file() and not read.samefile(picture) else None


def _is_name(value: object) -> bool:
    """Tell whether this is the name of a picture in the folder itself."""
    return isinstance(value, str) and value.endswith(".png") and Path(value).name == value
