"""What is asked of a picture, and in which prompts."""

from dataclasses import replace

import numpy as np
import pytest

from evaluate.hand_made import record
from groundling import Caption
from groundling.data.record import Record
from groundling.errors import DatasetError, PromptError
from groundling.evaluate import PROTOCOLS
from groundling.evaluate.questions import Questioner, plain_name
from groundling.processing import GroundingDinoTokenizer

BOX = (0, 0, 10, 10)


@pytest.fixture(scope="module")
def tokenizer():
    return GroundingDinoTokenizer.default()


@pytest.mark.parametrize(
    ("name", "plain"),
    [("", ""), ("cat", "cat"), ("bow_(weapon)", "bow"), ("(a)", "(a)"), ("stop_sign", "stop sign")],
)
def test_plain_name(name, plain):
    assert plain_name(name) == plain


def test_names_fill_as_many_prompts_as_they_need(tokenizer):
    names = tuple(f"red cat {number}" for number in range(20))
    question = Questioner(tokenizer, 32, names, PROTOCOLS["coco"]).question(record([("red cat 3", BOX)]))
    assert question.labels == names
    assert len(question.prompts) > 2
    assert max(len(prompt.token_ids) for prompt in question.prompts) <= 32
    assert [label for ids in question.label_ids for label in ids] == list(range(20))
    for prompt, ids in zip(question.prompts, question.label_ids, strict=True):
        assert prompt.labels == tuple(names[label] for label in ids)


def test_names_are_asked_the_same_way_of_every_picture(tokenizer):
    questioner = Questioner(tokenizer, 64, ("cat", "dog"), PROTOCOLS["coco"])
    assert questioner.question(record([("cat", BOX)])) is questioner.question(record([]))


def test_chunks_of_names(tokenizer):
    protocol = replace(PROTOCOLS["coco"], chunk=2)
    question = Questioner(tokenizer, 64, ("cat", "dog", "bird"), protocol).question(record([]))
    assert question.label_ids == ((0, 1), (2,))


def test_plain_names_keep_the_names_of_the_data_set(tokenizer):
    names = ("bow_(weapon)", "bow_(decorative_ribbons)")
    question = Questioner(tokenizer, 64, names, PROTOCOLS["lvis"]).question(record([]))
    assert question.labels == names
    assert question.prompts[0].labels == ("bow", "bow")


@pytest.mark.parametrize(
    ("absent", "labels"),
    [
        pytest.param((), ("cat",), id="empty"),
        pytest.param(("bird", "cat"), ("cat", "bird"), id="absent ones too"),
        pytest.param(None, ("cat", "dog"), id="all others"),
    ],
)
def test_labels_of_a_picture(tokenizer, absent, labels):
    questioner = Questioner(tokenizer, 64, ("cat", "dog"), PROTOCOLS["scenes"])
    assert questioner.question(record([("cat", BOX)], absent=absent)).labels == labels


def test_a_picture_may_be_asked_nothing(tokenizer):
    question = Questioner(tokenizer, 64, (), PROTOCOLS["scenes"]).question(record([], absent=()))
    assert question.prompts == ()


def test_expressions_have_a_prompt_each(tokenizer):
    shown = record([("the left cat", BOX), ("the right cat", BOX)])
    question = Questioner(tokenizer, 64, (), PROTOCOLS["refcoco"]).question(shown)
    assert [prompt.labels for prompt in question.prompts] == [("the left cat",), ("the right cat",)]
    assert question.label_ids == ((0,), (1,))


def test_captions(tokenizer):
    caption = Caption("A cat beside a dog", (((0, 5),), ((13, 18),)))
    shown = Record(
        "p",
        record([]).picture,
        (4, 4),
        caption.phrases,
        np.zeros((0, 4), np.float32),
        np.zeros((0, 2), bool),
        (),
        caption,
    )
    (prompt,) = Questioner(tokenizer, 64, (), PROTOCOLS["flickr"]).question(shown).prompts
    assert prompt.text == caption.text
    assert prompt.labels == ("A cat", "a dog")


def test_no_names(tokenizer):
    with pytest.raises(DatasetError, match="has no names to ask for"):
        Questioner(tokenizer, 64, (), PROTOCOLS["coco"])


def test_no_caption(tokenizer):
    with pytest.raises(DatasetError, match="p has no caption"):
        Questioner(tokenizer, 64, (), PROTOCOLS["flickr"]).question(record([("cat", BOX)]))


def test_a_label_that_is_too_long_names_its_picture(tokenizer):
    with pytest.raises(PromptError, match=r"p: The prompt has 1 labels and 10 tokens, but the model reads at most 8"):
        Questioner(tokenizer, 8, (), PROTOCOLS["refcoco"]).question(record([("cat cat cat cat cat cat cat", BOX)]))
