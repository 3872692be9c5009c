import numpy as np
import pytest

from groundling.errors import ConfigError
from groundling.processing.sizes import SizeDict, size_rule, target_size


@pytest.mark.parametrize(
    ("picture", "result"),
    [
        ((480, 640), (800, 1066)),
        ((640, 480), (1066, 800)),
        ((427, 640), (800, 1199)),
        ((333, 500), (800, 1201)),
        ((1000, 333), (1333, 444)),
        ((2000, 500), (1333, 333)),
        ((100, 5000), (27, 1333)),
        ((800, 1334), (799, 1333)),
        ((801, 1335), (800, 1333)),
        ((1333, 800), (1333, 800)),
        ((999, 1001), (800, 801)),
        ((1, 1), (800, 800)),
        pytest.param((100, 1335), (100, 1335), id="a short edge that is right already"),
        ((3, 4000), (1, 1333)),
        pytest.param((1, 9000), (1, 1333), id="a strip keeps one row"),
    ],
)
def test_shortest_and_longest_edge(picture, result) -> None:
    assert target_size(*picture, SizeDict(shortest_edge=800, longest_edge=1333)) == result


@pytest.mark.parametrize(
    ("size", "result"),
    [
        (SizeDict(height=30, width=20), (30, 20)),
        (SizeDict(max_height=100, max_width=100), (50, 100)),
        (SizeDict(max_height=10, max_width=100), (10, 20)),
    ],
)
def test_other_rules(size, result) -> None:
    assert target_size(200, 400, size) == result


@pytest.mark.parametrize(
    "size", [{"shortest_edge": 8}, {"longest_edge": 8}, {"min_pixels": 1, "max_pixels": 9}], ids=str
)
def test_rules_that_do_not_say_a_size_are_refused(size) -> None:
    with pytest.raises(ConfigError, match="cannot be resized by size="):
        target_size(4, 4, size_rule(size))


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        (42, {"shortest_edge": 42, "longest_edge": 1333}),
        ((3, 4), {"height": 3, "width": 4}),
        ([3, 4], {"height": 3, "width": 4}),
        (np.int64(42), {"shortest_edge": 42, "longest_edge": 1333}),
        ({"shortest_edge": 5, "longest_edge": None}, {"shortest_edge": 5}),
        ({"max_height": 3, "max_width": 4}, {"max_height": 3, "max_width": 4}),
    ],
)
def test_ways_of_writing_a_size(written, rule) -> None:
    assert size_rule(written) == rule


def test_a_longest_edge_goes_with_a_number() -> None:
    assert size_rule(20, max_size=30) == {"shortest_edge": 20, "longest_edge": 30}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        pytest.param({}, "must have one of the following set of keys", id="empty"),
        ({"height": 3}, "must have one of the following set of keys"),
        ({"height": 3, "longest_edge": 4}, "must have one of the following set of keys"),
        ("800", "is not a size"),
        ((1, 2, 3), "is not a size"),
        (True, "is not a size"),
        (0, "must be a positive integer"),
        ({"height": 3.5, "width": 4}, r"size\['height'\] must be a positive integer"),
    ],
)
def test_what_is_no_size(written, message) -> None:
    with pytest.raises(ConfigError, match=message):
        size_rule(written)


def test_size_keys_are_attributes() -> None:
    size = SizeDict(shortest_edge=8)
    assert (size.shortest_edge, size.height) == (8, None)
    with pytest.raises(AttributeError, match="no attribute 'depth'"):
        size.depth  # noqa: B018
