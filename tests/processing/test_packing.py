"""Any number of labels in prompts that the model can read."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundling.errors import PromptError
from groundling.processing import GroundingDinoTokenizer
from groundling.processing.packing import build_prompts, pack
from groundling.processing.prompt import build_caption_prompt, build_prompt
from groundling.structures.prompt import NEGATIVE, Caption, PromptSet
from groundling.structures.vocabulary import Vocabulary

LIMIT = 24
WORDS = ["a cat", "sofa", "fire hydrant", "potted plant", "remote control", "hot dog", "giraffe", "St. Bernard"]


@pytest.fixture(scope="module")
def tokenizer():
    return GroundingDinoTokenizer.default()


@pytest.mark.parametrize(
    ("lengths", "room", "most", "chunks"),
    [
        pytest.param([], 6, None, [], id="empty"),
        pytest.param([2, 2, 2], 6, None, [[0, 1, 2]], id="all in one"),
        pytest.param([2, 2, 3], 6, None, [[0, 1], [2]], id="one too many"),
        pytest.param([2, 2, 2], 6, 2, [[0, 1], [2]], id="most"),
        pytest.param([2, 9, 2], 6, None, [[0], [1], [2]], id="too long alone"),
        pytest.param([6, 6], 6, None, [[0], [1]], id="each full"),
    ],
)
def test_pack(lengths, room, most, chunks):
    assert pack(lengths, room, most) == chunks


@given(lengths=st.lists(st.integers(1, 12)), room=st.integers(1, 30))
def test_packs_are_full_and_in_order(lengths, room):
    chunks = pack(lengths, room)
    assert [index for chunk in chunks for index in chunk] == list(range(len(lengths)))
    for chunk, following in itertools.pairwise(chunks):
        assert sum(lengths[index] for index in chunk) + lengths[following[0]] > room
    for chunk in chunks:
        assert len(chunk) == 1 or sum(lengths[index] for index in chunk) <= room


def test_few_labels_are_the_plain_prompt(tokenizer):
    made = build_prompts(tokenizer, WORDS, 256)
    assert made.prompts == (build_prompt(tokenizer, WORDS, 256),)
    assert made == PromptSet.of(made.prompts[0]) == build_prompts(tokenizer, made, 256)
    assert (
        made
        == build_prompts(tokenizer, Vocabulary(tuple(WORDS)), 256)
        == build_prompts(tokenizer, made.prompts[0], 256)
    )


def test_many_labels_take_few_prompts(tokenizer):
    names = [f"{word} {number}" for number in range(40) for word in WORDS]
    made = build_prompts(tokenizer, names, LIMIT)
    check(made, names, LIMIT)
    tokens = sum(len(prompt.token_ids) - 2 for prompt in made.prompts)
    assert len(made.prompts) < 1.4 * tokens / (LIMIT - 2)


def check(made, names, limit):
    """Every label stands once, where its prompt says, and no prompt is too long."""
    assert made.labels == tuple(names)
    assert sorted(label for ids in made.label_ids for label in ids) == list(range(len(names)))
    for prompt, ids in zip(made.prompts, made.label_ids, strict=True):
        assert len(prompt.token_ids) <= limit
        assert prompt.labels == tuple(names[label] for label in ids)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(1, 40))
def test_sorted_prompts_do_not_depend_on_the_order(tokenizer, seed, count):
    names = [f"{WORDS[number % 8]} {number}" for number in range(count)]
    shuffled = random.Random(seed).sample(names, count)
    one, other = (
        build_prompts(tokenizer, Vocabulary(tuple(labels), packing="sorted"), LIMIT) for labels in (names, shuffled)
    )
    assert one.prompts == other.prompts
    for ids, other_ids in zip(one.label_ids, other.label_ids, strict=True):
        assert [one.labels[label] for label in ids] == [other.labels[label] for label in other_ids]


def test_alone(tokenizer):
    made = build_prompts(tokenizer, Vocabulary(("cat", "dog"), {"cat": ("kitten",)}, per_prompt=1), 256)
    assert [prompt.labels for prompt in made.prompts] == [("cat", "kitten"), ("dog",)]


def test_synonyms_stay_together_and_negatives_are_everywhere(tokenizer):
    vocabulary = Vocabulary(
        ("sofa", "fire hydrant", "giraffe"), {"giraffe": ("tall animal",)}, ("a toy", "mirror"), {"sofa": 0.5}
    )
    made = build_prompts(tokenizer, vocabulary, 18)
    assert len(made.prompts) > 1
    for prompt, ids in zip(made.prompts, made.label_ids, strict=True):
        assert prompt.labels[-2:] == ("a toy", "mirror")
        assert ids[-2:] == (NEGATIVE, NEGATIVE)
        assert ("giraffe" in prompt.labels) == ("tall animal" in prompt.labels)
    assert made.thresholds == (0.5, None, None)


def test_captions_are_one_prompt(tokenizer):
    caption = Caption("a cat beside a dog", (((0, 5),), ((13, 18),)))
    assert build_prompts(tokenizer, caption, 64).prompts == (build_caption_prompt(tokenizer, caption, 64),)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param([], "There are no labels", id="empty"),
        pytest.param(["cat", "..."], r"Label 1 \('...'\) has only separators", id="separators"),
        pytest.param(["cat", "x y " * 20], r"The label 'x y .* takes \d+ tokens", id="one label is too long"),
        pytest.param(
            Vocabulary(("cat",), {}, ("a dog",) * 1 + tuple(f"word {n}" for n in range(9))),
            "leave 0 of",
            id="negatives",
        ),
        pytest.param(Vocabulary(("cat",), {"cat": ("?",)}), r"Synonym 0 of 'cat' \('\?'\) has only", id="synonym"),
        pytest.param(Vocabulary(("cat",), {}, ("!", ".")), "Negative 1 .* has only separators", id="negative"),
        pytest.param(
            Vocabulary(("cat",), {"cat": tuple(f"kitten {n}" for n in range(9))}),
            "with its synonyms",
            id="many synonyms",
        ),
    ],
)
def test_mistakes(tokenizer, labels, message):
    with pytest.raises(PromptError, match=message):
        build_prompts(tokenizer, labels, LIMIT)
