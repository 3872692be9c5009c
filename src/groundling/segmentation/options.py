"""How masks are made of what a segmenter says, and how they are cleaned."""

from dataclasses import dataclass

from groundling.errors import ConfigError


@dataclass(frozen=True)
class MaskOptions:
    """How boxes become masks.

    Attributes:
        best_of_three: let the segmenter propose three masks for each box and keep the one that it thinks best, instead
            of its single mask. It helps where a box is loose or holds several things.
        fill_holes: fill holes of up to so many pixels; 0 fills none. A hole is surrounded by its mask: what reaches the
            picture's edge is none.
        drop_islands: drop parts of a mask with fewer pixels than this; 0 drops none. The largest part always stays.
        chunk: most boxes decoded at a time; it changes speed and memory, not results.

    Raises:
        ConfigError: a value is not possible.
    """

    best_of_three: bool = False
    fill_holes: int = 0
    drop_islands: int = 0
    chunk: int = 16

    def __post_init__(self) -> None:
        if not isinstance(self.best_of_three, bool):
            raise ConfigError(f"best_of_three must be True or False, got {self.best_of_three!r}.")
        for name, least, unit in (("fill_holes", 0, "pixels"), ("drop_islands", 0, "pixels"), ("chunk", 1, "boxes")):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{name} must be a whole number of {unit}, {least} or more, got {value!r}.")


USUAL_MASKS = MaskOptions()


def check_mask_options(options: object) -> None:
    """Refuse what is no MaskOptions.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(options, MaskOptions):
        raise ConfigError(f"masks must be MaskOptions, got {options!r}. Give such as MaskOptions(fill_holes=20).")
