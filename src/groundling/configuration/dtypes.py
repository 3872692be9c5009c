"""Number formats by name."""

from typing import TYPE_CHECKING

from groundling.errors import ConfigError

if TYPE_CHECKING:
    import torch

FLOAT_TYPES = ("float32", "float16", "bfloat16", "float64")


def float_type_name(value: "torch.dtype | str") -> str:
    """Return the name of a floating-point type that a model can have, such as "float16".

    Args:
        value: torch's type, or its name with or without "torch.".

    Raises:
        ConfigError: it is none of `FLOAT_TYPES`.
    """
    name = str(value).removeprefix("torch.")
    if name not in FLOAT_TYPES:
        raise ConfigError(f"dtype={value!r} is not a floating-point type. Use {', '.join(FLOAT_TYPES)}.")
    return name


def float_type(value: "torch.dtype | str") -> "torch.dtype":
    """Return torch's type; see `float_type_name`."""
    import torch

    found: torch.dtype = getattr(torch, float_type_name(value))
    return found
