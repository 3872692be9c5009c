"""From the model's outputs to boxes in pixels: thresholds, label scores, suppression."""

from groundling.postprocess.documented import (
    HasBoxes,
    PhraseDetections,
    TargetSizes,
    TokenDetections,
    detect_phrases,
    detect_tokens,
    phrase_token_ids,
)
from groundling.postprocess.label_scores import Aggregation, label_scores
from groundling.postprocess.nms import class_wise_nms, without_groups
from groundling.postprocess.select import Selection, SelectionRules, Words, choose_boxes, score_boxes

__all__ = [
    "Aggregation",
    "HasBoxes",
    "PhraseDetections",
    "Selection",
    "SelectionRules",
    "TargetSizes",
    "TokenDetections",
    "Words",
    "choose_boxes",
    "class_wise_nms",
    "detect_phrases",
    "detect_tokens",
    "label_scores",
    "phrase_token_ids",
    "score_boxes",
    "without_groups",
]
