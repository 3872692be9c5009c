"""Flickr30k Entities: five sentences about each picture, with the boxes of their phrases."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from groundling.data.problems import Kind, Place, Problems, StopAtFirst
from groundling.data.readers.boxes import Box, box_fault, is_kept, written
from groundling.data.readers.files import is_text, read_lines, read_xml
from groundling.data.readers.rows import Mention, Row, RowRecords, caption_row
from groundling.data.readers.xml_boxes import child_text, corners, picture_wh
from groundling.errors import DatasetError

_PHRASE = re.compile(r"\[/EN#(\d+)(?:/[^\s\]]+)?\s+([^\]]*)\]")


class FlickrRecords(RowRecords):
    """One split of Flickr30k Entities: a record for each sentence of which a phrase has a box.

    A phrase may have several boxes and a box several phrases. Phrases without a box (the whole scene, or nothing that
    can be seen) are left out.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path | None = None,
        *,
        split: str = "val",
        problems: Problems | None = None,
    ) -> None:
        """Read the annotations; no picture is opened.

        Args:
            annotations: the folder with `Sentences`, `Annotations` and the lists `train.txt`, `val.txt`, `test.txt`.
            images: the folder of the pictures; else `flickr30k-images` in the folder of the annotations.
            split: train, val or test, or the path of another list of picture numbers.
            problems: hears what is wrong; without it the first error is raised.

        Raises:
            DatasetError: a file is missing or wrong; the message names the file.
        """
        problems = StopAtFirst() if problems is None else problems
        folder = Path(annotations).expanduser()
        source = _list_of(folder, split)
        rows: list[Row] = []
        for line, name in read_lines(source):
            try:
                rows.extend(_rows(folder, name.strip(), problems))
            except DatasetError as error:
                problems.add(Kind.FILE, Place(str(source), f"line {line}"), str(error))
        pictures = folder / "flickr30k-images" if images is None else Path(images).expanduser()
        super().__init__((), rows, pictures, problems, source)


def _list_of(folder: Path, split: str) -> Path:
    named = folder / f"{split}.txt"
    if named.is_file():
        return named
    if Path(split).expanduser().is_file():
        return Path(split).expanduser()
    there = sorted(path.stem for path in folder.glob("*.txt"))
    raise DatasetError(f"{folder} has no list {split}.txt. It has: {', '.join(there) or 'no lists at all'}.")


def _rows(folder: Path, name: str, problems: Problems) -> Iterator[Row]:
    """Yield a row for each sentence about one picture."""
    annotated = folder / "Annotations" / f"{name}.xml"
    root = read_xml(annotated)
    image_wh = picture_wh(root, Place(str(annotated)), problems)
    file_name = child_text(root, "filename") or f"{name}.jpg"
    boxes: dict[str, list[Box]] = {}
    for number, element in enumerate(root.iter("object")):
        place = Place(str(annotated), f"object {number}")
        for bndbox in element.findall("bndbox"):
            numbers = corners(bndbox, place, problems)
            if numbers is not None and _is_usable(numbers, image_wh, place, problems):
                left, top, right, bottom = (number - 1 for number in numbers)  # pixels are counted from 1
                for entity in element.findall("name"):
                    boxes.setdefault((entity.text or "").strip(), []).append((left, top, right, bottom))
    sentences = folder / "Sentences" / f"{name}.txt"
    for line, text in read_lines(sentences):
        place = Place(str(sentences), f"line {line}")
        row = _captioned(text.strip(), (file_name, place, image_wh), boxes, problems)
        if row is not None:
            yield row


def _is_usable(box: Box, image_wh: tuple[int, int] | None, place: Place, problems: Problems) -> bool:
    fault = box_fault(box, image_wh)
    if fault is not None:
        problems.add(fault[0], place, f"the box {written(box)} {fault[1]}")
    return is_kept(fault)


def _captioned(
    text: str,
    picture: tuple[str, Place, tuple[int, int] | None],
    boxes: Mapping[str, Sequence[Box]],
    problems: Problems,
) -> Row | None:
    """Take the marks out of a sentence; None if no phrase of it has a box, which is usual."""
    sentence, mentions, end = "", [], 0
    for mark in _PHRASE.finditer(text):
        sentence += text[end : mark.start()]
        entity, phrase = mark.group(1), mark.group(2).strip()
        if phrase:
            span = len(sentence), len(sentence) + len(phrase)
            mentions.append(Mention((span,), boxes.get(entity, ())))
        sentence += phrase
        end = mark.end()
    sentence += text[end:]
    if "[/EN#" in sentence or not is_text(sentence):
        cause = f"the marks of the sentence {text!r} are not [/EN#number/kind words]."
        problems.add(Kind.FIELD, picture[1], cause)
        return None
    return caption_row(picture, sentence, mentions)
