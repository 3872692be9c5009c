"""From a record to a prompt for training, with each label's tokens fixed when the prompt is built.

Shapes: N labelled object, P phrase of the prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from groundling.data.record import Record
from groundling.errors import ConfigError
from groundling.processing.prompt import build_caption_prompt, build_prompt
from groundling.processing.tokenizer import GroundingDinoTokenizer
from groundling.structures.prompt import Prompt


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
        if self.max_tokens < 4 or self.negatives < 0 or not 0 <= self.all_negatives <= 1:
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
    be: the group's members have no boxes, and would be learned as wrong.

    Args:
        record: a picture and what is in it.
        tokenizer: splits the labels.
        sampling: how many names.
        rng: chooses.
        names: the data set's vocabulary; negatives come from it where the record does not list absent names.
        unknown: labels of which nobody knows any more whether they are in the picture, after a crop; they are not used.

    Raises:
        PromptError: a caption is longer than `sampling.max_tokens`.
    """
    if record.caption is not None:
        prompt = build_caption_prompt(tokenizer, record.caption, sampling.max_tokens)
        return Grounded(prompt, record.positive_NL)
    certain = [index for index, label in enumerate(record.labels) if label not in unknown]
    own = [index for index in certain if not _is_only_a_group(record, index)]
    own = [own[place] for place in rng.permutation(len(own))]
    absent = _absent(record, names, unknown, sampling, rng, least=0 if own else 1)
    own = own if own or absent else certain
    labels = [record.labels[index] for index in own] + absent
    kept = _within_budget(labels, tokenizer, sampling.max_tokens)
    order = [kept[place] for place in rng.permutation(len(kept))]
    prompt = build_prompt(tokenizer, [labels[place] for place in order], sampling.max_tokens)
    positive_NP = np.zeros((len(record.boxes_xyxy), len(order)), np.bool_)
    for phrase, place in enumerate(order):
        if place < len(own):
            positive_NP[:, phrase] = record.positive_NL[:, own[place]]
    return Grounded(prompt, positive_NP)


def _is_only_a_group(record: Record, label: int) -> bool:
    crowd_M = record.crowd_N[record.positive_NL[:, label]]
    return len(crowd_M) > 0 and bool(crowd_M.all())


def _absent(
    record: Record,
    names: Sequence[str],
    unknown: Sequence[str],
    sampling: PromptSampling,
    rng: Generator,
    *,
    least: int,
) -> list[str]:
    known = {*record.labels, *unknown}
    candidates = [name for name in (names if record.absent is None else record.absent) if name not in known]
    most = min(sampling.negatives, len(candidates))
    count = most if rng.random() < sampling.all_negatives else int(rng.integers(0, most + 1))
    count = max(count, least)  # an empty picture teaches what is absent; a prompt needs a label
    return [candidates[place] for place in rng.permutation(len(candidates))[:count]]


def _within_budget(labels: Sequence[str], tokenizer: GroundingDinoTokenizer, max_tokens: int) -> list[int]:
    """Return the indices of the labels that fit, the first ones first."""
    free = max_tokens - 2  # [CLS] and [SEP]
    kept = []
    for index, label in enumerate(labels):
        length = len(tokenizer.encode_with_offsets(label, add_special_tokens=False).ids) + 1
        if length <= free:
            kept.append(index)
            free -= length
    return kept
