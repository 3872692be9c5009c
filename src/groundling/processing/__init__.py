"""Pixels and strings to tensors: image processor, annotations, tokenizer, prompts, and the processor over them."""

from groundling.pictures.reading import open_picture, rgb_picture
from groundling.processing.annotations import AnnotationFormat
from groundling.processing.batch_feature import BatchFeature
from groundling.processing.image_processor import GroundingDinoImageProcessor, GroundingDinoImageProcessorFast
from groundling.processing.image_settings import ImageOptions
from groundling.processing.processor import GroundedResult, GroundingDinoProcessor
from groundling.processing.prompt import build_caption_prompt, build_prompt, collate_prompts, labels_from_text
from groundling.processing.text_batch import TextOptions
from groundling.processing.tokenizer import GroundingDinoTokenizer

__all__ = [
    "AnnotationFormat",
    "BatchFeature",
    "GroundedResult",
    "GroundingDinoImageProcessor",
    "GroundingDinoImageProcessorFast",
    "GroundingDinoProcessor",
    "GroundingDinoTokenizer",
    "ImageOptions",
    "TextOptions",
    "build_caption_prompt",
    "build_prompt",
    "collate_prompts",
    "labels_from_text",
    "open_picture",
    "rgb_picture",
]
