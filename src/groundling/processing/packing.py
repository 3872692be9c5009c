"""From any number of labels to prompts that the model can read, as few as they fit into."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from groundling.errors import PromptError
from groundling.processing.prompt import build_caption_prompt, join_labels, labels_from_text, tokenize_label
from groundling.processing.tokenizer import GroundingDinoTokenizer
from groundling.structures.prompt import NEGATIVE, Caption, Prompt, PromptSet
from groundling.structures.vocabulary import Vocabulary, check_labels

PROMPT_ENDS = 2
"""Tokens of a prompt that belong to no label: [CLS] and [SEP]."""

PlainLabels = Sequence[str] | str | Caption | Prompt | PromptSet | Vocabulary
"""Every way to say what is to be found, before the text backbone has read it."""


def build_prompts(tokenizer: GroundingDinoTokenizer, labels: PlainLabels, max_tokens: int) -> PromptSet:
    """Build the prompts for labels in any form.

    Labels that fit into one prompt share one, and it is that of `build_prompt`. Otherwise each prompt is as full as its
    tokens allow; a label and its synonyms stand in the same one. Captions and prompts are never divided.

    Args:
        tokenizer: splits the labels.
        labels: a list of names, a classic prompt such as "a cat. a remote control.", a caption, a prompt, or a
            vocabulary; a set of prompts is returned as it is.
        max_tokens: how many tokens the model reads in one prompt, with [CLS], [SEP] and the separators.

    Raises:
        PromptError: there is no label, one has no word that the tokenizer knows or more tokens than a prompt, or the
            negatives leave too little room.
    """
    if isinstance(labels, Prompt):
        labels = PromptSet.of(labels)
    if isinstance(labels, PromptSet):
        for prompt in labels.prompts:
            check_length(prompt, max_tokens)
        return labels
    if isinstance(labels, Caption):
        return PromptSet.of(build_caption_prompt(tokenizer, labels, max_tokens))
    if isinstance(labels, Vocabulary):
        return _pack_vocabulary(tokenizer, labels, max_tokens)
    names = labels_from_text(labels) if isinstance(labels, str) else check_labels(labels)
    words = [[_Word(name, tokenize_label(tokenizer, name, f"Label {index}"))] for index, name in enumerate(names)]
    return _to_prompts(tokenizer, words, max_tokens, chunks=pack(_lengths(words), max_tokens - PROMPT_ENDS))


def pack(lengths: Sequence[int], room: int, most: int | None = None) -> list[list[int]]:
    """Divide things into prompts: in order, each prompt as full as it can be.

    Args:
        lengths: tokens of each, with its separators.
        room: tokens of a prompt without its two ends.
        most: most things of a prompt; None is no limit.

    Returns:
        The indices of the things of each prompt; one that is too long alone stands alone.
    """
    chunks: list[list[int]] = []
    left = 0
    for index, length in enumerate(lengths):
        if not chunks or length > left or len(chunks[-1]) == most:
            chunks.append([])
            left = room
        chunks[-1].append(index)
        left -= length
    return chunks


class _Word(NamedTuple):
    """A label, a synonym or a negative, with its tokens."""

    text: str
    token_ids: list[int]


def _pack_vocabulary(tokenizer: GroundingDinoTokenizer, vocabulary: Vocabulary, max_tokens: int) -> PromptSet:
    negatives = [
        _Word(text, tokenize_label(tokenizer, text, f"Negative {index}"))
        for index, text in enumerate(vocabulary.negatives)
    ]
    room = max_tokens - PROMPT_ENDS - sum(_lengths([negatives]))
    if 2 * room < max_tokens - PROMPT_ENDS:
        raise PromptError(
            f"The negatives leave {max(room, 0)} of a prompt's {max_tokens} tokens for labels. They stand in every "
            "prompt and may take half of it. Use fewer or shorter negatives."
        )
    groups = [list(_words(tokenizer, vocabulary, index)) for index in range(len(vocabulary.labels))]
    order = list(range(len(groups)))
    if vocabulary.packing == "sorted":
        order.sort(key=lambda index: (vocabulary.labels[index].casefold(), vocabulary.labels[index]))
    lengths = _lengths(groups)
    packed = pack([lengths[index] for index in order], room, vocabulary.per_prompt)
    chunks = [[order[place] for place in chunk] for chunk in packed]
    made = _to_prompts(tokenizer, groups, max_tokens, chunks=chunks, negatives=negatives)
    thresholds = tuple(vocabulary.thresholds.get(label) for label in vocabulary.labels)
    return PromptSet(vocabulary.labels, made.prompts, made.label_ids, thresholds)


def _words(tokenizer: GroundingDinoTokenizer, vocabulary: Vocabulary, index: int) -> Iterator[_Word]:
    label = vocabulary.labels[index]
    yield _Word(label, tokenize_label(tokenizer, label, f"Label {index}"))
    for number, synonym in enumerate(vocabulary.synonyms.get(label, ())):
        yield _Word(synonym, tokenize_label(tokenizer, synonym, f"Synonym {number} of {label!r:.80}"))


def _to_prompts(
    tokenizer: GroundingDinoTokenizer,
    groups: Sequence[Sequence[_Word]],
    max_tokens: int,
    *,
    chunks: Sequence[Sequence[int]],
    negatives: Sequence[_Word] = (),
) -> PromptSet:
    """Join the words of each chunk of labels, and the negatives, to a prompt.

    Args:
        tokenizer: knows the separators.
        groups: for each label its words, the label itself first.
        max_tokens: how many tokens the model reads.
        chunks: the labels of each prompt.
        negatives: words of every prompt.
    """
    prompts, label_ids = [], []
    for chunk in chunks:
        asked = [(index, word) for index in chunk for word in groups[index]]
        asked += [(NEGATIVE, word) for word in negatives]
        used = sum(_lengths([[word for _, word in asked]])) + PROMPT_ENDS
        if used > max_tokens and len(chunk) == 1:
            beside = " with its synonyms and the negatives" if len(asked) > 1 else ""
            raise PromptError(
                f"The label {groups[chunk[0]][0].text!r:.80} takes {used} tokens{beside}, but the model reads at most "
                f"{max_tokens} tokens. Use fewer or shorter words."
            )
        prompts.append(
            join_labels(tokenizer, [word.text for _, word in asked], [word.token_ids for _, word in asked], max_tokens)
        )
        label_ids.append(tuple(index for index, _ in asked))
    labels = tuple(group[0].text for group in groups)
    return PromptSet(labels, tuple(prompts), tuple(label_ids), (None,) * len(labels))


def _lengths(groups: Sequence[Sequence[_Word]]) -> list[int]:
    """Count the tokens of each group of words, with a separator for each word."""
    return [sum(len(word.token_ids) + 1 for word in group) for group in groups]


def check_length(prompt: Prompt, max_tokens: int) -> None:
    """Refuse a prompt that was built for a model that reads more.

    Raises:
        PromptError: it has too many tokens.
    """
    if len(prompt.token_ids) > max_tokens:
        raise PromptError(
            f"The prompt has {len(prompt.token_ids)} tokens, but the model reads at most {max_tokens} tokens. "
            "Use fewer or shorter labels, or several prompts."
        )
