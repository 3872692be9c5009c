"""Masks from boxes: segmenters of transformers behind one small interface."""

from groundling.segmentation.families import FAMILIES, Family
from groundling.segmentation.loading import load_segmenter, load_video_model
from groundling.segmentation.options import MaskOptions
from groundling.segmentation.segmenter import EncodedPicture, Segmenter

__all__ = [
    "FAMILIES",
    "EncodedPicture",
    "Family",
    "MaskOptions",
    "Segmenter",
    "load_segmenter",
    "load_video_model",
]
