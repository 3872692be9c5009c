"""How much pictures are changed in training."""

from dataclasses import dataclass

from groundling.errors import ConfigError
from groundling.keywords import closest
from groundling.processing.sizes import DEFAULT_LONGEST_EDGE

PRESETS = ("none", "light", "paper")
"""Pictures as they are; flips and sizes; flips, sizes and crops as DETR and its successors are trained."""

_DETR_EDGE = 800
_DETR_EDGES = tuple(range(480, _DETR_EDGE + 1, 32))
_DETR_EDGES_BEFORE_CROP = (400, 500, 600)
_DETR_CROP_SIDES = (384, 600)
_LENGTHS = ("shortest_edges", "shortest_edges_before_crop", "crop_sides")
_SHARES = {
    "flip": 1.0,
    "crop": 1.0,
    "smallest_visible": 1.0,
    "brightness": 1.0,
    "contrast": 1.0,
    "saturation": 1.0,
    "hue": 0.5,
}
_LIGHT_SHARES = (0.8, 0.85, 0.9, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class AugmentSettings:
    """How much pictures are changed; the values as they are here change nothing.

    Attributes:
        flip: chance of a mirror image.
        shortest_edges: one of these becomes the picture's shorter side, in pixels; empty: the size stays.
        longest_edge: most pixels of the longer side.
        crop: chance that a part is cut out before the picture gets its size.
        shortest_edges_before_crop: one of these becomes the shorter side before the cut, in pixels; empty: no change.
        crop_sides: least and most pixels of each side of that part.
        smallest_visible: a box of which a cut leaves a smaller share of the area is dropped, 0..1.
        brightness: colours are multiplied by up to so much more or less, 0..1.
        contrast: likewise the distance from the picture's mean grey, 0..1.
        saturation: likewise the distance from each pixel's own grey, 0..1.
        hue: colours turn by up to this part of the colour circle, 0..0.5. Not for labels that name colours.
    """

    flip: float = 0.0
    shortest_edges: tuple[int, ...] = ()
    longest_edge: int = DEFAULT_LONGEST_EDGE
    crop: float = 0.0
    shortest_edges_before_crop: tuple[int, ...] = ()
    crop_sides: tuple[int, int] = _DETR_CROP_SIDES
    smallest_visible: float = 0.1
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        for name in _LENGTHS:
            lengths = getattr(self, name)
            if not isinstance(lengths, list | tuple) or not all(_is_side(side) for side in lengths):
                raise ConfigError(f"{name}={lengths!r} must be a list of whole numbers of pixels, each at least 1.")
            object.__setattr__(self, name, tuple(lengths))  # TOML has lists
        for name, largest in _SHARES.items():
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= largest:
                raise ConfigError(f"{name}={share!r} must be a number in 0..{largest:g}.")
        if not _is_side(self.longest_edge):
            raise ConfigError(f"longest_edge={self.longest_edge!r} must be a whole number of pixels of at least 1.")
        if len(self.crop_sides) != 2 or self.crop_sides[0] > self.crop_sides[1]:
            raise ConfigError(f"crop_sides={self.crop_sides} must be two numbers of pixels, the least and the most.")


def preset(name: str, *, shortest_edge: int = _DETR_EDGE, longest_edge: int = DEFAULT_LONGEST_EDGE) -> AugmentSettings:
    """Return the settings of a preset for a model that sees pictures of a given size.

    The published recipe is made for 800 pixels; for another size all its lengths change in proportion.

    Args:
        name: one of PRESETS.
        shortest_edge: shorter side of the pictures that the model sees, in pixels.
        longest_edge: most pixels of the longer side.

    Raises:
        ConfigError: there is no such preset, or a size is below 1.
    """
    if name not in PRESETS:
        close = closest(name, PRESETS)
        hint = f"Did you mean {close!r}?" if close else f"Use one of {', '.join(PRESETS)}."
        raise ConfigError(f"The augmentation {name!r} is unknown. {hint}")
    if not _is_side(shortest_edge) or not _is_side(longest_edge):
        raise ConfigError(f"shortest_edge={shortest_edge} and longest_edge={longest_edge} must be at least 1 pixel.")
    if name == "none":
        return AugmentSettings(longest_edge=longest_edge)
    if name == "light":
        edges = tuple(max(1, round(share * shortest_edge)) for share in _LIGHT_SHARES)
        return AugmentSettings(flip=0.5, shortest_edges=edges, longest_edge=longest_edge)

    def scaled(lengths: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(max(1, round(length * shortest_edge / _DETR_EDGE)) for length in lengths)

    least, most = scaled(_DETR_CROP_SIDES)
    return AugmentSettings(
        flip=0.5,
        shortest_edges=scaled(_DETR_EDGES),
        longest_edge=longest_edge,
        crop=0.5,
        shortest_edges_before_crop=scaled(_DETR_EDGES_BEFORE_CROP),
        crop_sides=(least, most),
    )


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
