"""The settings of a run: `run.toml` as typed values."""

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from groundling.data.augment import PRESETS
from groundling.data.sampling import PromptSampling
from groundling.errors import ConfigError
from groundling.keywords import closest
from groundling.objective.denoising import Denoising

Settings = TypeVar("Settings")

PRECISIONS = ("float32", "bf16")
SCHEDULES = ("constant", "cosine", "steps")
MOST_SEEDS = 2**31

SMALLEST_SIDE, LARGEST_SIDE = 32, 8192
"""Pixels. A smaller picture has no cell on the coarsest level; a larger one does not fit into any memory."""

MOST_RANKS = 1024
LARGEST_INTEGER = 2**63
_UNBOUNDED = math.inf


def _require(
    settings: object, name: str, least: float, most: float = _UNBOUNDED, *, open_: str = "", within: str = ""
) -> None:
    """Refuse numbers outside of a range.

    Args:
        settings: has the attribute `name`, a number or several.
        name: of the setting.
        least: smallest value.
        most: largest value.
        open_: "[" or "]" or both: this end does not belong to the range.
        within: what the message writes before the name.
    """
    value = getattr(settings, name)
    for number in value if isinstance(value, tuple) else (value,):
        above = number > least if "[" in open_ else number >= least
        below = number < most if "]" in open_ or most == _UNBOUNDED else number <= most
        if not (above and below and math.isfinite(number)):
            lower = f"more than {least:g}" if "[" in open_ else f"at least {least:g}"
            upper = "" if most == _UNBOUNDED else f" and {'less than' if ']' in open_ else 'at most'} {most:g}"
            raise ConfigError(f"{within}{name}={number:g} must be {lower}{upper}.")


def _require_one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        close = closest(value, allowed)
        hint = f"Did you mean {close!r}?" if close else f"Use one of {', '.join(allowed)}."
        raise ConfigError(f"{name}={value!r} is unknown. {hint}")


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Where training starts.

    Attributes:
        start: a checkpoint (folder, file, hub id), or with `fresh` a folder with `config.json`, image processor and
            tokenizer.
        fresh: begin with random weights instead of a checkpoint's.
        freeze: parts that are not trained, by the beginning of their parameters' names, such as "model.text_backbone".
        gradient_checkpointing: compute the backbone's and the enhancer's layers again in the backward pass instead of
            keeping their values: less memory, more time.
    """

    start: str = ""
    fresh: bool = False
    freeze: tuple[str, ...] = ()
    gradient_checkpointing: bool = False


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How pictures are changed; see `groundling.data.augment`.

    Attributes:
        preset: "none", "light" or "paper": mirror images, sizes and crops.
        brightness: colours are multiplied by up to so much more or less, 0..1.
        contrast: likewise the distance from the picture's mean grey, 0..1.
        saturation: likewise the distance from each pixel's own grey, 0..1.
        hue: colours turn by up to this part of the colour circle, 0..0.5. Not for labels that name colours.
    """

    preset: str = "none"
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        _require_one_of("preset", self.preset, PRESETS)
        for name in ("brightness", "contrast", "saturation"):
            _require(self, name, 0, 1)
        _require(self, "hue", 0, 0.5)


@dataclass(frozen=True, slots=True)
class DataSettings:
    """What is learned from.

    Attributes:
        train: data sets as `groundling.data.open.open_dataset` takes them; `weight` says how often each is drawn from.
        replay: likewise, data of what the model already knows.
        replay_share: part of the pictures that come from `replay`.
        augment: how pictures are changed: the name of a preset, "none", "light" or "paper", or an `Augmentation`.
        sides: pictures are resized to squares with one of these sides, the same for a whole step, in place of the sizes
            of the augmentation or the image processor; for models of square pictures.
        workers: processes that prepare pictures; 0 prepares them in the training process.
    """

    train: tuple[Mapping[str, Any], ...] = ()
    replay: tuple[Mapping[str, Any], ...] = ()
    replay_share: float = 0.25
    augment: str | Augmentation = "none"
    sides: tuple[int, ...] = ()
    workers: int = 2

    def __post_init__(self) -> None:
        _require(self, "replay_share", 0, 1, open_="]")
        _require(self, "workers", 0)
        _require(self, "sides", SMALLEST_SIDE, LARGEST_SIDE)
        if isinstance(self.augment, str):
            _require_one_of("augment", self.augment, PRESETS)

    @property
    def augmentation(self) -> Augmentation:
        """How pictures are changed, in full."""
        return Augmentation(self.augment) if isinstance(self.augment, str) else self.augment


@dataclass(frozen=True, slots=True)
class OptimizerSettings:
    """AdamW and its schedule.

    Attributes:
        steps: optimizer steps of the whole run.
        batch_size: pictures of a step, over all processes and accumulated parts.
        accumulate: parts that a step's pictures are computed in on each process.
        learning_rate: of everything but the backbones.
        image_backbone: factor of the learning rate for the image backbone; 0 freezes nothing but moves nothing.
        text_backbone: factor for the text backbone.
        weight_decay: of matrices; norms, biases and embeddings of positions have none.
        beta2: decay of AdamW's second moment.
        warmup: steps over which the learning rate rises from 0.
        schedule: "constant", "cosine" to `final`, or "steps", a tenth after each of `milestones`.
        milestones: shares of `steps` in 0..1.
        final: what is left of the learning rate at the end of "cosine".
        clip: largest norm of the gradients.
    """

    steps: int = 1000
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 1e-4
    image_backbone: float = 0.1
    text_backbone: float = 0.1
    weight_decay: float = 1e-4
    beta2: float = 0.999
    warmup: int = 100
    schedule: str = "cosine"
    milestones: tuple[float, ...] = (0.67, 0.92)
    final: float = 0.01
    clip: float = 0.1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate"):
            _require(self, name, 1)
        for name in ("image_backbone", "text_backbone", "weight_decay", "warmup"):
            _require(self, name, 0)
        for name in ("learning_rate", "clip"):
            _require(self, name, 0, open_="[")
        for name in ("milestones", "final"):
            _require(self, name, 0, 1)
        _require(self, "beta2", 0, 1, open_="]")
        _require_one_of("schedule", self.schedule, SCHEDULES)


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """Low-rank adapters (Hu et al. 2021) instead of training all weights.

    Attributes:
        rank: 0 trains all weights.
        alpha: scale of the adapters' update.
        targets: linear layers that get adapters, by the end of their names.
        train: parts that are trained in full beside them, by the beginning of their parameters' names.
    """

    rank: int = 0
    alpha: float = 16.0
    targets: tuple[str, ...] = ("query", "key", "value", "output", "fc1", "fc2")
    train: tuple[str, ...] = ("box_heads", "contrastive_heads", "model.query_selection")

    def __post_init__(self) -> None:
        _require(self, "rank", 0, MOST_RANKS)
        _require(self, "alpha", 0, open_="[")


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What is written while training, and how often, in steps; 0 is never.

    Attributes:
        metrics: losses to metrics.jsonl and TensorBoard.
        pictures: predictions drawn on pictures.
        checkpoint: everything needed to resume.
        validate: the target metric and the probes.
    """

    metrics: int = 10
    pictures: int = 0
    checkpoint: int = 200
    validate: int = 0

    def __post_init__(self) -> None:
        for name in ("metrics", "pictures", "checkpoint", "validate"):
            _require(self, name, 0)


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """A data set that is evaluated during training.

    Attributes:
        name: what its metrics are called.
        data: as `groundling.data.open.open_dataset` takes it.
        pictures: evaluate the first so many.
    """

    name: str = "target"
    data: Mapping[str, Any] = field(default_factory=dict)
    pictures: int = 200

    def __post_init__(self) -> None:
        _require(self, "pictures", 1)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """A training run.

    Attributes:
        output: folder of the run.
        seed: of the weights, the order of the pictures, prompts, augmentation and noise.
        precision: "float32" or "bf16", the type of most computations; weights are float32.
        ema: decay of the averaged weights, which are what is saved and evaluated; 0 is none.
        blend: WiSE-FT (Wortsman et al. 2022): the saved model is this share of the way from the start to the trained
            weights; 1 is the trained weights.
        model: where it starts.
        data: what it learns from.
        prompt: how names become prompts.
        denoising: settings of the denoising queries; a budget of 0 trains without them.
        optimizer: AdamW and its schedule.
        lora: adapters.
        report: what is written.
        validate: data sets that are evaluated; the first is the target, the others show what is forgotten.
    """

    output: str = ""
    seed: int = 0
    precision: str = "float32"
    ema: float = 0.0
    blend: float = 1.0
    model: ModelSettings = field(default_factory=ModelSettings)
    data: DataSettings = field(default_factory=DataSettings)
    prompt: PromptSampling = field(default_factory=PromptSampling)
    denoising: Denoising = field(default_factory=Denoising)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    lora: LoraSettings = field(default_factory=LoraSettings)
    report: ReportSettings = field(default_factory=ReportSettings)
    validate: tuple[ValidationSettings, ...] = ()

    def __post_init__(self) -> None:
        _require(self, "seed", 0, MOST_SEEDS - 1)
        _require(self, "ema", 0, 1, open_="]")
        _require(self, "blend", 0, 1)
        _require_one_of("precision", self.precision, PRECISIONS)
        for name in ("budget", "box_noise"):
            _require(self.denoising, name, 0, within="denoising.")
        _require(self.denoising, "label_noise", 0, 1, within="denoising.")
        names = [one.name for one in self.validate]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"Two tables of [[validate]] have the same name: {', '.join(names)}. Name each differently."
            )


def read_run(path: str | Path, changes: Sequence[str] = ()) -> RunSettings:
    """Read `run.toml`.

    Args:
        path: the file.
        changes: single values to replace, such as "optimizer.steps=10"; the right side is TOML, or plain text.

    Raises:
        ConfigError: the file is not valid TOML, a key is unknown, or a value has the wrong type.
    """
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # also text that is not UTF-8, and numbers with thousands of digits
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    for change in changes:
        _change(values, change)
    return from_mapping(RunSettings, values, str(path))


def _change(values: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    keys = [key.strip() for key in name.split(".")]
    if not equals or not all(keys):
        raise ConfigError(f"--set {change!r} must look like optimizer.steps=100.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        value = text.strip()
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {change!r}: {key} is a value and has no parts.")
    values[keys[-1]] = value


def from_mapping(kind: type[Settings], values: Mapping[str, Any], place: str) -> Settings:
    """Build a dataclass from plain values, and those in it likewise.

    Args:
        kind: the dataclass.
        values: its values by name.
        place: where they stand, for messages.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is out of range.
    """
    hints = get_type_hints(kind)
    names = [one.name for one in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in values:
        if key not in names:
            guess = closest(key, names)
            hint = f" Did you mean {guess!r}?" if guess else f" It knows {', '.join(names)}."
            raise ConfigError(f"{place}: the key {key!r} is unknown.{hint}")
    typed = {key: _value(hints[key], value, f"{place}: {key}") for key, value in values.items()}
    try:
        return kind(**typed)
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error


def _value(hint: Any, value: Any, place: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_mapping(hint, _checked(Mapping, value, place, "a table"), place)
    if get_origin(hint) is tuple:
        items = _checked(Sequence, value, place, "a list")
        return tuple(_value(get_args(hint)[0], one, f"{place}[{index}]") for index, one in enumerate(items))
    if get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not types.NoneType]
        tables = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
        return _value(tables[0] if tables and isinstance(value, Mapping) else kinds[0], value, place)
    if get_origin(hint) is Mapping or hint is Mapping:
        return dict(_checked(Mapping, value, place, "a table"))
    if isinstance(value, int) and abs(value) >= LARGEST_INTEGER:
        raise ConfigError(f"{place} is a number beyond all reason. Use one below 2^63.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _checked(
        hint, value, place, {"str": "text", "int": "a whole number", "float": "a number"}.get(hint.__name__)
    )


def _checked(kind: Any, value: Any, place: str, expected: str | None) -> Any:
    is_wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
    if is_wrong or (kind is Sequence and isinstance(value, str)):
        raise ConfigError(f"{place} must be {expected or 'true or false'}, but is {value!r:.80}.")
    return value
