"""Changing pictures for training together with their boxes, and saying which labels a change leaves in doubt."""

from groundling.data.augment.augment import Augment, Augmented
from groundling.data.augment.settings import PRESETS, AugmentSettings, preset

__all__ = ["PRESETS", "Augment", "AugmentSettings", "Augmented", "preset"]
