"""From labels to a prompt, with each label's tokens fixed when it is built."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from groundling.errors import PromptError
from groundling.processing.text_batch import TokenRow
from groundling.processing.tokenizer import GroundingDinoTokenizer
from groundling.structures.prompt import Caption, Prompt
from groundling.structures.vocabulary import check_labels

_SENTENCE_END = re.compile(r"[.?]")


def build_prompt(tokenizer: GroundingDinoTokenizer, labels: Sequence[str], max_tokens: int) -> Prompt:
    """Build "[CLS] label . label . [SEP]" from labels.

    Each label is tokenised by itself, and tokens in it that would end it for the model (".", "?", "[SEP]") are left
    out, so no label can break another one. The same label twice, or one label inside another, is fine.

    Args:
        tokenizer: splits the labels.
        labels: what to find, in the caller's order and spelling.
        max_tokens: how many tokens the model reads, with [CLS], [SEP] and the separators.

    Raises:
        PromptError: there are no labels, one has no word that the tokenizer knows, or there are too many tokens.
    """
    labels = check_labels(labels)
    words = [tokenize_label(tokenizer, label, f"Label {index}") for index, label in enumerate(labels)]
    return join_labels(tokenizer, labels, words, max_tokens)


def tokenize_label(tokenizer: GroundingDinoTokenizer, label: str, place: str) -> list[int]:
    """Return the token ids of one label, without those that would end it for the model.

    Args:
        tokenizer: splits the label.
        label: a name.
        place: how messages call it, such as "Label 3".

    Raises:
        PromptError: it has no word that the tokenizer knows.
    """
    delimiters = _delimiters(tokenizer)
    row = tokenizer.encode_with_offsets(label, add_special_tokens=False)
    own = [token for token in row.ids if token not in delimiters]
    _check_known(own, tokenizer, place, label)
    return own


def join_labels(
    tokenizer: GroundingDinoTokenizer, labels: Sequence[str], words: Sequence[Sequence[int]], max_tokens: int
) -> Prompt:
    """Join labels that are already tokenised to one prompt; see `build_prompt`.

    Args:
        tokenizer: knows the separators.
        labels: the labels.
        words: for each label its tokens, from `tokenize_label`.
        max_tokens: how many tokens the model reads.

    Raises:
        PromptError: there are too many tokens.
    """
    stop = tokenizer.convert_tokens_to_ids(".")
    token_ids, label_tokens = [tokenizer.cls_token_id], []
    for own in words:
        label_tokens.append(tuple(range(len(token_ids), len(token_ids) + len(own))))
        token_ids += [*own, stop]
    token_ids.append(tokenizer.sep_token_id)
    _check_length(len(labels), len(token_ids), max_tokens, "labels")
    text = " ".join(f"{label.strip()}." for label in labels)
    return Prompt(text=text, labels=tuple(labels), token_ids=tuple(token_ids), label_tokens=tuple(label_tokens))


def build_caption_prompt(tokenizer: GroundingDinoTokenizer, caption: Caption, max_tokens: int) -> Prompt:
    """Build a prompt from a sentence whose phrases are marked by character spans.

    A token belongs to a phrase when it shares a character with one of its spans; separators never do. A final "." is
    added where the sentence has none, because the model reads an unclosed last phrase as single words.

    Args:
        tokenizer: splits the sentence.
        caption: the sentence and its phrases; they become the prompt's labels.
        max_tokens: how many tokens the model reads, with [CLS], [SEP] and the separators.

    Raises:
        PromptError: a phrase has no word that the tokenizer knows, or there are too many tokens.
    """
    row = tokenizer.encode_with_offsets(caption.text, add_special_tokens=False)
    delimiters, stop = _delimiters(tokenizer), tokenizer.convert_tokens_to_ids(".")
    token_ids = [tokenizer.cls_token_id, *row.ids]
    if token_ids[-1] not in (stop, tokenizer.convert_tokens_to_ids("?")):
        token_ids.append(stop)
    token_ids.append(tokenizer.sep_token_id)
    label_tokens = []
    for index, (phrase, spans) in enumerate(zip(caption.phrases, caption.spans, strict=True)):
        positions = [position for position in _overlapping(row, spans) if row.ids[position] not in delimiters]
        _check_known([row.ids[position] for position in positions], tokenizer, f"Phrase {index}", phrase)
        label_tokens.append(tuple(position + 1 for position in positions))
    _check_length(len(label_tokens), len(token_ids), max_tokens, "phrases")
    return Prompt(
        text=caption.text, labels=caption.phrases, token_ids=tuple(token_ids), label_tokens=tuple(label_tokens)
    )


def labels_from_text(text: str) -> list[str]:
    """Split the classic prompt "a cat. a remote control." into its labels.

    Raises:
        PromptError: there is no label in the text.
    """
    if not isinstance(text, str):
        raise PromptError(f"The prompt must be a string, got {type(text).__name__}: {text!r:.80}.")
    labels = [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]
    if not labels:
        raise PromptError(f"The prompt {text!r:.80} names nothing to find. Write for example 'a cat. a dog.'")
    return labels


def collate_prompts(prompts: Sequence[Prompt], *, pad_token_id: int = 0) -> dict[str, Tensor]:
    """Stack prompts for the model, shorter ones padded on the right.

    Args:
        prompts: at least one.
        pad_token_id: fills the shorter rows.

    Returns:
        `input_ids`, `token_type_ids` (all 0) and `attention_mask` (1 on real tokens), int64 [B, T].

    Raises:
        PromptError: there are no prompts.
    """
    if not prompts:
        raise PromptError("There are no prompts to stack. Give at least one.")
    width = max(len(prompt.token_ids) for prompt in prompts)
    input_ids = torch.full((len(prompts), width), pad_token_id, dtype=torch.int64)
    attention_mask = torch.zeros((len(prompts), width), dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        input_ids[row, : len(prompt.token_ids)] = torch.tensor(prompt.token_ids)
        attention_mask[row, : len(prompt.token_ids)] = 1
    return {
        "input_ids": input_ids,
        "token_type_ids": torch.zeros_like(input_ids),
        "attention_mask": attention_mask,
    }


def _delimiters(tokenizer: GroundingDinoTokenizer) -> frozenset[int]:
    """Ids that end a phrase for the model, and padding, which it does not read."""
    ends = tokenizer.convert_tokens_to_ids([".", "?"])
    return frozenset({tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id, *ends})


def _check_known(own: Sequence[int], tokenizer: GroundingDinoTokenizer, place: str, text: str) -> None:
    if not own:
        raise PromptError(f"{place} ({text!r:.80}) has only separators such as '.' and '?'. Use words.")
    if all(token == tokenizer.unk_token_id for token in own):
        raise PromptError(
            f"{place} ({text!r:.80}) has no word or character that the tokenizer knows. Use words of the language that "
            "the model was trained in."
        )


def _check_length(count: int, tokens: int, max_tokens: int, noun: str) -> None:
    if tokens > max_tokens:
        raise PromptError(
            f"The prompt has {count} {noun} and {tokens} tokens, but the model reads at most {max_tokens} tokens. "
            f"Use fewer or shorter {noun}, or several prompts."
        )


def tokens_without_words(tokenizer: GroundingDinoTokenizer) -> frozenset[int]:
    """Return the ids of the tokens that say nothing by themselves; a label of these alone cannot be asked for."""
    return _delimiters(tokenizer) | {tokenizer.unk_token_id}


def _overlapping(row: TokenRow, spans: Sequence[tuple[int, int]]) -> list[int]:
    return [
        position
        for position, (start, end) in enumerate(row.offsets)
        if any(start < span_end and span_start < end for span_start, span_end in spans)
    ]
