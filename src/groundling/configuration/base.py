"""What all configurations share: typed fields, aliases, JSON in the Hugging Face layout."""

import copy
import functools
import json
import os
import types
import typing
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from groundling.configuration.dtypes import float_type, float_type_name
from groundling.errors import ConfigError
from groundling.files import locate, read_json, split_hub_options, write_json
from groundling.keywords import closest

if TYPE_CHECKING:
    import torch

CONFIG_NAME = "config.json"


class Config:
    """A set of typed, named values; keyword arguments only.

    A subclass declares a field as an annotated class attribute with its default. Every value is checked when it is
    set, also later by assignment. Keys that are not fields are kept as attributes and written back, so that a file
    with more keys than this version knows survives a round trip.

    The fields declared here belong to every Hugging Face configuration; they are written only where they differ from
    their default.

    Raises:
        ConfigError: a value has the wrong type or is out of range, or values contradict each other.
    """

    model_type: ClassVar[str] = ""
    aliases: ClassVar[Mapping[str, str]] = {}

    architectures: list[str] | None = None
    output_hidden_states: bool = False
    output_attentions: bool = False
    return_dict: bool = True
    chunk_size_feed_forward: int = 0
    is_encoder_decoder: bool = False
    id2label: dict[int, str] | None = None
    label2id: dict[str, int] | None = None
    problem_type: str | None = None
    name_or_path: str = ""
    transformers_version: str | None = None

    def __init__(self, *positional: object, **values: Any) -> None:
        if positional:
            name = type(self).__name__
            raise ConfigError(
                f"{name} accepts only keyword arguments, but found {len(positional)} positional ones. "
                f"Write for example {name}({next(iter(self.own_fields()))}=...)."
            )
        self._fill(values, point_out_typos=True)

    def _fill(self, values: dict[str, Any], *, point_out_typos: bool) -> None:
        self._dtype: str | None = None
        values = self._prepare(dict(values))
        for field in self._fields():
            setattr(self, field, values.pop(field) if field in values else copy.copy(getattr(type(self), field)))
        for key, value in values.items():
            if not isinstance(key, str) or (key != "dtype" and hasattr(type(self), key)):
                raise ConfigError(f"{type(self).__name__} cannot keep the unknown key {key!r}: the name is taken.")
            if point_out_typos:
                self._warn_if_misspelt(key)
            setattr(self, key, value)
        self.validate()

    def _prepare(self, values: dict[str, Any]) -> dict[str, Any]:
        """Translate the keywords of the Hugging Face layout to fields."""
        for key in ("model_type", "_attn_implementation", "attn_implementation"):
            values.pop(key, None)
        for old, new in (("torch_dtype", "dtype"), ("_name_or_path", "name_or_path"), *self.aliases.items()):
            if old in values:
                values.setdefault(new, values.pop(old))
        num_labels = values.pop("num_labels", None)
        labels = values.get("id2label")
        if labels is not None and not (isinstance(labels, dict) and all(str(key).isdecimal() for key in labels)):
            raise ConfigError(f"{type(self).__name__}.id2label must map numbers to names, got {labels!r:.80}.")
        if num_labels is not None and not (type(num_labels) is int and 0 <= num_labels <= _MOST_LABELS):
            raise ConfigError(f"{type(self).__name__}.num_labels must be a number, at most {_MOST_LABELS}.")
        if labels is not None:
            values["id2label"] = {int(index): label for index, label in values["id2label"].items()}
            values.setdefault("label2id", {label: index for index, label in values["id2label"].items()})
        elif num_labels is not None:
            values["id2label"] = {index: f"LABEL_{index}" for index in range(num_labels)}
            values["label2id"] = {label: index for index, label in values["id2label"].items()}
        return values

    def validate(self) -> None:
        """Check what concerns several fields at once; called at construction and before saving.

        Raises:
            ConfigError: the fields contradict each other.
        """

    @classmethod
    def own_fields(cls) -> dict[str, Any]:
        """Names and types of the fields that this kind of configuration adds to the common ones."""
        fields: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            if base not in (object, Config):
                fields.update(_field_types(base))
        return fields

    @classmethod
    def _fields(cls) -> dict[str, Any]:
        return {**_field_types(Config), **cls.own_fields()}

    def __setattr__(self, name: str, value: Any) -> None:
        name = type(self).aliases.get(name, name)
        expected = self._fields().get(name)
        if expected is not None:
            value = _checked(type(self).__name__, name, value, expected)
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        target = type(self).aliases.get(name)
        if target is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self, target)

    @property
    def dtype(self) -> "torch.dtype | None":
        """The floating-point type in which the checkpoint's tensors are stored, if the file says it."""
        return None if self._dtype is None else float_type(self._dtype)

    @dtype.setter
    def dtype(self, value: "torch.dtype | str | None") -> None:
        self._dtype = None if value is None else float_type_name(value)

    @property
    def num_labels(self) -> int:
        """Number of entries of `id2label`; it has no influence on the network, whose classes come from the prompt."""
        return 2 if self.id2label is None else len(self.id2label)

    def _extras(self) -> dict[str, Any]:
        known = self._fields()
        return {key: value for key, value in vars(self).items() if key not in known and key != "_dtype"}

    def _common(self) -> dict[str, Any]:
        common = {field: getattr(self, field) for field in _field_types(Config)}
        common["_name_or_path"] = common.pop("name_or_path")
        return common | {"dtype": self._dtype}

    def to_dict(self) -> dict[str, Any]:
        """Return all values as plain Python types, ready for JSON."""
        own = {field: getattr(self, field) for field in self.own_fields()}
        values = self._common() | own | self._extras() | {"model_type": self.model_type}
        return {key: _plain(value) for key, value in values.items()}

    def to_file_dict(self) -> dict[str, Any]:
        """Return what `config.json` holds: all own fields, and common fields that differ from their default."""
        default = type(self)()._common()
        own = self.own_fields()
        values = self.to_dict()
        return {key: value for key, value in values.items() if key in own or value != _plain(default.get(key, _NEVER))}

    def to_json_string(self) -> str:
        """Return the text of `config.json`."""
        return json.dumps(self._top_level_dict(), indent=2, sort_keys=True) + "\n"

    def _top_level_dict(self) -> dict[str, Any]:
        values = self.to_file_dict()
        values.pop("_name_or_path", None)
        return values

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `config.json` into a folder, which is made if it does not exist."""
        self.validate()
        write_json(Path(folder) / CONFIG_NAME, self._top_level_dict())

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], **overrides: Any) -> Self:
        """Build a configuration from the content of a `config.json`; `overrides` win over `values`.

        A dict given for a part (`backbone_config`, `text_config`) is merged into that part.
        """
        merged = copy.deepcopy(dict(values))
        for key, value in overrides.items():
            inherited = merged.get(key)
            merged[key] = {**inherited, **value} if isinstance(value, dict) and isinstance(inherited, dict) else value
        config = cls.__new__(cls)
        config._fill(merged, point_out_typos=False)  # a file may come from a newer version
        return config

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> Self:
        """Read `config.json` of a checkpoint.

        Args:
            name: a folder, the JSON file itself or a hub id.
            **options: hub options (see `groundling.files.HubOptions`); every other keyword overrides a value.

        Raises:
            CheckpointError: there is no such checkpoint or it has no `config.json`.
            ConfigError: the file belongs to another kind of model or holds an invalid value.
        """
        hub, overrides = split_hub_options(options)
        location = locate(name, **hub)
        path = location.file if location.file and location.file.suffix == ".json" else location.require(CONFIG_NAME)
        values = read_json(path)
        found = values.get("model_type", cls.model_type)
        if found != cls.model_type:
            raise ConfigError(
                f"{path} describes a {found!r} model, but {cls.__name__} reads {cls.model_type!r}. "
                "AutoProcessor and AutoModelForZeroShotObjectDetection choose the class by the file."
            )
        return cls.from_dict(values, **overrides)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        ignored = {"transformers_version": None, "_name_or_path": ""}
        return self.to_dict() | ignored == other.to_dict() | ignored

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"

    def _warn_if_misspelt(self, key: str) -> None:
        close = closest(key, [*self._fields(), *self.aliases], cutoff=0.85)
        if close:
            warnings.warn(
                f"{type(self).__name__} has no field {key!r} and keeps it without using it. Did you mean {close!r}?",
                UserWarning,
                stacklevel=4,
            )


_NEVER = object()
_MOST_LABELS = 1_000_000


@functools.cache
def _field_types(cls: type) -> dict[str, Any]:
    names = [name for name in vars(cls).get("__annotations__", {}) if name not in ("model_type", "aliases")]
    hints = typing.get_type_hints(cls)
    return {name: hints[name] for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _checked(owner: str, name: str, value: Any, expected: Any) -> Any:
    """Return `value` in the type that a field expects, or raise a ConfigError that says what was given."""
    options = typing.get_args(expected) if isinstance(expected, types.UnionType) else (expected,)
    for option in options:
        if _is_exactly(value, option):
            return list(value) if isinstance(value, tuple) else value
    if float in options and type(value) is int:
        return float(value)
    allowed = " or ".join(_type_name(option) for option in options)
    raise ConfigError(f"{owner}.{name} expects {allowed}, but got {value!r} of type {type(value).__name__}.")


def _is_exactly(value: Any, option: Any) -> bool:
    origin = typing.get_origin(option)
    if origin is list:
        (item_type,) = typing.get_args(option)
        return isinstance(value, list | tuple) and all(_is_exactly(item, item_type) for item in value)
    if origin is dict:
        return isinstance(value, dict)
    if option is None:
        return value is None
    if option in (int, float, bool, str):
        return type(value) is option
    return isinstance(value, option)


def _type_name(option: Any) -> str:
    if option in (None, type(None)):
        return "None"
    return str(option) if typing.get_origin(option) else str(option.__name__)
