"""From a record to the prompts that are put to the model."""

import re
from typing import NamedTuple

from groundling.data.record import Record
from groundling.errors import DatasetError, PromptError
from groundling.evaluate.protocol import EvaluationProtocol
from groundling.processing.packing import PROMPT_ENDS, pack
from groundling.processing.prompt import build_caption_prompt, join_labels, tokenize_label
from groundling.processing.tokenizer import GroundingDinoTokenizer
from groundling.structures.prompt import Prompt

_IN_BRACKETS = re.compile(r"\([^()]*\)")


class Question(NamedTuple):
    """What one picture is asked.

    Attributes:
        labels: everything that is asked for; a detection's label is an index into this.
        prompts: the labels in prompts that the model can read.
        label_ids: for each prompt and each of its labels, its index in `labels`.
    """

    labels: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    label_ids: tuple[tuple[int, ...], ...]


class Questioner:
    """Makes the questions of a protocol and keeps those that come again.

    Args:
        tokenizer: splits labels.
        max_tokens: tokens that the model reads in one prompt.
        names: the vocabulary of the data set.
        protocol: says what is asked.

    Raises:
        DatasetError: names are to be asked, but the data set has none.
    """

    def __init__(
        self,
        tokenizer: GroundingDinoTokenizer,
        max_tokens: int,
        names: tuple[str, ...],
        protocol: EvaluationProtocol,
    ) -> None:
        if protocol.question == "names" and not names:
            raise DatasetError("The data set has no names to ask for. Evaluate captions or expressions instead.")
        self._tokenizer, self._max_tokens, self._names, self._protocol = tokenizer, max_tokens, names, protocol
        self._words: dict[str, list[int]] = {}
        self._last: Question | None = None

    def question(self, record: Record) -> Question:
        """Return what is asked of one picture.

        Raises:
            PromptError: a label cannot be asked for; the message names the picture.
            DatasetError: captions are to be asked, but the record has none.
        """
        labels = asked_labels(record, self._names, self._protocol)
        if self._last is not None and self._last.labels == labels and self._protocol.question in ("names", "labels"):
            return self._last
        try:
            self._last = self._build(record, labels)
        except PromptError as error:
            raise PromptError(f"{record.key}: {error}") from error
        return self._last

    def _build(self, record: Record, labels: tuple[str, ...]) -> Question:
        if self._protocol.question == "caption":
            if record.caption is None:
                raise DatasetError(f"{record.key} has no caption. Evaluate its labels as expressions instead.")
            prompt = build_caption_prompt(self._tokenizer, record.caption, self._max_tokens)
            return Question(labels, (prompt,), (tuple(range(len(labels))),))
        texts = [plain_name(label) for label in labels] if self._protocol.plain_names else list(labels)
        words = [self._tokenize(text, index) for index, text in enumerate(texts)]
        most = 1 if self._protocol.question == "expressions" else self._protocol.chunk
        chunks = pack([len(own) + 1 for own in words], self._max_tokens - PROMPT_ENDS, most)
        prompts = [
            join_labels(self._tokenizer, [texts[i] for i in chunk], [words[i] for i in chunk], self._max_tokens)
            for chunk in chunks
        ]
        return Question(labels, tuple(prompts), tuple(tuple(chunk) for chunk in chunks))

    def _tokenize(self, text: str, index: int) -> list[int]:
        if text not in self._words:
            self._words[text] = tokenize_label(self._tokenizer, text, f"Label {index}")
        return self._words[text]


def asked_labels(record: Record, names: tuple[str, ...], protocol: EvaluationProtocol) -> tuple[str, ...]:
    """Return the labels that a picture is asked for, in the order that detections count them."""
    if protocol.question == "names":
        return names
    if protocol.question != "labels":
        return record.labels
    return tuple(dict.fromkeys((*record.labels, *(names if record.absent is None else record.absent))))


def plain_name(name: str) -> str:
    """Return a name as people say it: no brackets, spaces for underscores; unchanged where nothing would be left."""
    plain = " ".join(_IN_BRACKETS.sub(" ", name).replace("_", " ").split())
    return plain or name
