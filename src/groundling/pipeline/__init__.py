"""What a user holds: the model, the processor and everything around them, put together."""

from groundling.pipeline.detector import Detector
from groundling.pipeline.prompt_encoding import PromptEncoding

__all__ = ["Detector", "PromptEncoding"]
