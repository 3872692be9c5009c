"""What every model class shares: its configuration, its type and device, loading and saving."""

import os
from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import nn

from groundling.checkpoint import Checkpoint, fit, load_checkpoint, save_checkpoint
from groundling.configuration import DetectorConfig, float_type
from groundling.errors import ConfigError
from groundling.files import locate, split_hub_options
from groundling.keywords import check_keywords
from groundling.model.initialization import shapes_only

_WITHOUT_EFFECT = frozenset({"attn_implementation", "low_cpu_mem_usage", "trust_remote_code", "use_safetensors"})
"""Options of other libraries that people pass and that could change nothing here."""

Model = TypeVar("Model", bound="PretrainedModel")


class PretrainedModel(nn.Module):
    """A model that is built from a configuration and can be loaded and saved.

    Args:
        config: sizes of the model, of the class that belongs to this model.

    Raises:
        ConfigError: the configuration belongs to another family.
    """

    config_class: ClassVar[type[DetectorConfig]]

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        if not isinstance(config, self.config_class):
            raise ConfigError(
                f"{type(self).__name__} is built from a {self.config_class.__name__}, but got a "
                f"{type(config).__name__}. AutoModelForZeroShotObjectDetection chooses the class by the checkpoint."
            )
        config.validate()
        self.config = config

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return next(self.parameters()).device

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Return the number of parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad or not only_trainable)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        config: DetectorConfig | None = None,
        dtype: torch.dtype | str | None = None,
        device_map: torch.device | str | None = None,
        **options: Any,
    ) -> Self:
        """Load a checkpoint of any known layout, in evaluation mode. Local files are used before the network.

        Args:
            name: a folder in the Hugging Face layout, a hub id, or a single file: safetensors, original `.pth`,
                MMDetection `.pth`.
            config: replaces the checkpoint's own configuration.
            dtype: type to convert the parameters to; None keeps the checkpoint's.
            device_map: device to load to; "auto" is the GPU where there is one.
            **options: hub options (see `groundling.files.HubOptions`); every other keyword overrides a value of the
                configuration. Options that could change nothing (`attn_implementation`, `low_cpu_mem_usage`,
                `trust_remote_code`, `use_safetensors`) have no effect.

        Raises:
            CheckpointError: files are missing or damaged, or tensors are missing, unexpected or of the wrong shape.
            ConfigError: the configuration is invalid or belongs to another family.
        """
        return load_pretrained(lambda _: cls, name, config=config, dtype=dtype, device_map=device_map, **options)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, source: str, **overrides: Any) -> Self:
        """Build the model of a checkpoint that is in memory, in evaluation mode.

        Args:
            checkpoint: configuration and tensors.
            source: what the checkpoint is called, for error messages.
            **overrides: values of the configuration to replace.

        Raises:
            CheckpointError: tensors are missing, unexpected or of the wrong shape.
            ConfigError: the configuration is invalid or belongs to another family.
        """
        config = _overridden(checkpoint.config, overrides)
        with shapes_only():
            model = cls(config)
        expected = {key: tensor.shape for key, tensor in model.state_dict().items()}
        fitting = fit(checkpoint.state_dict, expected, source=source)
        # A copy: tensors that a file is mapped to would change with the file.
        model.load_state_dict({key: tensor.clone() for key, tensor in fitting.items()}, assign=True)
        return model.eval()

    def save_pretrained(self, folder: str | os.PathLike[str], *, max_shard_size: int | str = "5GB") -> None:
        """Write `config.json` and `model.safetensors` in the Hugging Face layout, which transformers loads too.

        An earlier checkpoint in the folder stays whole until the new one is complete.

        Args:
            folder: where to write; made if it does not exist.
            max_shard_size: split the tensors over several files above this size, in bytes or such as "5GB".
        """
        save_checkpoint(
            self.state_dict(),
            self.config,
            folder,
            architecture=type(self).__name__,
            max_shard_size=max_shard_size,
        )


def load_pretrained(
    choose: Callable[[DetectorConfig], type[Model]],
    name: str | os.PathLike[str],
    *,
    config: DetectorConfig | None = None,
    dtype: torch.dtype | str | None = None,
    device_map: torch.device | str | None = None,
    **options: Any,
) -> Model:
    """Load a checkpoint as the class that `choose` names for its configuration.

    The other arguments, the result and the errors are those of `PretrainedModel.from_pretrained`.
    """
    hub, settings = split_hub_options(options)
    older_dtype = settings.pop("torch_dtype", None)
    dtype = older_dtype if dtype is None else dtype
    if device_map is not None and not isinstance(device_map, str | torch.device):
        raise ConfigError(f"device_map={device_map!r} must be one device or 'auto'; there is no sharding.")
    checkpoint = load_checkpoint(locate(name, **hub), config=config)
    overrides = {key: value for key, value in settings.items() if key not in _WITHOUT_EFFECT}
    model = choose(checkpoint.config).from_checkpoint(checkpoint, source=os.fspath(name), **overrides)
    if dtype is not None and dtype != "auto":
        model = model.to(float_type(dtype))
    if device_map is not None:
        device = ("cuda" if torch.cuda.is_available() else "cpu") if device_map == "auto" else device_map
        model = model.to(device)
    return model


def _overridden(config: DetectorConfig, overrides: dict[str, Any]) -> DetectorConfig:
    known = {
        *type(config).own_fields(),
        *type(config).aliases,
        "output_attentions",
        "output_hidden_states",
        "return_dict",
    }
    check_keywords("from_pretrained", overrides, known)
    return type(config).from_dict(config.to_dict(), **overrides) if overrides else config
