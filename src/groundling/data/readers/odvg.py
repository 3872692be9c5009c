"""ODVG: one JSON object a line, with named objects ("detection") or a caption and its regions ("grounding")."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from groundling.data.problems import Kind, Place, Problems, StopAtFirst
from groundling.data.readers.boxes import Box, box_fault, four_numbers, is_kept, written
from groundling.data.readers.coco_json import Entry, folder_of_pictures, read_size
from groundling.data.readers.files import clean_name, is_text, is_whole, parse_json, read_lines
from groundling.data.readers.odvg_labels import Labels
from groundling.data.readers.phrases import locate_phrases, same_words
from groundling.data.readers.rows import Mention, Objects, Row, RowRecords, Spans, caption_row, named_row
from groundling.errors import DatasetError

_Size = tuple[int, int] | None


class OdvgRecords(RowRecords):
    """An ODVG data set: named objects, captions with located phrases, or both.

    Where a line has both, its captions are read, or its named objects if there is a label map.

    Attributes:
        annotations: the file.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path | None = None,
        *,
        label_map: str | Path | None = None,
        problems: Problems | None = None,
    ) -> None:
        """Read the annotations; no picture is opened.

        Args:
            annotations: the file of JSON lines.
            images: the folder of the pictures; else `images` beside the file, else the folder of the file.
            label_map: a JSON object from label numbers to names; without it each object must state its "category".
            problems: hears what is wrong; without it the first error is raised.

        Raises:
            DatasetError: a file is missing or wrong; the message names the line.
        """
        problems = StopAtFirst() if problems is None else problems
        self.annotations = Path(annotations).expanduser()
        labels = Labels(None if label_map is None else Path(label_map).expanduser(), problems)
        read = (_row(place, entry, labels, problems) for place, entry in _entries(self.annotations, problems))
        rows = [row for row in read if row is not None]
        folder = folder_of_pictures(images, self.annotations)
        super().__init__(labels.names, rows, folder, problems, self.annotations)


def _entries(path: Path, problems: Problems) -> Iterator[tuple[Place, Entry]]:
    for number, line in read_lines(path):
        place = Place(str(path), f"line {number}")
        try:
            entry = parse_json(line, "the line")
        except DatasetError as error:
            problems.add(Kind.FIELD, place, str(error))
            continue
        if isinstance(entry, dict):
            yield place, entry
        else:
            problems.add(Kind.FIELD, place, "each line must be a JSON object with 'filename'.")


def _row(place: Place, entry: Entry, labels: Labels, problems: Problems) -> Row | None:
    """Read one line; None if it cannot be used."""
    file_name = entry.get("filename")
    if not is_text(file_name):
        problems.add(Kind.FIELD, place, f"filename={file_name!r} is not usable text.")
        return None
    picture = str(file_name), place, read_size(entry, place, problems)
    detection, grounding = entry.get("detection"), entry.get("grounding")
    if isinstance(detection, dict) and (labels.is_fixed or grounding is None):
        return named_row(picture, _objects(detection, place, picture[2], labels, problems), labels.names)
    if isinstance(grounding, dict):
        return _captioned(grounding, picture, problems)
    cause = "the line has neither 'detection' with 'instances' nor 'grounding' with 'caption' and 'regions'."
    problems.add(Kind.FIELD, place, cause)
    return None


def _objects(detection: Entry, place: Place, image_wh: _Size, labels: Labels, problems: Problems) -> Objects:
    objects = Objects()
    for number, instance in _list_of_objects(detection, "instances", place, problems):
        spot = Place(place.file, f"{place.spot}, instance {number}")
        index = labels.index_of(instance, spot)
        box = _box(instance.get("bbox"), spot, image_wh, problems)
        if index is not None and box is not None:
            objects.add(box, index)
    return objects


@dataclass(frozen=True, slots=True)
class _Named:
    """A phrase as a region names it: its words, where the file says that they stand, and what it means."""

    place: Place
    phrase: str | None
    spans: Spans | None
    boxes: Sequence[Box]


def _captioned(grounding: Entry, picture: tuple[str, Place, _Size], problems: Problems) -> Row | None:
    _, place, image_wh = picture
    caption = grounding.get("caption")
    if not isinstance(caption, str) or not is_text(caption):
        problems.add(Kind.FIELD, place, f"caption={caption!r} is not usable text.")
        return None
    named = []
    for number, region in _list_of_objects(grounding, "regions", place, problems):
        spot = Place(place.file, f"{place.spot}, region {number}")
        named += _named(region, caption, spot, image_wh, problems)
    row = caption_row(picture, caption, _mentions(named, caption, problems))
    if row is None:
        problems.add(Kind.NO_PHRASE, place, "no phrase of the caption has a box. The line is left out.")
    return row


def _named(region: Entry, caption: str, place: Place, image_wh: _Size, problems: Problems) -> list[_Named]:
    """Read one region: one or several boxes, one or several phrases."""
    value = region.get("bbox")
    values = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    boxes = [box for one in values if (box := _box(one, place, image_wh, problems)) is not None]
    phrases, places = region.get("phrase"), region.get("tokens_positive")
    if not isinstance(phrases, list):
        phrases, places = [phrases], None if places is None else [places]
    places = [None] * len(phrases) if places is None else places
    if not isinstance(places, list) or len(places) != len(phrases):
        cause = f"'tokens_positive' must have one entry for each of the {len(phrases)} phrases."
        problems.add(Kind.FIELD, place, cause)
        return []
    named = []
    for phrase, tokens in zip(phrases, places, strict=True):
        spans = None if tokens is None else _spans(tokens, caption)
        if tokens is not None and spans is None:
            cause = (
                f"tokens_positive={tokens!r} must be character ranges [start, end] of words within the {len(caption)} "
                "characters of the caption."
            )
            problems.add(Kind.FIELD, place, cause)
        elif spans is None and clean_name(phrase) is None:
            problems.add(Kind.FIELD, place, f"phrase={phrase!r} is not usable text, and there is no 'tokens_positive'.")
        else:
            named.append(_Named(place, phrase if isinstance(phrase, str) else None, spans, boxes))
    return named


def _mentions(named: Sequence[_Named], caption: str, problems: Problems) -> list[Mention]:
    """Fix the place of every phrase; one that is not in the caption is a problem."""
    mentions = []
    for one in named:
        if one.spans is None:
            continue
        words = " ".join(caption[start:end] for start, end in one.spans)
        if one.phrase is not None and not same_words(words, one.phrase):
            cause = f"the phrase is {one.phrase!r}, but tokens_positive spells {words!r}, which is used."
            problems.add(Kind.PHRASE_DIFFERS, one.place, cause)
        mentions.append(Mention(one.spans, one.boxes))
    taken = [span for mention in mentions for span in mention.spans]
    sought = [one for one in named if one.spans is None]
    located = locate_phrases(caption, [one.phrase or "" for one in sought], taken)
    for one, place in zip(sought, located, strict=True):
        if place is None:
            cause = f"the phrase {one.phrase!r} is not in the caption {caption!r}. Correct one of them."
            problems.add(Kind.PHRASE, one.place, cause)
            continue
        if place.ambiguous:
            cause = f"the phrase {one.phrase!r} is named more often than it is in the caption. Give 'tokens_positive'."
            problems.add(Kind.AMBIGUOUS_PHRASE, one.place, cause)
        mentions.append(Mention((place.span,), one.boxes))
    return mentions


def _spans(tokens: object, caption: str) -> Spans | None:
    """Read one range or a list of ranges; None if it is anything else or not within the caption."""
    ranges = [tokens] if isinstance(tokens, list) and tokens and isinstance(tokens[0], int) else tokens
    if not isinstance(ranges, list) or not ranges:
        return None
    spans = []
    for place in ranges:
        if not isinstance(place, list) or len(place) != 2 or not all(is_whole(number) for number in place):
            return None
        start, end = place
        if not 0 <= start < end <= len(caption):
            return None
        spans.append((start, end))
    return tuple(spans) if any(clean_name(caption[start:end]) for start, end in spans) else None


def _box(value: object, place: Place, image_wh: _Size, problems: Problems) -> Box | None:
    box = four_numbers(value)
    if box is None:
        problems.add(Kind.FIELD, place, f"bbox={value!r} must be four numbers: [left, top, right, bottom] in pixels.")
        return None
    fault = box_fault(box, image_wh)
    if fault is not None:
        kind, cause = fault
        if kind is Kind.BOX_INVERTED:
            cause = f"{cause}. An ODVG box is [left, top, right, bottom], not [left, top, width, height]."
        problems.add(kind, place, f"the box {written(box)} {cause}")
    return box if is_kept(fault) else None


def _list_of_objects(entry: Entry, name: str, place: Place, problems: Problems) -> list[tuple[int, Entry]]:
    """Return the objects of a list with their numbers from 0; anything else is a problem."""
    value = entry.get(name)
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        problems.add(Kind.FIELD, place, f"{name!r} must be a list of JSON objects.")
        return []
    return list(enumerate(value))
