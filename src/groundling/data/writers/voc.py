"""Pascal VOC: `Annotations`, `JPEGImages`, and `classes.txt` with all names, also those without objects."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from groundling.data.readers.voc import CLASSES_FILE
from groundling.data.record import Record
from groundling.data.writers.objects import Writer, as_text, named_objects, write_lines

ANNOTATIONS = "Annotations"


class VocWriter(Writer):
    """Writes one XML file for each picture: pixels count from 1, fractions are kept, crowds are "difficult"."""

    IMAGES: ClassVar[str] = "JPEGImages"
    SHARES_PICTURES: ClassVar[bool] = False

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.left_out: Counter[str] = Counter()
        self._folder = folder
        self._names = tuple(names)
        self._index_of = {name: index for index, name in enumerate(names)}

    def add(self, record: Record, file_name: str) -> None:
        """Take in a record; see `Writer`."""
        path = PurePosixPath(file_name)
        root = Element("annotation")
        _text(root, "folder", (PurePosixPath(self.IMAGES) / path.parent).name)
        _text(root, "filename", path.name)
        size = SubElement(root, "size")
        for name, number in zip(("width", "height", "depth"), (*record.image_wh, 3), strict=True):
            _text(size, name, str(number))
        for one in named_objects(record, self._index_of, self.left_out):
            element = SubElement(root, "object")
            _text(element, "name", self._names[one.name_id])
            _text(element, "difficult", str(int(one.is_crowd)))
            box = SubElement(element, "bndbox")
            left, top, right, bottom = one.box
            corners = {"xmin": left + 1, "ymin": top + 1, "xmax": right, "ymax": bottom}
            for name, corner in corners.items():
                _text(box, name, as_text(corner))
        indent(root)
        place = self._folder / ANNOTATIONS / path.with_suffix(".xml")
        place.parent.mkdir(parents=True, exist_ok=True)
        ElementTree(root).write(place, encoding="utf-8", xml_declaration=True)

    def finish(self) -> None:
        """Write the names."""
        write_lines(self._folder / CLASSES_FILE, list(self._names))


def _text(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = text
