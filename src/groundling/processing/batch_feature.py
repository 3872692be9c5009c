"""The mapping that processors return: names to tensors, ready for `model(**features)`."""

from collections import UserDict
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch

TENSOR_TYPES = ("pt", "np")


def check_tensor_type(return_tensors: object) -> str | None:
    """Return "pt", "np" or None.

    Raises:
        ValueError: anything else was given.
    """
    if return_tensors is None:
        return None
    if isinstance(return_tensors, str) and return_tensors in TENSOR_TYPES:
        return return_tensors
    raise ValueError(
        f"return_tensors={return_tensors!r} is not a valid tensor type. "
        f"Use 'pt' for torch tensors, 'np' for numpy arrays or None for the values as they are."
    )


class BatchFeature(UserDict[str, Any]):
    """Values of a batch by name; `features.pixel_values` and `features["pixel_values"]` are the same.

    Args:
        data: the values.
        tensor_type: "pt" or "np" converts every value (see `convert_to_tensors`); None keeps them as they are.
    """

    def __init__(self, data: Mapping[str, Any] | None = None, tensor_type: str | None = None) -> None:
        super().__init__(data)
        self.convert_to_tensors(tensor_type)

    def __getitem__(self, key: str) -> Any:
        if not isinstance(key, str):
            raise KeyError(f"A batch is indexed by name, not by {key!r}. It has: {', '.join(self.data)}.")
        return self.data[key]

    def __getattr__(self, name: str) -> Any:
        # `data` itself is missing while pickle rebuilds the object
        data = self.__dict__.get("data", {})
        if name not in data:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return data[name]

    def convert_to_tensors(self, tensor_type: str | None = None) -> Self:
        """Convert every value to a torch tensor ("pt") or a numpy array ("np"), in place.

        Raises:
            ValueError: the tensor type is unknown, or a value has rows of different lengths.
        """
        tensor_type = check_tensor_type(tensor_type)
        if tensor_type is None:
            return self
        for key, value in self.data.items():
            try:
                self.data[key] = _torch_tensor(value) if tensor_type == "pt" else _numpy_array(value)
            except (ValueError, TypeError, RuntimeError) as error:
                raise ValueError(
                    f"Unable to convert output {key!r} (type: {type(value).__name__}) to tensor: {error}. "
                    "You can try: 1. Use padding=True so that all rows have the same length. "
                    "2. Set return_tensors=None to get plain values."
                ) from error
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move every tensor to a device and cast the floating ones to a dtype, in place.

        Takes what `torch.Tensor.to` takes: a device, a dtype, both, or the keywords `device`, `dtype` and
        `non_blocking`. Lists and tuples of tensors are followed; the `labels` of a batch are not.

        Raises:
            ValueError: the first argument is neither a device nor a dtype.
        """
        if args and not isinstance(args[0], str | int | torch.device | torch.dtype):
            raise ValueError(
                f"Attempting to cast a BatchFeature to type {args[0]}. This is not supported: give a device or a dtype."
            )
        device = kwargs.get("device")
        if device is None and args and not isinstance(args[0], torch.dtype):
            device = args[0]
        self.data = {key: _moved(value, device, args, kwargs) for key, value in self.data.items()}
        return self


def _moved(value: Any, device: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if isinstance(value, list | tuple):
        parts = [_moved(part, device, args, kwargs) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    if not isinstance(value, torch.Tensor):
        return value
    if value.is_floating_point():
        return value.to(*args, **kwargs)
    return value if device is None else value.to(device=device, non_blocking=kwargs.get("non_blocking", False))


def _torch_tensor(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(part, torch.Tensor) for part in value):
        return torch.stack(list(value))
    return torch.as_tensor(np.asarray(value))


def _numpy_array(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, list | tuple) and len(value) > 0 and all(isinstance(part, torch.Tensor) for part in value):
        return np.stack([part.detach().cpu().numpy() for part in value])
    return np.asarray(value)
