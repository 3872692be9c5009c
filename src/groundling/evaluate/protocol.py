"""What is asked, how scores are made and cut, and by which rule they are judged."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from groundling.errors import ConfigError
from groundling.postprocess.label_scores import Aggregation
from groundling.postprocess.select import SelectionRules

QuestionKind = Literal["names", "labels", "expressions", "caption"]
"""What each picture is asked for: all names of the data set; the picture's own labels and those known to be absent;
each of its labels in a prompt of its own; the phrases of its caption."""

Metric = Literal["coco", "lvis", "lvis_fixed", "recall"]
"""How it is judged: average precision; the same with rare, common and frequent names; the same with a limit for each
name instead of each picture; the share of phrases that one of the best k boxes hits."""

FIXED_AP_LIMIT = 10_000
"""Detections of a name in the whole data set that fixed AP judges (Dave et al. 2021, "Evaluating Large-Vocabulary
Object Detectors: The Devil is in the Details")."""

RECALL_RANKS = (1, 5, 10)


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """Everything about an evaluation that changes its figures, beside the model and the data.

    Attributes:
        question: what each picture is asked for.
        metric: how the answers are judged.
        top_k: most boxes that are kept: of a picture, or of each phrase where `metric` is "recall".
        aggregate: how the scores of a label's tokens become its score.
        threshold: 0..1; boxes must score more; None keeps all.
        nms_iou: 0..1; drop a box that overlaps a better one of the same label by more; None keeps all.
        chunk: most names in one prompt; None is as many as the model can read.
        plain_names: ask for names without underscores and brackets, "bow (weapon)" as "bow".

    Raises:
        ConfigError: a value is out of range, or question and metric do not fit.
    """

    question: QuestionKind
    metric: Metric
    top_k: int
    aggregate: Aggregation = "mean"
    threshold: float | None = None
    nms_iou: float | None = None
    chunk: int | None = None
    plain_names: bool = False

    def __post_init__(self) -> None:
        for name, value, kinds in (("question", self.question, QuestionKind), ("metric", self.metric, Metric)):
            if value not in get_args(kinds):
                raise ConfigError(f"{name}={value!r} is unknown. Use one of {', '.join(get_args(kinds))}.")
        is_phrases = self.question in ("expressions", "caption")
        if is_phrases != (self.metric == "recall"):
            raise ConfigError(
                f"question={self.question!r} cannot be judged by metric={self.metric!r}. Expressions and captions go "
                "with 'recall', names and labels with 'coco', 'lvis' and 'lvis_fixed'."
            )
        if self.metric == "recall" and self.top_k < RECALL_RANKS[-1]:
            raise ConfigError(f"top_k={self.top_k!r} is too small: recall needs the best {RECALL_RANKS[-1]} boxes.")
        if self.chunk is not None and (not isinstance(self.chunk, int) or self.chunk < 1):
            raise ConfigError(f"chunk must be at least 1 name, or None; got {self.chunk!r}.")
        if self.top_k is None:
            raise ConfigError("top_k must be a number of boxes, got None.")
        SelectionRules(self.threshold or 0.0, self.top_k, self.nms_iou, aggregate=self.aggregate)  # checks them

    @property
    def is_per_label(self) -> bool:
        """Whether `top_k` counts the boxes of each label, not of the picture."""
        return self.metric == "recall"

    def describe(self) -> dict[str, object]:
        """Return the values by name, for people and files."""
        return asdict(self)


PROTOCOLS: dict[str, EvaluationProtocol] = {
    "coco": EvaluationProtocol("names", "coco", top_k=300),
    "odinw": EvaluationProtocol("names", "coco", top_k=300),
    "lvis": EvaluationProtocol("names", "lvis", top_k=300, plain_names=True),
    "lvis_fixed": EvaluationProtocol("names", "lvis_fixed", top_k=1000, plain_names=True),
    "refcoco": EvaluationProtocol("expressions", "recall", top_k=10, aggregate="max"),
    "flickr": EvaluationProtocol("caption", "recall", top_k=10),
    "scenes": EvaluationProtocol("labels", "coco", top_k=300),
    "scenes_referring": EvaluationProtocol("expressions", "recall", top_k=10),
}
"""The usual protocol of each data set; docs/evaluation.md says where published figures were made in another way."""
