"""What the caller asked for, in words and in tokens. It travels beside the model, never through it."""

from dataclasses import dataclass

from groundling.errors import PromptError

Span = tuple[int, int]

CLS_ID, SEP_ID, DOT_ID, QUESTION_ID, PADDING_ID = 101, 102, 1012, 1029, 0
"""Ids of [CLS], [SEP], ".", "?" and [PAD] in the vocabulary of every Grounding DINO; the model relies on them."""

DELIMITER_IDS = (CLS_ID, SEP_ID, DOT_ID, QUESTION_ID)
"""What separates the phrases of a prompt."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence and the phrases in it that are to be found.

    Attributes:
        text: the sentence.
        spans: for each phrase the character ranges [start, end) that spell it in `text`; most phrases have one range,
            "left ... dog" may have two. A phrase of one range may be given as that range alone.
    """

    text: str
    spans: tuple[tuple[Span, ...], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "spans", tuple((span,) if _is_range(span) else tuple(span) for span in self.spans))
        if not self.text.strip():
            raise PromptError("The caption is empty. Give a sentence and the character spans of the phrases to find.")
        if not self.spans:
            raise PromptError(
                f"The caption {self.text!r} has no spans. Give a character range [start, end) for each phrase to find."
            )
        for phrase, ranges in enumerate(self.spans):
            if not ranges:
                raise PromptError(f"Phrase {phrase} of the caption {self.text!r} has no character range.")
            for place in ranges:
                if not _is_range(place):
                    raise PromptError(f"Phrase {phrase} has the span {place!r}. A span is a pair (start, end).")
                start, end = place
                if not 0 <= start < end <= len(self.text):
                    raise PromptError(
                        f"Phrase {phrase} has the span [{start}, {end}), but the caption {self.text!r} has "
                        f"{len(self.text)} characters. A span [start, end) needs 0 <= start < end <= {len(self.text)}."
                    )

    @property
    def phrases(self) -> tuple[str, ...]:
        """The text of each phrase; several ranges are joined by a space."""
        return tuple(" ".join(self.text[start:end] for start, end in ranges) for ranges in self.spans)


def _is_range(span: object) -> bool:
    return isinstance(span, tuple | list) and len(span) == 2 and all(isinstance(place, int) for place in span)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the model reads it, with each label's place in it.

    Attributes:
        text: the words as one string, for people to read.
        labels: the caller's labels in the caller's order and spelling; a detection's label is an index into this.
        token_ids: ids of the whole prompt, [CLS] first and [SEP] last.
        label_tokens: for each label the ascending positions of its own tokens in `token_ids`; separators are never
            part of a label.
    """

    text: str
    labels: tuple[str, ...]
    token_ids: tuple[int, ...]
    label_tokens: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.label_tokens):
            raise PromptError(
                f"A prompt needs one token list for each label, but got {len(self.labels)} labels and "
                f"{len(self.label_tokens)} token lists."
            )
        for label, positions in zip(self.labels, self.label_tokens, strict=True):
            if not positions:
                raise PromptError(f"The label {label!r} has no tokens.")
            if not 0 <= min(positions) <= max(positions) < len(self.token_ids):
                raise PromptError(
                    f"The label {label!r} names token positions {positions}, but the prompt has "
                    f"{len(self.token_ids)} tokens."
                )


NEGATIVE = -1
"""The label id of a word that competes for boxes and is dropped."""


@dataclass(frozen=True, slots=True)
class PromptSet:
    """Everything that one picture is asked, in prompts that the model can read.

    Attributes:
        labels: the caller's labels in the caller's order and spelling; a detection's label is an index into this.
        prompts: at least one. Their labels are words: labels of the caller, synonyms, negatives.
        label_ids: for each prompt and each of its words the label that it stands for, an index into `labels`, or
            NEGATIVE. Several words may stand for one label.
        thresholds: for each label the score that its boxes must exceed; None takes the general threshold.

    Raises:
        PromptError: the parts do not fit each other.
    """

    labels: tuple[str, ...]
    prompts: tuple[Prompt, ...]
    label_ids: tuple[tuple[int, ...], ...]
    thresholds: tuple[float | None, ...]

    def __post_init__(self) -> None:
        fitting = len(self.prompts) == len(self.label_ids) and all(
            len(prompt.labels) == len(ids) for prompt, ids in zip(self.prompts, self.label_ids, strict=True)
        )
        meant = {label for ids in self.label_ids for label in ids} - {NEGATIVE}
        if not self.prompts or not fitting or meant != set(range(len(self.labels))):
            raise PromptError("A set of prompts needs a label for each of their words, and a word for each label.")
        if len(self.thresholds) != len(self.labels):
            raise PromptError(f"There are {len(self.labels)} labels and {len(self.thresholds)} thresholds.")

    @classmethod
    def of(cls, prompt: Prompt) -> "PromptSet":
        """Return the set of a single prompt whose words are the caller's labels."""
        count = len(prompt.labels)
        return cls(prompt.labels, (prompt,), (tuple(range(count)),), (None,) * count)
