"""What can be wrong with a data set, where it is wrong, and who is told."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from groundling.errors import DatasetError


class Kind(StrEnum):
    """Kinds of problems. Errors stop a reader; from warnings it can carry on, and the cause says how."""

    FILE = "unreadable annotations"
    FIELD = "field"
    EMPTY = "empty data set"
    DUPLICATE_ID = "duplicate id"
    DUPLICATE_NAME = "duplicate name"
    UNKNOWN_CATEGORY = "unknown category"
    UNKNOWN_PICTURE = "unknown picture"
    CONTRADICTION = "contradiction"
    BOX_NOT_FINITE = "box not finite"
    BOX_INVERTED = "inverted box"
    MASK = "missing or damaged mask"
    PHRASE = "phrase not in caption"
    PICTURE_MISSING = "missing picture"
    PICTURE_UNREADABLE = "unreadable picture"
    PICTURE_SIZE = "picture size"

    BOX_EMPTY = "empty box"
    BOX_OUTSIDE = "box outside"
    BOX_CLIPPED = "box reaches outside"
    DUPLICATE_ANNOTATION = "duplicate annotation id"
    DUPLICATE_PICTURE = "duplicate picture"
    UNUSED_NAME = "unused duplicate name"
    SIMILAR_NAMES = "similar names"
    AMBIGUOUS_PHRASE = "ambiguous phrase"
    PHRASE_DIFFERS = "phrase differs"
    NO_PHRASE = "no located phrase"
    NO_OBJECTS = "no objects"

    @property
    def is_error(self) -> bool:
        """Whether a reader stops at it."""
        return self not in _WARNINGS


_WARNINGS = frozenset(
    {
        Kind.BOX_EMPTY,
        Kind.BOX_OUTSIDE,
        Kind.BOX_CLIPPED,
        Kind.DUPLICATE_ANNOTATION,
        Kind.DUPLICATE_PICTURE,
        Kind.UNUSED_NAME,
        Kind.SIMILAR_NAMES,
        Kind.AMBIGUOUS_PHRASE,
        Kind.PHRASE_DIFFERS,
        Kind.NO_PHRASE,
        Kind.NO_OBJECTS,
    }
)


class Place(NamedTuple):
    """A place in annotations.

    Attributes:
        file: the annotation file.
        spot: the line, id or entry in it; empty for the file as a whole.
    """

    file: str
    spot: str = ""

    def __str__(self) -> str:
        return f"{self.file}, {self.spot}" if self.spot else self.file


class Problem(NamedTuple):
    """Something that is wrong with a data set.

    Attributes:
        kind: what sort of thing.
        file: the annotation file.
        spot: the line, id or entry in it; empty for the file as a whole.
        cause: what was found, what is allowed, what to do.
    """

    kind: Kind
    file: str
    spot: str
    cause: str

    @property
    def severity(self) -> str:
        """Either "error" or "warning"."""
        return "error" if self.kind.is_error else "warning"

    def __str__(self) -> str:
        return f"{Place(self.file, self.spot)}: {self.cause}"


class Problems(Protocol):
    """Hears of the problems that a reader meets. After an error the reader leaves out what is wrong and goes on."""

    def add(self, kind: Kind, place: Place, cause: str) -> None:
        """Take note of a problem."""
        ...


class StopAtFirst:
    """Raises the first error; does not care for warnings."""

    def add(self, kind: Kind, place: Place, cause: str) -> None:
        """Raise a problem that is an error.

        Raises:
            DatasetError: it is.
        """
        if kind.is_error:
            option = " --masks" if kind is Kind.MASK else ""  # without it, masks are not looked at
            raise DatasetError(f"{place}: {cause} (`groundling data check{option}` lists everything at once.)")


class Collected(list[Problem]):
    """Keeps all problems."""

    def add(self, kind: Kind, place: Place, cause: str) -> None:
        """Keep a problem."""
        self.append(Problem(kind, place.file, place.spot, cause))
