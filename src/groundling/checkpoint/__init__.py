"""Checkpoints of every layout: reading them safely, translating their names, writing them whole."""

from groundling.checkpoint.convert import convert
from groundling.checkpoint.fitting import fit
from groundling.checkpoint.key_maps import LAYOUTS, Layout
from groundling.checkpoint.loading import Checkpoint, load_checkpoint
from groundling.checkpoint.reading import read_tensors
from groundling.checkpoint.saving import save_checkpoint

__all__ = ["LAYOUTS", "Checkpoint", "Layout", "convert", "fit", "load_checkpoint", "read_tensors", "save_checkpoint"]
