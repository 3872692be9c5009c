"""A threshold for each label, chosen on labelled pictures, and what it is worth."""

from groundling.evaluate.calibration.calibration import Calibration, LabelCalibration, calibrate
from groundling.evaluate.calibration.choice import Counts, Targets

__all__ = ["Calibration", "Counts", "LabelCalibration", "Targets", "calibrate"]
