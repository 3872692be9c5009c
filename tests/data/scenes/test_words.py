"""Words of scenes mean what they say, and negatives mean nothing that is there."""

import numpy as np
import pytest

from groundling.data.scenes import COLORS, SHAPES, SIZES, TEXTURES, Query, Thing, expressions, make_scene, queries
from groundling.data.scenes.words import CLEAR_DISTANCE, RELATIONS

SIDE = 224


def parse(words: str) -> Query:
    """The query that a description spells."""
    kinds = {"size": SIZES, "texture": TEXTURES, "color": COLORS, "shape": SHAPES}
    found = {kind: word for word in words.split() for kind, names in kinds.items() if word in names}
    assert len(found) == len(words.split()), words
    return Query(**found)


def thing(shape: str, color: str, x: float, y: float) -> Thing:
    return Thing(shape, color, "plain", "small", (x, y), 15.0, 0.0, 1.0)


@pytest.mark.parametrize("number", range(25))
def test_labels_are_true(number: int) -> None:
    scene = make_scene(0, number)
    present, absent = queries(scene.things, np.random.default_rng(number), negatives=8)
    assert all(any(query.means(t) for t in scene.things) for query in present)
    assert all(any(query.means(t) for query in present) for t in scene.things)
    assert not any(query.means(t) for query in absent for t in scene.things)
    assert len(absent) == 8
    texts = [query.text for query in present + absent]
    assert len(set(texts)) == len(texts)
    assert [parse(query.text) for query in present] == present


def test_no_things() -> None:
    present, absent = queries([], np.random.default_rng(0), negatives=3)
    assert present == []
    assert len(absent) == 3
    assert expressions([], SIDE) == []


def test_half_of_the_negatives_are_hard() -> None:
    rng, hard, count = np.random.default_rng(0), 0, 0
    for number in range(40):
        things = make_scene(0, number, size=64).things
        for query in queries(things, rng, negatives=6)[1]:
            count += 1
            hard += any(query.color == t.color or query.shape == t.shape for t in things)
    assert hard / count > 0.4


@pytest.mark.parametrize("number", range(25))
def test_an_expression_means_exactly_one_thing(number: int) -> None:
    things = make_scene(0, number).things
    for expression in expressions(things, SIDE):
        start, end = expression.phrase
        words = expression.text[start:end].removeprefix("the ")
        matching = [index for index, t in enumerate(things) if parse(words).means(t)]
        relation = next((r for r in RELATIONS if f" {r} the " in expression.text), None)
        if relation is None:
            assert matching == [expression.thing]
            continue
        assert expression.thing in matching
        assert len(matching) > 1, "where properties say enough, no place is named"
        landmark_words = expression.text.split(f" {relation} the ")[1]
        (landmark,) = [t for t in things if parse(landmark_words).means(t)]
        axis, sign = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}[relation]
        distances = {i: sign * (things[i].center[axis] - landmark.center[axis]) for i in matching}
        assert distances[expression.thing] > CLEAR_DISTANCE * SIDE
        others = [distance for i, distance in distances.items() if i != expression.thing]
        assert max(others) < -CLEAR_DISTANCE * SIDE, "the others are clearly on the other side"


def test_expressions_of_a_small_scene() -> None:
    things = [thing("star", "red", 30, 100), thing("star", "red", 190, 100), thing("ring", "blue", 110, 100)]
    texts = {expression.text: expression.thing for expression in expressions(things, SIDE)}
    assert texts["the ring"] == texts["the blue ring"] == 2
    left = [text for text, index in texts.items() if index == 0]
    assert any(text.startswith("the red star left of the ") and text.endswith("ring") for text in left)
    assert "the star" not in texts
    assert not any(" above " in text or " below " in text for text in texts)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        pytest.param(Query(), "thing", id="empty"),
        pytest.param(Query(shape="star"), "star", id="shape"),
        pytest.param(Query("small", "striped", "red", "star"), "small striped red star", id="all"),
        pytest.param(Query(color="red"), "red thing", id="any shape"),
    ],
)
def test_text(query: Query, text: str) -> None:
    assert query.text == text
