"""From records and a model to scores.

`evaluate` gives the figures of a data set; `run_evaluation` writes predictions, figures and a report into a folder, and
goes on where a killed run stopped.
"""

from groundling.evaluate.description import describe
from groundling.evaluate.figures import Measured, evaluate, measure
from groundling.evaluate.protocol import PROTOCOLS, EvaluationProtocol
from groundling.evaluate.run import Outcome, run_evaluation
from groundling.evaluate.segmented import MaskMaker
from groundling.evaluate.shards import Work

__all__ = [
    "PROTOCOLS",
    "EvaluationProtocol",
    "MaskMaker",
    "Measured",
    "Outcome",
    "Work",
    "describe",
    "evaluate",
    "measure",
    "run_evaluation",
]
