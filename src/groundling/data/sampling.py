"""From a record to a prompt for training, with each label's tokens fixed when the prompt is built.

Shapes: N labelled object, P phrase of the prompt.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from groundling.data.record import Record
from groundling.errors import ConfigError, PromptError
from groundling.processing.prompt import build_caption_prompt, build_prompt, tokens_without_words
from groundling.processing.tokenizer import GroundingDinoTokenizer
from groundling.structures.prompt import Prompt

FRAME = 2
"""Tokens of a prompt that are no label's: [CLS] and [SEP]."""


class Grounded(NamedTuple):
    """A prompt and which of its phrases means which object of a record.

    Attributes:
        prompt: the prompt.
        positive_NP: True where a phrase means an object; an object without any is not in the prompt.
    """

    prompt: Prompt
    positive_NP: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PromptSampling:
    """How names become prompts in training.

    Attributes:
        max_tokens: most tokens of a prompt, with [CLS], [SEP] and separators.
        negatives: most names of things that are not there.
        all_negatives: chance to use as many negatives as allowed; otherwise their number is random, so that short
            prompts are learned too.
    """

    max_tokens: int = 256
    negatives: int = 85
    all_negatives: float = 0.5

    def __post_init__(self) -> None:
        if not (self.max_tokens >= 4 and self.negatives >= 0 and 0 <= self.all_negatives <= 1):
            raise ConfigError(
                f"A prompt needs max_tokens of at least 4, negatives of at least 0 and all_negatives in 0..1, but got "
                f"{self.max_tokens}, {self.negatives} and {self.all_negatives}."
            )


def sample_prompt(
    record: Record,
    tokenizer: GroundingDinoTokenizer,
    sampling: PromptSampling,
    rng: Generator,
    *,
    names: Sequence[str] = (),
    unknown: Sequence[str] = (),
) -> Grounded:
    """Choose labels for a record and build their prompt.

    A caption is used as it is. Names are the record's own and random absent ones, in random order; when there are too
    many tokens, absent names are left out first. A name that only a group has is not asked for where anything else can
    be: the group's members have no boxes, and would be learned as wrong. A name of which only some things are labelled
    is never asked for, for the same reason.

    Args:
        record: a picture and what is in it.
        tokenizer: splits the labels.
        sampling: how many names.
        rng: chooses.
        names: the data set's vocabulary; negatives come from it where the record does not list absent names.
        unknown: labels of which nobody knows any more whether they are in the picture, after a crop; they are not used.

    Raises:
        PromptError: a caption is longer than `sampling.max_tokens` or has an unknown phrase, or there is no label that
            can be asked for.
    """
    if record.caption is not None:
        if unknown:
            raise PromptError(f"The caption of {record.key} cannot do without one of its phrases: {unknown!r:.80}.")
        prompt = build_caption_prompt(tokenizer, record.caption, sampling.max_tokens)
        return Grounded(prompt, record.positive_NL)
    hidden = {*unknown, *record.partial}
    column = {label: index for index, label in enumerate(record.labels) if label not in hidden}
    groups = [label for label, index in column.items() if _is_only_a_group(record, index)]
    own = _shuffled([label for label in column if label not in groups], rng)
    known = {*record.labels, *hidden}
    candidates = [name for name in (names if record.absent is None else record.absent) if name not in known]
    count = _number_absent(len(candidates), sampling, rng)
    absent = _shuffled(candidates, rng)
    labels = list(_fitting(own + absent[:count], tokenizer, sampling.max_tokens))
    if not labels:  # an empty picture teaches what is absent; a prompt needs a label
        labels = list(islice(_fitting(absent[count:] + groups, tokenizer, sampling.max_tokens), 1))
    if not labels and (own or absent or groups):
        raise PromptError(
            f"Each of its labels ({', '.join(own + absent + groups)!r:.80}) has more tokens than fit into a prompt of "
            f"max_tokens={sampling.max_tokens}, or no word that the tokenizer knows. Raise it, or change the labels."
        )
    labels = _shuffled(labels, rng)
    prompt = build_prompt(tokenizer, labels, sampling.max_tokens)
    positive_NP = np.zeros((len(record.boxes_xyxy), len(labels)), np.bool_)
    for phrase, label in enumerate(labels):
        if label in column:
            positive_NP[:, phrase] = record.positive_NL[:, column[label]]
    return Grounded(prompt, positive_NP)


def room_for(label: str, tokenizer: GroundingDinoTokenizer) -> int | None:
    """Return the tokens that a label takes in a prompt; None where it cannot be asked for at all.

    A prompt has `max_tokens - FRAME` tokens of room.
    """
    ids = tokenizer.encode_with_offsets(label, add_special_tokens=False).ids
    return None if tokens_without_words(tokenizer).issuperset(ids) else len(ids) + 1  # and its separator


def _shuffled(labels: Sequence[str], rng: Generator) -> list[str]:
    return [labels[place] for place in rng.permutation(len(labels))]


def _is_only_a_group(record: Record, label: int) -> bool:
    crowd_M = record.crowd_N[record.positive_NL[:, label]]
    return len(crowd_M) > 0 and bool(crowd_M.all())


def _number_absent(available: int, sampling: PromptSampling, rng: Generator) -> int:
    most = min(sampling.negatives, available)
    return most if rng.random() < sampling.all_negatives else int(rng.integers(0, most + 1))


def _fitting(labels: Iterable[str], tokenizer: GroundingDinoTokenizer, max_tokens: int) -> Iterator[str]:
    """Yield the labels that fit together and can be asked for, the first ones first."""
    free = max_tokens - FRAME
    for label in labels:
        room = room_for(label, tokenizer)
        if room is not None and room <= free:
            free -= room
            yield label
