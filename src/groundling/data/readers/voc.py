"""Pascal VOC: one XML file for each picture."""

from pathlib import Path
from xml.etree.ElementTree import Element

from groundling.data.problems import Kind, Place, Problems, StopAtFirst
from groundling.data.readers.boxes import Box, box_fault, is_kept, written
from groundling.data.readers.files import clean_name, is_text, read_lines, read_xml
from groundling.data.readers.rows import Objects, Row, RowRecords, named_row
from groundling.data.readers.xml_boxes import child_text, corners, picture_wh
from groundling.errors import DatasetError

CLASSES_FILE = "classes.txt"
"""Lists the names, one a line, as the XML files hold only those that have objects."""

PICTURE_FOLDERS = ("JPEGImages", "images")


class VocRecords(RowRecords):
    """A Pascal VOC data set; "difficult" objects are read as crowds: neither learned nor counted.

    VOC counts pixels from 1 and its boxes include their last pixel, so one is taken from the left and top.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path | None = None,
        *,
        split: str | None = None,
        problems: Problems | None = None,
    ) -> None:
        """Read the annotations; no picture is opened.

        Args:
            annotations: the folder that holds `Annotations`, or a folder of XML files.
            images: the folder of the pictures; else `JPEGImages` or `images` beside `Annotations`, else that folder.
            split: the name of a list in `ImageSets/Main`; without it every XML file is read.
            problems: hears what is wrong; without it the first error is raised.

        Raises:
            DatasetError: a file is missing or wrong; the message names it.
        """
        problems = StopAtFirst() if problems is None else problems
        root = Path(annotations).expanduser()
        folder = root / "Annotations" if (root / "Annotations").is_dir() else root
        root = folder.parent if folder.name == "Annotations" else folder
        if not folder.is_dir():
            raise DatasetError(f"There is no folder {folder}. Name the folder that holds 'Annotations'.")
        files = sorted(folder.rglob("*.xml")) if split is None else _listed(root, folder, split)
        known = root / CLASSES_FILE
        names = [name for _, line in read_lines(known) if (name := clean_name(line))] if known.is_file() else []
        reader = _Reader(folder, list(dict.fromkeys(names)), problems)
        rows = [row for file in files if (row := reader.row(file)) is not None]
        there = (root / name for name in PICTURE_FOLDERS if (root / name).is_dir())
        pictures = next(there, root) if images is None else Path(images).expanduser()
        super().__init__(reader.names, rows, pictures, problems, folder)


class _Reader:
    """Reads one file after the other; names that the list of names lacks are added in the order of their meeting."""

    def __init__(self, folder: Path, names: list[str], problems: Problems) -> None:
        self.names = names
        self._index = {name: number for number, name in enumerate(names)}
        self._folder = folder
        self._problems = problems

    def row(self, file: Path) -> Row | None:
        place = Place(str(file))
        try:
            root = read_xml(file)
        except DatasetError as error:
            self._problems.add(Kind.FILE, place, str(error))
            return None
        file_name = child_text(root, "filename")
        if not file_name or not is_text(file_name):
            self._problems.add(Kind.FIELD, place, "<filename> is missing. It names the picture.")
            return None
        image_wh = picture_wh(root, place, self._problems)
        objects = Objects()
        for number, element in enumerate(root.iter("object")):
            self._read(element, Place(str(file), f"object {number}"), image_wh, objects)
        if "/" not in file_name:
            file_name = (file.parent.relative_to(self._folder) / file_name).as_posix()
        return named_row((file_name, place, image_wh), objects, self.names)

    def _read(self, element: Element, place: Place, image_wh: tuple[int, int] | None, objects: Objects) -> None:
        name, bndbox = clean_name(child_text(element, "name")), element.find("bndbox")
        if name is None or bndbox is None:
            self._problems.add(Kind.FIELD, place, "an object must have a <name> and a <bndbox>.")
            return
        numbers = corners(bndbox, place, self._problems)
        if numbers is None:
            return
        left, top, right, bottom = numbers
        box: Box = (left - 1, top - 1, right, bottom)
        fault = box_fault(box, image_wh)
        if fault is not None:
            self._problems.add(fault[0], place, f"the box {written(numbers)} {fault[1]}")
        if is_kept(fault):
            if name not in self._index:
                self._index[name] = len(self.names)
                self.names.append(name)
            objects.add(box, self._index[name], child_text(element, "difficult") == "1")


def _listed(root: Path, folder: Path, split: str) -> list[Path]:
    lists = root / "ImageSets" / "Main"
    if not (lists / f"{split}.txt").is_file():
        there = ", ".join(sorted(path.stem for path in lists.glob("*.txt")))
        raise DatasetError(f"{lists} has no list {split}.txt. It has: {there or 'no lists'}.")
    return [folder / f"{line.split()[0]}.xml" for _, line in read_lines(lists / f"{split}.txt")]
