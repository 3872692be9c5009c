"""Hits among the best k boxes, by hand."""

import math

import pytest

from evaluate.hand_made import HandMade, found, record
from groundling.evaluate import PROTOCOLS, measure

LEFT, RIGHT = (0, 0, 100, 100), (200, 0, 300, 100)
BOTH = (0, 0, 300, 100)
HALF = (0, 0, 100, 50)  # IoU with LEFT exactly 0.5
UNDER_HALF = (0, 0, 100, 49)
AWAY = (300, 200, 400, 300)


def numbers(records, results):
    return measure(HandMade(records, names=()), zip(records, results, strict=True), PROTOCOLS["refcoco"])


def test_no_phrases():
    measured = numbers([record([])], [found(0, [])])
    assert list(measured.numbers) == ["accuracy@0.5", "R@1", "R@5", "R@10", "R@1_merged", "R@5_merged", "R@10_merged"]
    assert all(math.isnan(value) for value in measured.numbers.values())
    assert measured.counts == {"records": 1, "phrases": 0, "phrases_without_object": 0}


@pytest.mark.parametrize(
    ("boxes", "ranks"),
    [
        pytest.param([], (0, 0, 0), id="empty"),
        pytest.param([LEFT], (1, 1, 1), id="perfect"),
        pytest.param([HALF], (1, 1, 1), id="an IoU of exactly one half"),
        pytest.param([UNDER_HALF], (0, 0, 0), id="a little less"),
        pytest.param([AWAY, LEFT], (0, 1, 1), id="second"),
        pytest.param([*[AWAY] * 4, LEFT], (0, 1, 1), id="fifth"),
        pytest.param([*[AWAY] * 5, LEFT], (0, 0, 1), id="sixth"),
        pytest.param([*[AWAY] * 10, LEFT], (0, 0, 0), id="eleventh"),
    ],
)
def test_ranks(boxes, ranks):
    result = found(0, [(0, 1 - 0.01 * number, box) for number, box in enumerate(boxes)])
    got = numbers([record([("the left one", LEFT)])], [result]).numbers
    assert (got["R@1"], got["R@5"], got["R@10"]) == ranks
    assert got["accuracy@0.5"] == got["R@1"]


def test_boxes_count_for_their_own_phrase_only():
    shown = record([("left", LEFT), ("right", RIGHT)])
    assert numbers([shown], [found(0, [(0, 0.9, LEFT), (1, 0.8, LEFT)])]).numbers["R@1"] == 0.5


def test_a_phrase_that_means_two_objects():
    shown = record([("cats", LEFT), ("cats", RIGHT)])
    one = numbers([shown], [found(0, [(0, 0.9, RIGHT)])]).numbers
    assert (one["R@1"], one["R@1_merged"]) == (1, 0)
    both = numbers([shown], [found(0, [(0, 0.9, BOTH)])]).numbers
    assert (both["R@1"], both["R@1_merged"]) == (0, 1)


def test_phrases_without_an_object_are_not_counted():
    shown = record([("cat", LEFT)], labels=("cat", "unicorn"))
    measured = numbers([shown], [found(0, [(0, 0.9, LEFT), (1, 0.9, AWAY)])])
    assert measured.numbers["R@1"] == 1
    assert measured.counts["phrases_without_object"] == 1
