"""The model families by the `model_type` of their files."""

from typing import Any

from groundling.configuration.base import CONFIG_NAME
from groundling.configuration.grounding_dino import DetectorConfig, GroundingDinoConfig, MMGroundingDinoConfig
from groundling.errors import ConfigError
from groundling.files import Location, read_json

FAMILIES: dict[str, type[DetectorConfig]] = {
    family.model_type: family for family in (GroundingDinoConfig, MMGroundingDinoConfig)
}


def config_class(model_type: object) -> type[DetectorConfig]:
    """Return the configuration class of a family.

    Raises:
        ConfigError: the family is unknown.
    """
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ConfigError(f"model_type={model_type!r} is unknown. groundling has {' and '.join(map(repr, FAMILIES))}.")
    return FAMILIES[model_type]


def read_config(location: Location, **overrides: Any) -> DetectorConfig:
    """Read a checkpoint's `config.json`, whatever its family.

    Raises:
        CheckpointError: the file is missing or is not JSON.
        ConfigError: the family is unknown or a value is invalid.
    """
    values = read_json(location.require(CONFIG_NAME))
    return config_class(values.get("model_type")).from_dict(values, **overrides)
