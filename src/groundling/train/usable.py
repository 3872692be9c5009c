"""Records that a prompt can be made of. The others are found before a run begins, not in the middle of it."""

import sys
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from groundling.data.problems import Place
from groundling.data.readers.rows import RowRecords
from groundling.data.record import Dataset, Record
from groundling.data.sampling import FRAME, room_for
from groundling.errors import DatasetError, PromptError
from groundling.processing.prompt import build_caption_prompt
from groundling.processing.tokenizer import GroundingDinoTokenizer
from groundling.train.processes import is_main_process

NOTHING = "with nothing to ask for: neither a name of what is there nor one of what is known to be absent"
UNREADABLE = "with a phrase without any word that the tokenizer knows"
LONG_CAPTION = "with a caption of more tokens than prompt.max_tokens={} allows"
LONG_LABELS = "with labels alone that have more tokens than prompt.max_tokens={} allows, or no word that is known"

LeftOut = dict[str, list[Place]]
"""For each cause the places in the annotations of the records that cannot be used."""


class UsableRecords:
    """The records of a data set that can be used.

    Args:
        dataset: where they come from.
        index_R: their numbers there.
    """

    def __init__(self, dataset: Dataset, index_R: NDArray[np.int64]) -> None:
        self.dataset, self.index_R = dataset, index_R

    @property
    def names(self) -> tuple[str, ...]:
        """The vocabulary of the data set."""
        return self.dataset.names

    def __len__(self) -> int:
        return len(self.index_R)

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"Record {index} of {len(self)}.")
        return self.dataset[int(self.index_R[index])]


def keep_usable(dataset: Dataset, tokenizer: GroundingDinoTokenizer, max_tokens: int) -> tuple[Dataset, LeftOut]:
    """Leave out the records of which no prompt can be made, whatever the random numbers.

    No picture is opened, but for the size of those whose annotations do not state it, where the answer depends on what
    is inside of the picture. Data sets that are not read from annotations, such as scenes, are kept as they are.

    Args:
        dataset: all records.
        tokenizer: splits the labels.
        max_tokens: most tokens of a prompt.

    Returns:
        The records that can be used, in their order, and what is left out.

    Raises:
        DatasetError: nothing is left.
    """
    if not isinstance(dataset, RowRecords):
        return dataset, {}
    judge = _Judge(dataset, tokenizer, max_tokens)
    left_out: LeftOut = {}
    kept = []
    for index in _with_progress(range(len(dataset))):
        cause = judge(index)
        if cause is None:
            kept.append(index)
        else:
            left_out.setdefault(cause, []).append(dataset.rows[index].place)
    if not left_out:
        return dataset, {}
    if not kept:
        raise DatasetError(f"No prompt can be made for any of these pictures: {_listed(left_out)}.")
    return UsableRecords(dataset, np.array(kept, np.int64)), left_out


def describe(left_out: Mapping[str, Sequence[Place]], total: int) -> str:
    """Say how many records are left out and why, with the first one of each cause.

    Args:
        left_out: places by cause.
        total: records that there are in all.
    """
    count = sum(map(len, left_out.values()))
    return f"{count:,} of {total:,} pictures are left out, because no prompt can be made for them: {_listed(left_out)}."


def _listed(left_out: Mapping[str, Sequence[Place]]) -> str:
    return "; ".join(f"{len(places):,} {cause} (the first: {places[0]})" for cause, places in left_out.items())


class _Judge:
    """Says why a record cannot be used."""

    def __init__(self, dataset: RowRecords, tokenizer: GroundingDinoTokenizer, max_tokens: int) -> None:
        self._dataset, self._tokenizer, self._max_tokens = dataset, tokenizer, max_tokens
        self._fits: dict[str, bool] = {}

    def __call__(self, index: int) -> str | None:
        row = self._dataset.rows[index]
        absent = self._dataset.names if row.absent is None else row.absent
        if row.caption is None and self._any_fits(absent, row.partial):
            return None  # whatever else there is
        record = self._dataset[index]  # without what lies outside of the picture
        if record.caption is not None:
            return self._fault_of_caption(record)
        if self._any_fits(record.labels, record.partial):
            return None
        return LONG_LABELS.format(self._max_tokens) if {*record.labels, *absent} - {*record.partial} else NOTHING

    def _any_fits(self, labels: Iterable[str], hidden: Sequence[str]) -> bool:
        return any(self._fits_alone(label) for label in labels if label not in hidden)

    def _fits_alone(self, label: str) -> bool:
        if label not in self._fits:
            room = room_for(label, self._tokenizer)
            self._fits[label] = room is not None and room <= self._max_tokens - FRAME
        return self._fits[label]

    def _fault_of_caption(self, record: Record) -> str | None:
        assert record.caption is not None
        try:
            prompt = build_caption_prompt(self._tokenizer, record.caption, sys.maxsize)
        except PromptError:
            return UNREADABLE
        return LONG_CAPTION.format(self._max_tokens) if len(prompt.token_ids) > self._max_tokens else None


def _with_progress(indices: Sequence[int]) -> Iterable[int]:
    console = Console(stderr=True)
    if not (console.is_terminal and is_main_process()):
        return indices
    return track(indices, "looking through the prompts", console=console, transient=True)
