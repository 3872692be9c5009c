import pytest
from benchmarks.speed.figures import fastest, median_seconds, seconds_text, times_faster
from benchmarks.speed.measure import MOST_REPEATS, Timing, alternate, rotated, warm_up


@pytest.mark.parametrize(
    ("items", "by", "expected"),
    [
        pytest.param([], 3, [], id="empty"),
        ([1, 2, 3], 0, [1, 2, 3]),
        ([1, 2, 3], 1, [2, 3, 1]),
        ([1, 2, 3], 5, [3, 1, 2]),
    ],
)
def test_rotated(items: list[int], by: int, expected: list[int]) -> None:
    assert rotated(items, by) == expected


def test_every_contender_runs_once_a_round_and_the_order_rotates() -> None:
    order: list[str] = []
    runs = {name: (lambda name=name: order.append(name)) for name in "abc"}
    timings = {name: Timing(1.0) for name in runs}
    told: list[str] = []
    alternate(runs, timings, 3, "cpu", told.append)
    assert "".join(order) == "abcbcacab"
    assert [len(timing.seconds) for timing in timings.values()] == [3, 3, 3]
    assert len(told) == 9


def test_what_is_quick_is_repeated() -> None:
    timing, result = warm_up(lambda: 5, "cpu")
    assert (timing.repeats, result) == (MOST_REPEATS, 5)
    count = [0]

    def run() -> None:
        count[0] += 1

    alternate({"a": run}, {"a": Timing(1.0, repeats=4)}, 2, "cpu", lambda line: None)
    assert count == [8]


def contender(side: str, dtype: str, *seconds: float) -> dict[str, object]:
    return {"side": side, "dtype": dtype, "seconds": list(seconds)}


def test_median() -> None:
    assert median_seconds(contender("ours", "float32")) is None
    assert median_seconds(contender("ours", "float32", 9.0, 1.0, 2.0)) == 2.0


def test_the_fastest_of_a_side_in_a_format_or_in_any() -> None:
    line_up = [
        contender("reference", "float32", 8.0),
        contender("reference", "float32", 7.0, 9.0, 7.5),
        contender("reference", "bfloat16", 6.0),
        contender("reference", "float16"),
        contender("ours", "float32", 1.0),
    ]
    assert fastest(line_up, "reference", "float32") == 7.5
    assert fastest(line_up, "reference") == 6.0
    assert fastest(line_up, "reference", "float16") is None
    assert fastest([], "reference") is None


def test_times_faster() -> None:
    assert times_faster(6.0, 2.0) == 3.0
    assert times_faster(None, 2.0) is None
    assert times_faster(6.0, None) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (12.345, "12.3 s"), (0.5, "500 ms"), (0.0021, "2.1 ms"), (3e-6, "3 µs")]
)
def test_a_time_has_the_unit_that_suits_it(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text
