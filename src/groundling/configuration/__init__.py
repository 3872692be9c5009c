"""What a model is made of: typed, validated values, read from and written to `config.json`."""

from groundling.configuration.base import CONFIG_NAME, Config
from groundling.configuration.bert import BertConfig
from groundling.configuration.devices import check_device
from groundling.configuration.dtypes import FLOAT_TYPES, float_type
from groundling.configuration.families import FAMILIES, config_class, read_config
from groundling.configuration.grounding_dino import DetectorConfig, GroundingDinoConfig, MMGroundingDinoConfig
from groundling.configuration.swin import SwinConfig

__all__ = [
    "CONFIG_NAME",
    "FAMILIES",
    "FLOAT_TYPES",
    "BertConfig",
    "Config",
    "DetectorConfig",
    "GroundingDinoConfig",
    "MMGroundingDinoConfig",
    "SwinConfig",
    "check_device",
    "config_class",
    "float_type",
    "read_config",
]
