"""Low-rank adapters (Hu et al. 2021) through peft: put on, written beside the model, read again, merged.

Adapted layers stay linear layers of the detector: a product of two small matrices is added to each, and nothing else of
the base changes. The files are peft's own, so `peft.PeftModel.from_pretrained(detector, folder)` reads them too.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from groundling.errors import CheckpointError, ConfigError, missing_extra
from groundling.files import atomic_path, read_json, write_json
from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.model.initialization import shapes_only
from groundling.train.settings import LoraSettings

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

_NAME = "default"
_PREFIX = "base_model.model."
"""What peft writes before every name."""

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


def add_adapters(detector: GroundingDinoForObjectDetection, settings: LoraSettings) -> None:
    """Put fresh adapters on a detector; nothing but them and the parts of `settings.train` is trained from then on.

    Fresh adapters change no result. Frozen layers (whose weights require no gradient) get none.

    Args:
        detector: changed in place.
        settings: rank, scale, and which layers.

    Raises:
        ConfigError: an ending names no linear layer, or a part is no module of the detector.
        MissingExtraError: peft is not installed.
    """
    parts = _whole_parts(detector, settings.train)
    targets = _linear_layers(detector, settings.targets, parts)
    trained = {name for name, parameter in detector.named_parameters() if parameter.requires_grad}
    _inject(detector, {"r": settings.rank, "lora_alpha": settings.alpha, "target_modules": targets})
    _adapter_config(detector).modules_to_save = parts
    for name, parameter in detector.named_parameters():
        if name in trained and _is_in(name, parts):
            parameter.requires_grad_(True)


def has_adapters(detector: nn.Module) -> bool:
    """Say whether a detector has adapters."""
    return hasattr(detector, "peft_config")


def merged_state(detector: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a detector under their plain names, with its adapters added in; it is not changed.

    Without adapters these are the detector's own tensors.
    """
    modules = dict(detector.named_modules())
    merged = {}
    for name, tensor in detector.state_dict().items():
        if _is_adapter(name):
            continue
        owner, is_adapted, kind = name.rpartition(".base_layer.")
        if is_adapted and kind == "weight":
            tensor = tensor + cast(Any, modules[owner]).get_delta_weight(_NAME).detach()
        merged[f"{owner}.{kind}" if is_adapted else name] = tensor
    return merged


def save_adapter(
    detector: GroundingDinoForObjectDetection,
    folder: str | Path,
    *,
    start: Mapping[str, Tensor] | None = None,
    blend: float = 1.0,
) -> None:
    """Write the adapters of a detector, and the parts that are trained in full beside them, in peft's layout.

    Args:
        detector: has adapters.
        folder: where to write; made if it does not exist.
        start: with `blend`: the weights before training, by plain name.
        blend: WiSE-FT: the share of the change that is written.
    """
    config = _adapter_config(detector)
    tensors = {}
    for name, tensor in detector.state_dict().items():
        if _is_adapter(name):
            share = blend if ".lora_B." in name else 1.0
            tensors[_PREFIX + name.replace(f".{_NAME}.", ".")] = tensor * share
        elif _is_in(name, config.modules_to_save or ()):
            tensors[_PREFIX + name] = tensor if start is None else blended(start[name], tensor, blend)
    folder = Path(folder)
    with atomic_path(folder / WEIGHTS_FILE) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary)
    values = {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}
    write_json(folder / CONFIG_FILE, values | {"inference_mode": True})


def blended(start: Tensor, trained: Tensor, share: float) -> Tensor:
    """Go a share of the way from one tensor to another; what is not a floating-point number is the trained one."""
    if not trained.is_floating_point():
        return trained
    first = start.to(trained.device, trained.dtype)
    return first + share * (trained - first)


def load_adapter(detector: GroundingDinoForObjectDetection, folder: str | Path) -> None:
    """Put an adapter from its files on the detector that it was trained on. Its results are then the trained ones.

    The base's weights stay as they are, except the parts that were trained in full, which are replaced.

    Args:
        detector: the base, changed in place.
        folder: with `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        CheckpointError: the files are missing or damaged, are no LoRA adapter, or belong to another model.
        ConfigError: the detector has adapters already.
        MissingExtraError: peft is not installed.
    """
    if has_adapters(detector):
        raise ConfigError("The detector has adapters already. Load the base model again, or merge them first.")
    config, tensors = _read(Path(folder))
    parts = list(config.get("modules_to_save") or ())
    own = detector.state_dict()
    whole = {name: tensor for name, tensor in tensors.items() if not _is_adapter(name)}
    layers = {name.partition(".lora_")[0] for name in tensors if _is_adapter(name)}
    misfits = [name for name, tensor in whole.items() if name not in own or own[name].shape != tensor.shape]
    linear = {name for name, module in detector.named_modules() if isinstance(module, nn.Linear)}
    misfits += sorted(layers - linear)
    if misfits:
        raise CheckpointError(
            f"The adapter in {folder} belongs to another model: {min(misfits)} does not fit this one."
        )
    _inject(detector, {"r": config["r"], "lora_alpha": config["lora_alpha"], "target_modules": sorted(layers)})
    _adapter_config(detector).modules_to_save = parts
    small = {
        name.replace(".weight", f".{_NAME}.weight"): tensor for name, tensor in tensors.items() if name not in whole
    }
    try:
        missing = set(filter(_is_adapter, detector.state_dict())) - set(small)
        unknown = detector.load_state_dict(small | whole, strict=False).unexpected_keys
    except RuntimeError as error:  # how torch reports tensors of another shape
        raise CheckpointError(f"The adapter in {folder} belongs to another model: {error}") from error
    if missing or unknown:
        raise CheckpointError(f"The adapter in {folder} is not complete: {min([*missing, *unknown])} does not fit.")


def merge_adapter(detector: GroundingDinoForObjectDetection, folder: str | Path) -> GroundingDinoForObjectDetection:
    """Return a detector whose weights are those of a base with an adapter added in; the base is not changed.

    Raises:
        CheckpointError: see `load_adapter`.
        MissingExtraError: peft is not installed.
    """
    adapted = plain_copy(detector, detector.state_dict())
    load_adapter(adapted, folder)
    return plain_copy(adapted, merged_state(adapted))


def plain_copy(
    detector: GroundingDinoForObjectDetection, state: Mapping[str, Tensor]
) -> GroundingDinoForObjectDetection:
    """Return a detector of the same configuration with copies of the given weights, in evaluation mode."""
    with shapes_only():
        model = type(detector)(detector.config)
    model.load_state_dict({name: tensor.detach().clone() for name, tensor in state.items()}, assign=True)
    return model.eval()


def _inject(detector: nn.Module, values: Mapping[str, Any]) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise missing_extra("peft", "lora", "LoRA") from error
    inject_adapter_in_model(LoraConfig(**values, lora_dropout=0.0, bias="none"), detector, adapter_name=_NAME)


def _adapter_config(detector: nn.Module) -> Any:
    return cast(Any, detector).peft_config[_NAME]


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config = read_json(folder / CONFIG_FILE)
    odd = next((key for key in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern") if config.get(key)), None)
    if config.get("peft_type") != "LORA" or odd or not {"r", "lora_alpha"} <= config.keys():
        raise CheckpointError(
            f"{folder / CONFIG_FILE} describes no plain LoRA adapter"
            f"{f' ({odd} is set)' if odd else ''}. Merge it with peft, and use the merged model."
        )
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder / WEIGHTS_FILE} cannot be read: {error}.") from error
    return config, {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}


def _linear_layers(detector: nn.Module, endings: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Return the names of the linear layers with one of the endings that are neither frozen nor trained in full."""
    linear = {name: module for name, module in detector.named_modules() if isinstance(module, nn.Linear)}
    for ending in endings:
        if not any(_ends(name, ending) for name in linear):
            known = sorted({name.rpartition(".")[2] for name in linear if not name.rpartition(".")[2].isdigit()})
            raise ConfigError(
                f"lora.targets names {ending!r}, but no linear layer's name ends so. There are {', '.join(known)}."
            )
    found = [
        name
        for name, module in linear.items()
        if any(_ends(name, ending) for ending in endings) and module.weight.requires_grad and not _is_in(name, parts)
    ]
    if not found:
        raise ConfigError(
            "lora.targets leaves no layer for adapters: all of them are frozen by model.freeze or trained in full by "
            "lora.train. Name others, or set lora.rank=0."
        )
    return found


def _whole_parts(detector: nn.Module, starts: Sequence[str]) -> list[str]:
    """Return the modules whose names begin so, each as large as possible, without what is frozen or has no weights."""
    found: list[str] = []
    for start in starts:
        matching = [
            name
            for name, module in detector.named_modules()
            if _is_in(name, [start]) and not isinstance(module, _CONTAINERS)
        ]
        if not matching and start not in dict(detector.named_modules()):
            parts = sorted({".".join(name.split(".")[:2]) for name, _ in detector.named_parameters()})
            raise ConfigError(
                f"lora.train names {start!r}, but no part of the model is called so. There are {', '.join(parts)}."
            )
        for name in matching:
            is_trained = any(p.requires_grad for p in detector.get_submodule(name).parameters())
            if is_trained and not _is_in(name, found):
                found.append(name)
    return found


def _is_adapter(name: str) -> bool:
    return ".lora_" in name


def _ends(name: str, ending: str) -> bool:
    return name == ending or name.endswith(f".{ending}")


def _is_in(name: str, parts: Sequence[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)
