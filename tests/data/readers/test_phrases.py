"""Phrases are found as whole words, the longer first, and never inside of other words."""

import pytest

from groundling.data.readers.phrases import locate_phrases, same_words


def words(caption, phrases, taken=()):
    located = locate_phrases(caption, phrases, taken)
    return [None if place is None else (caption[slice(*place.span)], place.span[0]) for place in located]


@pytest.mark.parametrize(
    ("caption", "phrases", "expected"),
    [
        pytest.param("a cat", [], [], id="empty"),
        pytest.param("a cat", [""], [None], id="blank phrase"),
        pytest.param("a woman and a man", ["man"], [("man", 14)], id="whole words"),
        pytest.param("a hot dog beside a dog", ["dog", "hot dog"], [("dog", 19), ("hot dog", 2)], id="longer first"),
        pytest.param("a man in red", ["a man", "a man in red"], [("a man", 0), ("a man in red", 0)], id="nested"),
        pytest.param("A dog and a dog", ["a dog", "a dog"], [("A dog", 0), ("a dog", 10)], id="in order"),
        pytest.param("two dogs", ["two dogs", "two dogs"], [("two dogs", 0)] * 2, id="several boxes"),
        pytest.param("a dog, a dog", ["a dog"], [("a dog", 0)], id="first of two"),
        pytest.param("the  Big\nred car", ["big red car"], [("Big\nred car", 5)], id="white space and case"),
        pytest.param("what? (a+b)", ["(a+b)", "what?"], [("(a+b)", 6), ("what?", 0)], id="signs"),
        pytest.param("a carpet", ["car"], [None], id="inside of a word"),
        pytest.param("一只狗在跑", ["狗"], [("狗", 2)], id="no spaces between words"),
        pytest.param("Straße", ["straße"], [("Straße", 0)], id="letters that fold to two"),
        pytest.param("İstanbul at night", ["İstanbul"], [("İstanbul", 0)], id="letters whose small form is longer"),
    ],
)
def test_places(caption, phrases, expected):
    assert words(caption, phrases) == expected


def test_what_is_taken_is_left_alone_if_possible():
    assert words("a dog, a dog", ["a dog"], [(0, 5)]) == [("a dog", 7)]
    assert words("a dog", ["dog"], [(0, 5)]) == [("dog", 2)]


def test_more_names_than_places_are_ambiguous():
    located = locate_phrases("a dog, a dog", ["a dog"] * 3)
    assert [(place.span, place.ambiguous) for place in located if place] == [
        ((0, 5), True),
        ((7, 12), True),
        ((7, 12), True),
    ]
    assert not any(place.ambiguous for place in locate_phrases("two dogs", ["two dogs"] * 2) if place)


def test_same_words():
    assert same_words(" A  Dog", "a dog")
    assert not same_words("dogs", "dog")
