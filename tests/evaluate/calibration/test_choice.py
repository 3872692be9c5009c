"""Which threshold is chosen, and what is counted at it."""

import math

import numpy as np
import pytest

from groundling.errors import ConfigError
from groundling.evaluate.calibration.choice import (
    FLOOR,
    Counts,
    Targets,
    choose,
    count_above,
    cross_validate,
    draw_curve,
    threshold_between,
    wilson_interval,
)
from groundling.evaluate.calibration.marks import Marks
from reference.calibration import wilson

GENERAL = 0.3


def marks(boxes, objects=(), without=None):
    """From (score, is right, picture) of each box and the objects of each picture; pictures without any lack it."""
    pictures = max([len(objects), *(picture + 1 for _, _, picture in boxes)], default=0)
    objects_P = np.array([*objects, *[0] * (pictures - len(objects))], np.int32)
    boxes = sorted(boxes, key=lambda box: -box[0])
    return Marks(
        score_N=np.array([score for score, _, _ in boxes], np.float32),
        right_N=np.array([right for _, right, _ in boxes], np.bool_),
        picture_N=np.array([picture for *_, picture in boxes], np.int64),
        objects_P=objects_P,
        with_P=objects_P > 0,
        without_P=objects_P == 0 if without is None else np.array(without, np.bool_),
    )


def chosen(boxes, objects, precision=0.9, max_fp_rate=None, general=GENERAL, without=None):
    choice = choose(marks(boxes, objects, without), Targets(precision, max_fp_rate), general)
    return choice.threshold, choice.status


@pytest.mark.parametrize(
    ("boxes", "objects", "targets", "expected"),
    [
        pytest.param([], [], {}, (None, "no examples"), id="empty"),
        pytest.param([], [1, 0], {}, (None, "not met"), id="nothing found"),
        pytest.param([(0.9, False, 0)], [0], {}, (None, "no examples"), id="no object"),
        pytest.param([(0.9, False, 0)], [1, 0], {}, (None, "not met"), id="only wrong boxes"),
        pytest.param([(0.9, True, 0)], [1], {}, (0.455, "no pictures without it"), id="no picture without it"),
        pytest.param([(0.9, True, 0)], [1, 0], {}, (0.455, "met"), id="one right box"),
        pytest.param([(0.9, True, 0), (0.6, False, 1)], [1, 0], {}, (0.75, "met"), id="between the neighbours"),
        pytest.param([(0.9, True, 0), (0.6, False, 1)], [1, 0], {"precision": 0.5}, (0.305, "met"), id="low target"),
        pytest.param([(0.9, False, 0), (0.6, True, 0)], [1, 0], {}, (0.305, "not met"), id="best below a wrong one"),
        pytest.param(
            [(0.9, True, 0), (0.8, False, 0), (0.7, True, 0), (0.6, False, 0)],
            [2, 0],
            {"precision": 0.6},
            (0.65, "met"),
            id="the lowest, though precision falls in between",
        ),
        pytest.param(
            [(0.9, True, 0), (0.9, False, 1)], [1, 0], {}, (0.455, "not met"), id="equal scores stay together"
        ),
        pytest.param(
            [(0.9, True, 0), (0.8, True, 0), (0.8, False, 1), (0.5, True, 0)],
            [3, 0, 0],
            {"precision": 0.5, "max_fp_rate": 0.4},
            (0.85, "met"),
            id="fewer false positives",
        ),
        pytest.param(
            [(0.9, False, 1), (0.8, True, 0)], [1, 0], {"max_fp_rate": 0.5}, (0.405, "not met"), id="rate out of reach"
        ),
        pytest.param(
            [(0.9, False, 0), (0.8, True, 0), (0.7, False, 1), (0.6, True, 0), (0.5, True, 0)],
            [3, 0, 0, 0, 0],
            {"max_fp_rate": 0.5},
            (0.255, "not met"),
            id="the best precision, not the lowest rate that will do",
        ),
        pytest.param(
            [(0.9, False, 0), (0.8, False, 1), (0.7, True, 0)],
            [1, 0, 0],
            {"max_fp_rate": 0.2},
            (0.355, "not met"),
            id="never a threshold that finds nothing right",
        ),
    ],
)
def test_the_lowest_threshold_that_meets_the_targets(boxes, objects, targets, expected):
    assert chosen(boxes, objects, **targets) == expected


@pytest.mark.parametrize(
    ("scores", "max_fp_rate", "expected"),
    [
        pytest.param([], 0.0, None, id="empty"),
        pytest.param([0.2, 0.1], 0.0, None, id="the general one is enough"),
        pytest.param([0.8, 0.4], 0.5, 0.6, id="one of two pictures may have a box"),
        pytest.param([0.8, 0.4], 1.0, None, id="all may"),
        pytest.param([0.8, 0.4], 0.0, 0.81, id="none may"),
        pytest.param([0.99, 0.4], 0.0, 1.0, id="at the end of the scale"),
        pytest.param([0.4, 0.35], 0.5, 0.375, id="just above the general one"),
    ],
)
def test_without_examples_the_rate_of_false_positives_may_raise_the_threshold(scores, max_fp_rate, expected):
    boxes = [(score, False, picture) for picture, score in enumerate(scores)]
    assert chosen(boxes, [0, 0], max_fp_rate=max_fp_rate) == (expected, "no examples")
    if expected is not None:
        kept = count_above(marks(boxes, [0, 0]), expected)
        assert kept.fp_rate <= max_fp_rate


def test_counts():
    boxes = [(0.9, True, 0), (0.8, False, 0), (0.8, False, 1), (0.7, False, 1), (0.6, False, 2), (0.5, True, 0)]
    one = marks(boxes, [3, 0, 0, 0], without=[False, True, False, True])
    assert count_above(one, 0.55) == Counts(1, 4, 3, 1, 1, 2)
    assert count_above(one, float(np.float32(0.8))) == Counts(1, 0, 3, 1, 0, 2)
    curve = draw_curve(one)
    for cut, score in enumerate(curve.score_C):
        counts = count_above(one, math.nextafter(float(score), 0) - 1e-6)
        assert (curve.right_C[cut], curve.wrong_C[cut], curve.false_C[cut]) == (
            counts.right, counts.wrong, counts.false_pictures,
        )  # fmt: skip


def test_rates():
    none = Counts()
    assert all(math.isnan(value) for value in (none.precision, none.recall, none.fp_rate, *none.precision_interval))
    some = Counts(right=9, wrong=1, objects=12, pictures_with=5, false_pictures=1, pictures_without=20)
    assert (some.precision, some.recall, some.fp_rate) == (0.9, 0.75, 0.05)
    assert some.precision_interval == pytest.approx(wilson(9, 10))
    assert some.fp_rate_interval == pytest.approx(wilson(1, 20))
    assert some.plus(some) == Counts(18, 2, 24, 10, 2, 40)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 20), (3, 20), (20, 20), (900, 1000)])
def test_wilson(successes, trials):
    low, high = wilson_interval(successes, trials)
    assert (low, high) == pytest.approx(wilson(successes, trials), abs=1e-12)
    assert -1e-12 <= low <= successes / trials <= high <= 1 + 1e-12


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        pytest.param(0.25, 0.5, 0.375, id="the middle"),
        pytest.param(0.5, 0.50012, 0.5001, id="four digits"),
        pytest.param(0.3, 0.9, 0.6, id="one digit is enough"),
        pytest.param(0.5, float(np.nextafter(np.float32(0.5), np.float32(1))), 0.5, id="neighbours in float32"),
    ],
)
def test_a_threshold_between_two_scores(low, high, expected):
    assert threshold_between(low, high) == expected


def test_a_rounded_threshold_separates_the_scores():
    rng = np.random.default_rng(0)
    for _ in range(2000):
        low = np.float32(rng.random())
        high = np.nextafter(low, np.float32(2)) if rng.random() < 0.3 else low + np.float32(10.0 ** -rng.integers(1, 7))
        if high <= low:
            continue
        threshold = threshold_between(float(low), float(high))
        assert not low > np.float32(threshold)
        assert high > np.float32(threshold)
        assert float(low) <= threshold < float(high)


def test_cross_validation_measures_on_other_pictures():
    # one picture's only box scores low: the others would never choose a threshold that keeps it
    boxes = [(0.9, True, 0), (0.9, True, 1), (0.2, True, 2), (0.5, False, 3), (0.5, False, 4)]
    one = marks(boxes, [1, 1, 1, 0, 0])
    targets = Targets(0.9)
    assert choose(one, targets, GENERAL).threshold == pytest.approx(0.7)
    # each part is judged by a threshold of 0.7: what the others choose
    assert cross_validate(one, targets, GENERAL) == Counts(2, 0, 3, 3, 0, 2)


def test_cross_validation_is_less_hopeful():
    """On scores that say nothing, the best precision of many is luck; other pictures do not confirm it."""
    rng = np.random.default_rng(1)
    hopeful, honest = [], []
    for _ in range(40):
        boxes = [(float(score), bool(rng.random() < 0.5), picture) for picture, score in enumerate(rng.random(20))]
        one = marks(boxes, [1] * 20)
        hopeful.append(count_above(one, choose(one, Targets(0.9), GENERAL).threshold or GENERAL).precision)
        other = cross_validate(one, Targets(0.9), GENERAL).precision
        honest.append(0.5 if math.isnan(other) else other)
    assert np.mean(hopeful) > 0.7
    assert abs(np.mean(honest) - 0.5) < 0.1


@pytest.mark.parametrize("objects", [[], [3], [3, 0, 0]], ids=["empty", "one picture", "one picture with it"])
def test_too_few_pictures_for_cross_validation(objects):
    assert cross_validate(marks([(0.9, True, 0)] if objects else [], objects), Targets(), GENERAL) is None


def test_every_picture_is_measured_once():
    rng = np.random.default_rng(2)
    for pictures in (2, 3, 9, 10, 11, 37):
        objects = rng.integers(0, 3, pictures)
        objects[:2] = 1
        boxes = [(float(rng.random()), False, int(picture)) for picture in rng.integers(0, pictures, 30)]
        boxes += [(float(rng.random()), True, picture) for picture in np.flatnonzero(objects).tolist()]
        total = cross_validate(marks(boxes, objects.tolist()), Targets(0.2), GENERAL)
        assert total.objects == objects.sum()
        assert total.pictures_with == (objects > 0).sum()
        assert total.pictures_without == (objects == 0).sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param((0,), "precision must be more than 0 and at most 1, such as 0.9; got 0", id="zero"),
        pytest.param((1.1,), "got 1.1", id="over one"),
        pytest.param((math.nan,), "got nan", id="not a number"),
        pytest.param(("0.9",), "got '0.9'", id="text"),
        pytest.param((True,), "got True", id="bool"),
        pytest.param((0.9, -0.1), "max_fp_rate must be within 0..1, such as 0.05, or None; got -0.1", id="negative"),
    ],
)
def test_targets_out_of_range(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Targets(*arguments)


def test_no_threshold_lies_below_what_is_looked_at():
    threshold, _ = chosen([(0.0101, True, 0)], [1, 0])
    assert FLOOR <= threshold < 0.0101
