"""Threads that read ahead, and batches of one size."""

import threading
import time
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundling.labelling.compute import batches_by_size, read_ahead
from groundling.labelling.finding import Finding


class Prepared(NamedTuple):
    kind: int


class Ready(NamedTuple):
    name: int
    prepared: Prepared


def pictures(kinds):
    """Pictures of these sizes; None is one that cannot be read."""
    return [
        Finding(str(n), None, error="broken") if kind is None else Ready(n, Prepared(kind))
        for n, kind in enumerate(kinds)
    ]


def batches(items, size, waiting):
    return [batch if isinstance(batch, list) else [batch] for batch in batches_by_size(items, size, waiting=waiting)]


KINDS = st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=40)


@pytest.mark.parametrize(
    ("kinds", "size", "waiting", "expected"),
    [
        pytest.param([], 2, 8, [], id="empty"),
        pytest.param([1, 1, 1], 1, 4, [[0], [1], [2]], id="one at a time"),
        pytest.param([1, 2, 1, 2, 1], 2, 8, [[0, 2], [1, 3], [4]], id="by size"),
        pytest.param([1, 2, 2, 2, 2, 1], 3, 3, [[1, 2, 3], [0, 5], [4]], id="waits"),
        pytest.param([1, 2, 3, 2], 3, 2, [[0], [1, 3], [2]], id="waits no longer"),
    ],
)
def test_batches(kinds, size, waiting, expected):
    assert [[one.name for one in batch] for batch in batches(pictures(kinds), size, waiting)] == expected


@given(KINDS, st.integers(1, 5), st.integers(1, 12))
def test_every_picture_once_and_one_size_a_batch(kinds, size, waiting):
    items = pictures(kinds)
    made = batches(items, size, waiting)
    assert sorted(map(id, items)) == sorted(id(one) for batch in made for one in batch)
    for batch in made:
        assert len(batch) <= size
        assert len(batch) == 1 or len({one.prepared.kind for one in batch}) == 1


@given(KINDS, st.integers(1, 5), st.integers(1, 12), st.data())
def test_whoever_goes_on_makes_the_same_batches(kinds, size, waiting, data):
    items = pictures(kinds)
    made = batches(items, size, waiting)
    done = data.draw(st.integers(0, len(made)))
    gone = {id(one) for batch in made[:done] for one in batch}
    again = batches([one for one in items if id(one) not in gone], size, waiting)
    readable = [batch for batch in made[done:] if isinstance(batch[0], Ready)]
    assert [batch for batch in again if isinstance(batch[0], Ready)] == readable


@given(KINDS, st.integers(1, 5), st.integers(1, 12))
def test_no_more_wait_than_are_allowed(kinds, size, waiting):
    items, taken, given_back = pictures(kinds), 0, 0

    def counted():
        nonlocal taken
        for item in items:
            taken += 1
            assert taken - given_back <= waiting + 2
            yield item

    for batch in batches_by_size(counted(), size, waiting=waiting):
        given_back += len(batch) if isinstance(batch, list) else 1


def test_reading_ahead_keeps_the_order_and_the_bound():
    begun, asked_for = [], 0

    def slow(number):
        begun.append(number)
        assert number <= asked_for + 4
        time.sleep(0.002 * (number % 3))
        return number * 10

    for result in read_ahead(slow, range(20), threads=3, ahead=3):
        asked_for += 1
        assert result == 10 * (asked_for - 1)
    assert sorted(begun) == list(range(20))


def test_reading_ahead_of_nothing():
    assert list(read_ahead(str, [], threads=2, ahead=2)) == []


def test_reading_ahead_runs_beside_the_caller():
    threads = set()
    list(read_ahead(lambda _: threads.add(threading.get_ident()), range(4), threads=2, ahead=2))
    assert threading.get_ident() not in threads


def test_who_stops_leaves_no_threads():
    before = threading.active_count()
    results = read_ahead(lambda number: number, range(1000), threads=4, ahead=8)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before


def test_an_error_comes_where_its_result_would():
    results = read_ahead(lambda number: 1 // (2 - number), range(5), threads=2, ahead=3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
