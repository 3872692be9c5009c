"""What Pascal VOC and Flickr30k Entities share: one XML file for each picture, with its size and its boxes."""

from xml.etree.ElementTree import Element

from groundling.data.problems import Kind, Place, Problems
from groundling.data.readers.boxes import Box
from groundling.data.readers.files import LARGEST_SIDE

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def child_text(element: Element, name: str) -> str | None:
    """Return the text of a child without white space around it; None if it is not there."""
    text = element.findtext(name)
    return None if text is None else text.strip()


def picture_wh(root: Element, place: Place, problems: Problems) -> tuple[int, int] | None:
    """Return <size>; None if it is not stated, which 0 means as well, or not usable, which is a problem."""
    size = root.find("size")
    if size is None:
        return None
    texts = child_text(size, "width"), child_text(size, "height")
    try:
        width, height = (int(text or "0") for text in texts)
    except ValueError:
        width = height = -1
    if min(width, height) < 0 or max(width, height) > LARGEST_SIDE:
        problems.add(Kind.FIELD, place, f"the size {texts[0]!r} x {texts[1]!r} must be two whole numbers.")
        return None
    return (width, height) if min(width, height) > 0 else None


def corners(bndbox: Element, place: Place, problems: Problems) -> Box | None:
    """Return the numbers of <bndbox> as they stand; None if they are not four numbers, which is a problem."""
    texts = [child_text(bndbox, name) for name in _CORNERS]
    try:
        left, top, right, bottom = (float(text or "") for text in texts)
    except ValueError:
        problems.add(Kind.FIELD, place, f"<bndbox> must hold numbers as {', '.join(_CORNERS)}, but has {texts}.")
        return None
    return left, top, right, bottom
