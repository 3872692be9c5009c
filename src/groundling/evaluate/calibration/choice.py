"""From judged boxes to a threshold, and what is measured at it.

Shapes: P picture, N box, C cut: a threshold between two neighbouring scores.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundling.errors import ConfigError
from groundling.evaluate.calibration.marks import Marks

Status = Literal["met", "no pictures without it", "not met", "no examples"]
"""What became of a label: both targets are met; precision is, but there is no picture to measure false positives in;
no threshold meets the targets; there is nothing of it in the pictures."""

CONFIDENCE = 0.95
FLOOR = 0.01
"""Boxes must score more to be looked at, so no threshold is lower."""

FOLDS = 10
"""Parts that the pictures are divided into, if there are so many pictures."""

_DIGITS = range(3, 10)
_MARGIN = 0.01  # above the best score, where a threshold must lie above all


@dataclass(frozen=True, slots=True)
class Targets:
    """What a threshold must reach on the given pictures.

    Attributes:
        precision: share of the boxes above the threshold that are right, over 0 to 1.
        max_fp_rate: highest share of the pictures without the label that have a box of it, 0 to 1; None is no limit.

    Raises:
        ConfigError: a number is out of range.
    """

    precision: float = 0.9
    max_fp_rate: float | None = None

    def __post_init__(self) -> None:
        if not _is_number(self.precision) or not 0 < self.precision <= 1:
            raise ConfigError(f"precision must be more than 0 and at most 1, such as 0.9; got {self.precision!r}.")
        if self.max_fp_rate is not None and not (_is_number(self.max_fp_rate) and 0 <= self.max_fp_rate <= 1):
            raise ConfigError(f"max_fp_rate must be within 0..1, such as 0.05, or None; got {self.max_fp_rate!r}.")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a threshold gives, in numbers.

    Attributes:
        right: boxes of an object.
        wrong: boxes of nothing, of something else, or of an object that has a better one.
        objects: how many there are to find.
        pictures_with: pictures with something of the label.
        false_pictures: pictures without the label that have a box of it.
        pictures_without: pictures that are known to be without the label.
    """

    right: int = 0
    wrong: int = 0
    objects: int = 0
    pictures_with: int = 0
    false_pictures: int = 0
    pictures_without: int = 0

    @property
    def precision(self) -> float:
        """Share of the boxes that are right; NaN without boxes."""
        return _share(self.right, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """Share of the objects that have a right box; NaN without objects."""
        return _share(self.right, self.objects)

    @property
    def fp_rate(self) -> float:
        """Share of the pictures without the label that have a box of it; NaN without such pictures."""
        return _share(self.false_pictures, self.pictures_without)

    @property
    def precision_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the precision."""
        return wilson_interval(self.right, self.right + self.wrong)

    @property
    def fp_rate_interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the false-positive rate."""
        return wilson_interval(self.false_pictures, self.pictures_without)

    def plus(self, other: "Counts") -> "Counts":
        """Return the counts of two sets of pictures together."""
        return Counts(
            self.right + other.right,
            self.wrong + other.wrong,
            self.objects + other.objects,
            self.pictures_with + other.pictures_with,
            self.false_pictures + other.false_pictures,
            self.pictures_without + other.pictures_without,
        )


class Curve(NamedTuple):
    """Counts at every threshold that differs: cut c keeps all boxes that score at least `score_C[c]`.

    Attributes:
        score_C: the different scores, best first.
        right_C: right boxes.
        wrong_C: wrong boxes.
        false_C: pictures without the label that have a box of it.
    """

    score_C: NDArray[np.float32]
    right_C: NDArray[np.int64]
    wrong_C: NDArray[np.int64]
    false_C: NDArray[np.int64]

    def threshold(self, cut: int) -> float:
        """Return a threshold for a cut, between its score and the next; -1 is the cut that keeps nothing."""
        if cut < 0:
            best = float(self.score_C[0])
            return threshold_between(best, best + 2 * _MARGIN) if best + 2 * _MARGIN <= 1 else 1.0
        low = float(self.score_C[cut + 1]) if cut + 1 < len(self.score_C) else FLOOR
        return threshold_between(low, float(self.score_C[cut]))


class Choice(NamedTuple):
    """The threshold of a label, None where the general one stays, and what it is worth."""

    threshold: float | None
    status: Status


def draw_curve(marks: Marks) -> Curve:
    """Count what each different threshold keeps."""
    score_N = marks.score_N
    last = np.flatnonzero(np.append(score_N[1:] != score_N[:-1], True)) if len(score_N) else np.zeros(0, np.int64)
    _, first = np.unique(marks.picture_N, return_index=True)  # the best box of each picture
    is_first_N = np.zeros(len(score_N), np.int64)
    is_first_N[first] = marks.without_P[marks.picture_N[first]]
    right_C = np.cumsum(marks.right_N, dtype=np.int64)[last]
    return Curve(score_N[last], right_C, last + 1 - right_C, np.cumsum(is_first_N)[last])


def choose(marks: Marks, targets: Targets, general: float) -> Choice:
    """Choose the lowest threshold that meets the targets, which finds the most.

    Where none does, it is of those that keep a right box one that keeps the false-positive rate low enough, or else
    lowest; among these the one with the highest precision; among equals the lowest. A label without a single right box
    keeps the general threshold, or gets a higher one where the false-positive rate asks for it.

    Args:
        marks: judged boxes of one label.
        targets: what to reach.
        general: the threshold that the label has otherwise.
    """
    curve = draw_curve(marks)
    objects, pictures_without = int(marks.objects_P.sum()), int(marks.without_P.sum())
    rate_C = curve.false_C / max(pictures_without, 1)
    limit = 1.0 if targets.max_fp_rate is None else targets.max_fp_rate
    if not curve.right_C.any():
        low_enough = int((rate_C <= limit).sum()) - 1
        silent = curve.threshold(low_enough) if low_enough + 1 < len(rate_C) else 0.0
        return Choice(silent if silent > general else None, "not met" if objects else "no examples")
    precision_C = curve.right_C / (curve.right_C + curve.wrong_C)
    meets = np.flatnonzero((precision_C >= targets.precision) & (rate_C <= limit))
    if len(meets):
        return Choice(curve.threshold(int(meets[-1])), "met" if pictures_without else "no pictures without it")
    useful = np.flatnonzero(curve.right_C)
    excess_C = np.where(rate_C <= limit, 0.0, rate_C)
    order = np.lexsort((curve.score_C[useful], -precision_C[useful], excess_C[useful]))
    return Choice(curve.threshold(int(useful[order[0]])), "not met")


def count_above(marks: Marks, threshold: float) -> Counts:
    """Count what a threshold keeps."""
    kept = marks.score_N > np.float32(threshold)
    pictures = np.unique(marks.picture_N[kept])
    right = int(marks.right_N[kept].sum())
    return Counts(
        right=right,
        wrong=int(kept.sum()) - right,
        objects=int(marks.objects_P.sum()),
        pictures_with=int(marks.with_P.sum()),
        false_pictures=int(marks.without_P[pictures].sum()),
        pictures_without=int(marks.without_P.sum()),
    )


def cross_validate(marks: Marks, targets: Targets, general: float) -> Counts | None:
    """Measure thresholds on pictures that did not choose them; None where fewer than two pictures have an object.

    The pictures are divided into parts; each part is measured with the threshold that the others choose, and the counts
    are added up. Neighbouring pictures, which may be frames of one film, go into one part as far as pictures with and
    without objects are spread evenly.
    """
    has_objects_P = marks.objects_P > 0
    if has_objects_P.sum() < 2:
        return None
    folds = min(FOLDS, len(has_objects_P))
    fold_P = np.zeros(len(has_objects_P), np.int64)
    for group in (np.flatnonzero(has_objects_P), np.flatnonzero(~has_objects_P)):
        fold_P[group] = np.arange(len(group)) * folds // max(len(group), 1)
    total = Counts()
    for fold in range(folds):
        threshold = choose(marks.only(fold_P != fold), targets, general).threshold
        total = total.plus(count_above(marks.only(fold_P == fold), general if threshold is None else threshold))
    return total


def threshold_between(low: float, high: float) -> float:
    """Return the middle of two scores with as few digits, from three on, as still lie between them.

    A box is kept when it scores more than the threshold, in float32: `low` is dropped and `high` is kept.
    """
    middle = (low + high) / 2
    for digits in _DIGITS:
        threshold = round(middle, digits)
        if low < threshold < high and low < float(np.float32(threshold)) < high:
            return threshold
    return low  # neighbours in float32: no number lies between


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's interval of a share at 95 % confidence; NaN without trials."""
    if not trials:
        return math.nan, math.nan
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
