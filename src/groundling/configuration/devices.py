"""Devices by name."""

from typing import TYPE_CHECKING

from groundling.errors import ConfigError

if TYPE_CHECKING:
    import torch


def check_device(device: "str | torch.device | None") -> "torch.device":
    """Return a device that is there; a mistake should not wait for a model to be loaded.

    Args:
        device: its name; None is CUDA where there is any, else the CPU.

    Raises:
        ConfigError: there is no such device here.
    """
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"The device {str(device)!r} cannot be used ({str(error).splitlines()[0]}). Use for example 'cpu'."
        ) from error
    return place
