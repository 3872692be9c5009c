"""What a scene can hold: shapes in colours, textures and sizes, and which pairs are kept out of training."""

from collections.abc import Sequence
from dataclasses import dataclass

from groundling.data.scenes.outlines import NEW_OUTLINES, OUTLINES

SHAPES = tuple(OUTLINES)
NEW_SHAPES = tuple(NEW_OUTLINES)
"""Shapes of the split "new" only."""
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (215, 40, 45),
    "green": (45, 155, 65),
    "blue": (45, 85, 205),
    "yellow": (242, 210, 50),
    "orange": (243, 135, 35),
    "purple": (130, 60, 170),
    "pink": (244, 140, 185),
    "brown": (125, 80, 45),
    "black": (25, 25, 28),
    "white": (246, 246, 244),
    "gray": (135, 137, 140),
    "cyan": (50, 195, 215),
}
TEXTURES = ("plain", "striped", "dotted", "checkered")
SIZES = {"small": (0.055, 0.085), "large": (0.15, 0.24)}
"""Radius as part of the picture's side; the gap between the two is wide enough to tell them apart."""

HELD_OUT = frozenset(
    (color, shape)
    for place, color in enumerate(COLORS)
    for index, shape in enumerate(SHAPES)
    if (5 * place + index) % 7 == 0
)
"""Pairs of colour and shape that training never shows; every colour and every shape is also in pairs that it shows."""


def pair_names(shapes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all pairs of a colour and one of the shapes, colour by colour, such as "red star"."""
    return tuple(f"{color} {shape}" for color in COLORS for shape in shapes)


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing of a scene, as it was asked for.

    Attributes:
        shape: one of SHAPES or NEW_SHAPES.
        color: one of COLORS.
        texture: one of TEXTURES.
        size: one of SIZES.
        center: (x, y) in pixels.
        radius: distance of the farthest corner from the centre, in pixels.
        angle: turn in radians, clockwise.
        squeeze: width over its natural width, 0.85 to 1.
    """

    shape: str
    color: str
    texture: str
    size: str
    center: tuple[float, float]
    radius: float
    angle: float
    squeeze: float

    @property
    def name(self) -> str:
        """Colour and shape, such as "red star"."""
        return f"{self.color} {self.shape}"
