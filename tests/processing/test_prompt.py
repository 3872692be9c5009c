import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundling.errors import PromptError
from groundling.processing import (
    GroundingDinoTokenizer,
    build_caption_prompt,
    build_prompt,
    collate_prompts,
    labels_from_text,
)
from groundling.structures.prompt import Caption, Prompt

TOKENIZER = GroundingDinoTokenizer.default()
CLS, SEP, STOP, QUESTION = 101, 102, 1012, 1029


def words(prompt: Prompt) -> list[str]:
    return [TOKENIZER.decode([prompt.token_ids[i] for i in tokens]) for tokens in prompt.label_tokens]


@pytest.mark.parametrize(
    "labels",
    [
        ["a cat"],
        ["a cat", "a remote control"],
        ["A Cat", "  Traffic   LIGHT ", "café"],
        ["hot dog", "dog", "hot dog", "dogs"],
        ["tofu-dish", "mother's t-shirt", "left hand, open"],
        ["日", "naïve"],
    ],
    ids=str,
)
def test_ids_equal_those_of_the_classic_text(labels) -> None:
    prompt = build_prompt(TOKENIZER, labels, 256)
    text = ". ".join(label.strip().lower() for label in labels) + "."
    assert list(prompt.token_ids) == TOKENIZER(text)["input_ids"]
    assert prompt.labels == tuple(labels)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["st. bernard", "cat"], ["st bernard", "cat"]),
        (["who?", "a.b?c"], ["who", "a b c"]),
        (["[SEP]x", "y[CLS]", "[PAD] z"], ["x", "y", "z"]),
        (["cat", "cat", "a cat", "cat on a cat"], ["cat", "cat", "a cat", "cat on a cat"]),
        (["cat.", "dog ."], ["cat", "dog"]),
        (("tuple",), ["tuple"]),
        (["🐶 dog"], ["[UNK] dog"]),
    ],
    ids=str,
)
def test_no_label_breaks_a_prompt(labels, expected) -> None:
    prompt = build_prompt(TOKENIZER, labels, 256)
    assert words(prompt) == expected
    assert prompt.token_ids[0] == CLS
    assert prompt.token_ids[-2:] == (STOP, SEP)
    ends = [i for i, token in enumerate(prompt.token_ids) if token in (CLS, SEP, STOP, QUESTION)]
    used = [i for tokens in prompt.label_tokens for i in tokens]
    assert sorted(used + ends) == list(range(len(prompt.token_ids)))
    assert len(ends) == len(labels) + 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param([], "There are no labels", id="empty"),
        ("a cat", "The labels are one string, 'a cat'"),
        (["cat", ""], "Label 1 is blank"),
        (["cat", " \n"], "Label 1 is blank"),
        (["cat", None], "Label 1 is of type NoneType"),
        (["cat", "..."], r"Label 1 \('...'\) has only separators"),
        (["[SEP]"], r"Label 0 \('\[SEP\]'\) has only separators"),
        (["\u200b\x00"], "Label 0 .* has only separators"),
        (["cat", "🐶"], "Label 1 .* has no word or character that the tokenizer knows"),
    ],
    ids=str,
)
def test_unusable_labels(labels, message) -> None:
    with pytest.raises(PromptError, match=message):
        build_prompt(TOKENIZER, labels, 256)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=5))
def test_any_labels_make_a_whole_prompt_or_an_error(labels) -> None:
    try:
        prompt = build_prompt(TOKENIZER, labels, 256)
    except PromptError:
        return
    ends = (CLS, SEP, STOP, QUESTION, TOKENIZER.pad_token_id)
    assert sum(token in ends for token in prompt.token_ids) == len(labels) + 2
    for label, tokens in zip(labels, prompt.label_tokens, strict=True):
        alone = [token for token in TOKENIZER(label)["input_ids"] if token not in ends]
        assert [prompt.token_ids[i] for i in tokens] == alone
        assert prompt.token_ids[tokens[-1] + 1] == STOP


def test_the_length_is_checked_with_all_tokens() -> None:
    labels = ["cat", "a dog"]
    assert len(build_prompt(TOKENIZER, labels, 7).token_ids) == 7
    with pytest.raises(PromptError, match=r"2 labels and 7 tokens, but the model reads at most 6 tokens\. Use fewer"):
        build_prompt(TOKENIZER, labels, 6)


def caption(text: str, *phrases: str | tuple[str, ...]) -> Caption:
    spans = []
    for phrase in phrases:
        parts = (phrase,) if isinstance(phrase, str) else phrase
        spans.append(tuple((text.index(part), text.index(part) + len(part)) for part in parts))
    return Caption(text, tuple(spans))


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (caption("A dog left of the Café", "A dog", "Café"), [[1, 2], [6]]),
        (caption("the left big dog", ("left", "dog")), [[2, 4]]),
        (caption("a tofu", "u"), [[3]]),
        (caption("a tofu", "ofu"), [[2, 3]]),
        (caption("Née 日 é", "日", "é"), [[2], [1]]),
        (caption("two dogs. one cat.", "dogs. one", "cat."), [[2, 4], [5]]),
        (caption("Is it a cat?", "cat?"), [[4]]),
        (caption("a cat a cat", "a cat", "cat a"), [[1, 2], [2, 3]]),
    ],
    ids=lambda value: value.text if isinstance(value, Caption) else None,
)
def test_phrases_of_a_caption(sentence, expected) -> None:
    prompt = build_caption_prompt(TOKENIZER, sentence, 256)
    assert [list(tokens) for tokens in prompt.label_tokens] == expected
    assert prompt.labels == sentence.phrases


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a cat", [CLS, 1037, 4937, STOP, SEP]),
        ("a cat.", [CLS, 1037, 4937, STOP, SEP]),
        ("a cat?", [CLS, 1037, 4937, QUESTION, SEP]),
        ("a cat. ", [CLS, 1037, 4937, STOP, SEP]),
        ("a. cat", [CLS, 1037, STOP, 4937, STOP, SEP]),
    ],
)
def test_a_caption_is_closed_once(text, ids) -> None:
    assert list(build_caption_prompt(TOKENIZER, caption(text, "cat"), 256).token_ids) == ids


@pytest.mark.parametrize(
    ("sentence", "limit", "message"),
    [
        (caption("a cat. ok", "."), 256, r"Phrase 0 \('.'\) has only separators"),
        (caption("a cat ok", "cat", " "), 256, r"Phrase 1 \(' '\) has only separators"),
        (caption("a 🐶 ok", "🐶"), 256, "Phrase 0 .* has no word or character that the tokenizer knows"),
        (caption("a cat", "cat"), 4, "1 phrases and 5 tokens, but the model reads at most 4"),
    ],
    ids=["stop", "blank", "unknown", "long"],
)
def test_unusable_captions(sentence, limit, message) -> None:
    with pytest.raises(PromptError, match=message):
        build_caption_prompt(TOKENIZER, sentence, limit)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a cat. a remote control.", ["a cat", "a remote control"]),
        ("a cat", ["a cat"]),
        (" A cat .. dog? bird\n", ["A cat", "dog", "bird"]),
    ],
)
def test_the_classic_text_is_split(text, labels) -> None:
    assert labels_from_text(text) == labels


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "names nothing to find"), (" . ? ", "names nothing to find"), (["a"], "must be a string, got list")],
)
def test_texts_without_labels(text, message) -> None:
    with pytest.raises(PromptError, match=message):
        labels_from_text(text)


def test_prompts_are_stacked_with_padding_on_the_right() -> None:
    prompts = [build_prompt(TOKENIZER, labels, 256) for labels in (["cat"], ["a remote control", "dog"])]
    stacked = collate_prompts(prompts)
    reference = TOKENIZER(["cat.", "a remote control. dog."], padding=True, return_tensors="pt")
    assert list(stacked) == ["input_ids", "token_type_ids", "attention_mask"]
    for key, value in stacked.items():
        assert torch.equal(value, reference[key])
        assert value.dtype == torch.int64
    assert collate_prompts(prompts, pad_token_id=9)["input_ids"][0, -1] == 9


def test_no_prompts_cannot_be_stacked() -> None:
    with pytest.raises(PromptError, match="There are no prompts to stack"):
        collate_prompts([])


@pytest.mark.parametrize("labels", [{"a"}, {"a": 1}, b"a", 3, None])
def test_labels_without_an_order_are_refused(labels) -> None:
    with pytest.raises(PromptError, match="must be a list of names, got"):
        build_prompt(TOKENIZER, labels, 256)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(PromptError, match=r"Label 1 .* holds half a character"):
        build_prompt(TOKENIZER, ["a", "b\ud800"], 256)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        pytest.param("cat " * 2500, "1 labels and 2503 tokens, .* at most 256", id="many words"),
        pytest.param("x" * 10_000, r"Label 0 \('x{70,90}\) has no word or character", id="one word"),
        pytest.param("." * 10_000, r"Label 0 \('\.{70,90}\) has only separators", id="separators"),
    ],
)
def test_a_label_of_ten_thousand_characters_is_one_short_message(label: str, message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        build_prompt(TOKENIZER, [label], 256)
    assert len(str(caught.value)) < 400
