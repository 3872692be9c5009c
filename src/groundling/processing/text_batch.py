"""Cutting, padding and stacking of token rows.

It happens here and not in the tokenizer's engine, whose settings all threads see.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

import torch

from groundling.errors import ConfigError, PromptError
from groundling.processing.batch_feature import BatchFeature, check_tensor_type

PADDING = ("longest", "max_length", "do_not_pad")
TRUNCATION = ("longest_first", "only_first", "only_second", "do_not_truncate")
UNBOUNDED = 10**20  # a model_max_length beyond this says that there is no limit


class TextOptions(TypedDict, total=False):
    """Options of a tokenizer's call.

    Attributes:
        add_special_tokens: put [CLS] before and [SEP] behind; True by default.
        padding: True or "longest", "max_length", False or "do_not_pad" (the default).
        truncation: True or "longest_first" cuts to `max_length`; False or "do_not_truncate". None cuts only when
            `max_length` is given without padding.
        max_length: tokens with [CLS] and [SEP]; None is the tokenizer's `model_max_length`.
        stride: accepted as documented; it matters only for overflowing rows, which are not returned.
        is_split_into_words: the text is a list of words.
        pad_to_multiple_of: round the padded length up.
        padding_side: "right" (the default) or "left".
        return_tensors: "pt", "np" or None.
        return_token_type_ids: True by default.
        return_attention_mask: True by default.
        return_special_tokens_mask: add `special_tokens_mask`, 1 on [CLS], [SEP] and padding.
        return_offsets_mapping: add `offset_mapping`, the characters [start, end) of each token.
        return_length: add `length`, the number of tokens of each row.
    """

    add_special_tokens: bool
    padding: bool | str | None
    truncation: bool | str | None
    max_length: int | None
    stride: int
    is_split_into_words: bool
    pad_to_multiple_of: int | None
    padding_side: str | None
    return_tensors: str | None
    return_token_type_ids: bool | None
    return_attention_mask: bool | None
    return_special_tokens_mask: bool
    return_offsets_mapping: bool
    return_length: bool


CALL_OPTIONS = frozenset(TextOptions.__annotations__)


class TokenRow(NamedTuple):
    """One tokenised text."""

    ids: list[int]
    type_ids: list[int]
    offsets: list[tuple[int, int]]
    special: list[int]  # 1 on [CLS] and [SEP] of the template; those that a caller writes are words of the text


def text_batch(
    rows: Sequence[TokenRow], options: TextOptions, *, is_single: bool, pad_id: int, model_max_length: int
) -> BatchFeature:
    """Cut and pad rows and give them their documented names.

    Raises:
        ConfigError: an option's value is not possible.
        PromptError: rows of different lengths were to be made a tensor.
    """
    tensor_type = check_tensor_type(options.get("return_tensors"))
    limit, length = _cut_length(options, model_max_length), options.get("max_length")
    if limit is not None:
        rows = [_cut(row, limit) for row in rows]
    longest = max(len(row.ids) for row in rows)
    width = _padded_length(longest, options, length if length is not None else model_max_length)
    is_left = _padding_side(options) == "left"

    def padded(values: Sequence[Any], filler: Any) -> list[Any]:
        filling = [filler] * ((width or 0) - len(values))
        return [*filling, *values] if is_left else [*values, *filling]

    data: dict[str, Any] = {"input_ids": [padded(row.ids, pad_id) for row in rows]}
    if options.get("return_token_type_ids") is not False:
        data["token_type_ids"] = [padded(row.type_ids, 0) for row in rows]
    if options.get("return_attention_mask") is not False:
        data["attention_mask"] = [padded([1] * len(row.ids), 0) for row in rows]
    if options.get("return_special_tokens_mask"):
        data["special_tokens_mask"] = [padded(row.special, 1) for row in rows]
    if options.get("return_offsets_mapping"):
        data["offset_mapping"] = [padded(row.offsets, (0, 0)) for row in rows]
    if tensor_type is not None:
        _check_same_length(data["input_ids"])
        data = {key: torch.tensor(values, dtype=torch.int64) for key, values in data.items()}
    elif is_single:
        data = {key: values[0] for key, values in data.items()}
    if options.get("return_length"):
        data["length"] = [max(width or 0, len(row.ids)) for row in rows]
    return BatchFeature(data, tensor_type)


def _check_same_length(rows: Sequence[Sequence[int]]) -> None:
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        raise PromptError(
            f"Unable to create tensor: the texts have {', '.join(map(str, lengths[:8]))} tokens. "
            "Use padding=True (and truncation=True with max_length) for rows of the same length."
        )


def _choice(name: str, value: bool | str | None, allowed: Sequence[str]) -> str:
    """Return the name of a strategy: True is the first, False and None the last."""
    if isinstance(value, bool) or value is None:
        return allowed[0] if value else allowed[-1]
    if value not in allowed:
        raise ConfigError(f"{name}={value!r} is not a valid strategy. Use True, False or one of {list(allowed)}.")
    return value


def _cut_length(options: TextOptions, model_max_length: int) -> int | None:
    truncation, length = options.get("truncation"), options.get("max_length")
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise ConfigError(f"max_length must be a positive integer or None, got {length!r}.")
    strategy = _choice("truncation", truncation, TRUNCATION)
    if strategy == "only_second":
        raise ConfigError("truncation='only_second' cuts the second text of a pair, but there are no pairs here.")
    is_padding = _choice("padding", options.get("padding"), PADDING) != "do_not_pad"
    # a length with neither of the two options means cutting, as documented
    is_implied = truncation is None and length is not None and not is_padding
    if strategy == "do_not_truncate" and not is_implied:
        return None
    limit = model_max_length if length is None else length
    return None if limit > UNBOUNDED else limit


def _cut(row: TokenRow, limit: int) -> TokenRow:
    """Cut a row from the right; its [CLS] and [SEP] stay."""
    if len(row.ids) <= limit:
        return row
    if sum(row.special) > limit:
        raise ConfigError(
            f"max_length={limit} has no room for the {sum(row.special)} special tokens around a text. Use a larger one."
        )
    behind = row.special[::-1].index(0)
    stop = limit - behind
    ids, type_ids, offsets, special = ([*part[:stop], *part[len(part) - behind :]] for part in row)
    return TokenRow(ids, type_ids, offsets, special)


def _padded_length(longest: int, options: TextOptions, max_length: int) -> int | None:
    strategy = _choice("padding", options.get("padding"), PADDING)
    if strategy == "do_not_pad" or (strategy == "max_length" and max_length > UNBOUNDED):
        return None
    width = max_length if strategy == "max_length" else longest
    multiple = options.get("pad_to_multiple_of")
    if multiple is None:
        return width
    if multiple < 1:
        raise ConfigError(f"pad_to_multiple_of must be a positive integer or None, got {multiple!r}.")
    return -(-width // multiple) * multiple


def _padding_side(options: TextOptions) -> str:
    side = options.get("padding_side") or "right"
    if side not in ("right", "left"):
        raise ConfigError(f"padding_side={side!r} is not known. Use 'right' or 'left'.")
    return side
