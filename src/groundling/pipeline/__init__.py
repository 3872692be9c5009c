"""What a user holds: the model, the processor and everything around them, put together."""

from groundling.pipeline.detector import Detector

__all__ = ["Detector"]
