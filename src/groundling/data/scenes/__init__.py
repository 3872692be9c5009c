"""Scenes: drawn pictures of shapes in many colours and textures, with exact boxes, masks and words.

Every scene follows from a seed and a number, so a data set needs no files and is the same everywhere.
"""

from groundling.data.scenes.generator import SPLITS, Scene, make_scene
from groundling.data.scenes.things import COLORS, HELD_OUT, NEW_SHAPES, SHAPES, SIZES, TEXTURES, Thing
from groundling.data.scenes.words import Expression, Query, expressions, queries

__all__ = [
    "COLORS",
    "HELD_OUT",
    "NEW_SHAPES",
    "SHAPES",
    "SIZES",
    "SPLITS",
    "TEXTURES",
    "Expression",
    "Query",
    "Scene",
    "Thing",
    "expressions",
    "make_scene",
    "queries",
]
