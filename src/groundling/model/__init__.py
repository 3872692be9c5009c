"""The model: one file for each stage of the paper, in the order of its figure 3.

`image_projection.py` and `layers.py` hold what lies between and below the stages; `grounding_dino.py` joins them.
"""

from groundling.model.grounding_dino import (
    GroundingDinoForObjectDetection,
    GroundingDinoModel,
    MMGroundingDinoForObjectDetection,
    MMGroundingDinoModel,
)

__all__ = [
    "GroundingDinoForObjectDetection",
    "GroundingDinoModel",
    "MMGroundingDinoForObjectDetection",
    "MMGroundingDinoModel",
]
