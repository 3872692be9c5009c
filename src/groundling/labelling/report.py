"""What a labelling did."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A picture that could not be used.

    Attributes:
        picture: its name, relative to the folder of the pictures.
        cause: what is wrong with it.
    """

    picture: str
    cause: str


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What a labelling did, and what there is now.

    Attributes:
        folder: where the data set is.
        pictures: how many are meant.
        computed: how many this run has searched, or tried to read.
        is_finished: whether the data set is there; False after an interruption.
        is_written: whether this run has written it; False where it was complete before.
        unreadable: those among the pictures that could not be used, and are not in the data set.
        boxes: their number for each label, also for those without any; empty while it is not finished.
        without_boxes: pictures in which nothing was found.
        left_out: what the format cannot hold, and how often it was met.
    """

    folder: Path
    pictures: int
    computed: int
    is_finished: bool
    is_written: bool
    unreadable: tuple[Unreadable, ...] = ()
    boxes: Mapping[str, int] = field(default_factory=dict)
    without_boxes: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
