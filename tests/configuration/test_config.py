"""Configurations: the same JSON as the reference, strict values, round trips."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from groundling import BertConfig, ConfigError, GroundingDinoConfig, MMGroundingDinoConfig, SwinConfig
from groundling.configuration import read_config
from groundling.configuration.presets import PRESETS, tiny
from groundling.errors import CheckpointError
from groundling.files import locate
from random_models import FAMILIES, random_config

KEYWORDS = [
    pytest.param({}, id="empty"),
    pytest.param(
        {"num_queries": 7, "d_model": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4}, id="sizes"
    ),
    pytest.param({"hidden_size": 128, "num_attention_heads": 4}, id="aliases"),
    pytest.param({"backbone_config": {"model_type": "swin"}}, id="backbone without chosen stages"),
    pytest.param({"backbone_config": {"model_type": "swin", "out_features": ["stage2", "stage4"]}}, id="out_features"),
    pytest.param(
        {"text_config": {"hidden_size": 32, "num_attention_heads": 2, "foo": 1}}, id="text without model_type"
    ),
    pytest.param({"backbone": None, "use_timm_backbone": False, "backbone_kwargs": None}, id="legacy keywords"),
    pytest.param({"num_labels": 3}, id="num_labels"),
    pytest.param({"foo": 3, "bar": {"x": [1, 2]}}, id="unknown keys"),
    pytest.param({"torch_dtype": "bfloat16", "architectures": ["GroundingDinoForObjectDetection"]}, id="dtype"),
    pytest.param({"output_attentions": True, "return_dict": False}, id="output flags"),
]


def written(config: Any, folder: Path) -> dict[str, Any]:
    config.save_pretrained(folder)
    values: dict[str, Any] = json.loads((folder / "config.json").read_text())
    values.pop("transformers_version", None)
    return values


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("keywords", KEYWORDS)
def test_the_file_equals_the_reference(family: str, keywords: dict[str, Any], tmp_path: Path) -> None:
    kinds = FAMILIES[family]
    ours = kinds.config(**json.loads(json.dumps(keywords)))
    expected = written(kinds.reference_config(**json.loads(json.dumps(keywords))), tmp_path / "reference")
    assert written(ours, tmp_path / "ours") == expected
    text = (tmp_path / "ours" / "config.json").read_text()
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(10))
def test_random_configurations_go_round_through_both(family: str, seed: int, tmp_path: Path) -> None:
    kinds = FAMILIES[family]
    ours = kinds.config(**random_config(family, seed))
    ours.save_pretrained(tmp_path / "ours")
    kinds.reference_config.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "reference")
    assert kinds.config.from_pretrained(tmp_path / "reference") == ours
    assert kinds.config.from_pretrained(tmp_path / "ours").to_dict() == ours.to_dict()


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_for_the_reference_too(preset: str, tmp_path: Path) -> None:
    config = PRESETS[preset]()
    config.save_pretrained(tmp_path)
    reference = FAMILIES[config.model_type].reference_config.from_pretrained(tmp_path)
    assert reference.backbone_config.out_indices == config.backbone_config.out_indices
    assert reference.num_feature_levels == config.num_feature_levels
    assert PRESETS[preset]() is not config


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        pytest.param({"num_queries": "900"}, r"num_queries expects int, but got '900' of type str", id="str for int"),
        pytest.param({"num_queries": True}, "num_queries expects int, but got True of type bool", id="bool for int"),
        pytest.param({"num_queries": 9.0}, "num_queries expects int, but got 9.0 of type float", id="float for int"),
        pytest.param({"auxiliary_loss": 1}, "auxiliary_loss expects bool", id="int for bool"),
        pytest.param({"class_cost": "1"}, "class_cost expects float", id="str for float"),
        pytest.param({"num_queries": 0}, "num_queries must be at least 1, but got 0", id="too small"),
        pytest.param(
            {"dropout": 1.5}, r"dropout is a drop probability and must be in \[0, 1\), but got 1.5", id="range"
        ),
        pytest.param({"d_model": 48}, "d_model=48 must be a multiple of .*=32", id="group norm"),
        pytest.param(
            {"decoder_attention_heads": 3}, "d_model=256 must be a multiple of decoder_attention_heads=3", id="heads"
        ),
        pytest.param({"encoder_attention_heads": 1}, "encoder_attention_heads must be at least 2", id="one head"),
        pytest.param({"activation_function": "zelu"}, "must be one of relu, gelu", id="activation"),
        pytest.param({"position_embedding_type": "zz"}, "must be one of sine, learned, but got 'zz'", id="positions"),
        pytest.param({"two_stage": False}, "two_stage must be True, but got False", id="two_stage"),
        pytest.param({"embedding_init_target": False}, "embedding_init_target must be True", id="init target"),
        pytest.param({"num_feature_levels": 2}, "num_feature_levels=2 is less than the 3 feature maps", id="levels"),
        pytest.param({"class_cost": 0, "bbox_cost": 0, "giou_cost": 0}, "cannot all be 0", id="costs"),
        pytest.param(
            {"two_stage_bbox_embed_share": True, "decoder_bbox_embed_share": False},
            "If two_stage_bbox_embed_share is True, decoder_bbox_embed_share must be True",
            id="sharing",
        ),
        pytest.param(
            {"backbone_config": {"model_type": "resnet"}},
            "model_type='resnet', but groundling has 'swin'",
            id="backbone",
        ),
        pytest.param({"text_config": {"model_type": "zzz"}}, "model_type='zzz', but groundling has 'bert'", id="text"),
        pytest.param({"text_config": 3}, "text_config expects BertConfig, but got 3", id="part of another type"),
        pytest.param({"backbone": "resnet50"}, "names a backbone of another library", id="timm"),
        pytest.param({"encoder_layers": 10**7}, "encoder_layers must be at most 1000", id="layers"),
        pytest.param({"num_feature_levels": 10**7}, "num_feature_levels must be at most", id="many levels"),
        pytest.param({"num_queries": 10**18}, "num_queries must be at most", id="many queries"),
        pytest.param({"num_labels": 10**9}, "num_labels must be a number, at most", id="many labels"),
        pytest.param({"num_labels": "a"}, "num_labels must be a number", id="labels"),
        pytest.param({"id2label": {"a": 1}}, "id2label must map numbers to names", id="label keys"),
        pytest.param({"id2label": [1]}, "id2label must map numbers to names", id="label list"),
        pytest.param({"validate": 1}, "cannot keep the unknown key 'validate'", id="key of a method"),
        pytest.param({"_fields": 1}, "cannot keep the unknown key '_fields'", id="private key"),
        pytest.param({"backbone_config": {"out_indices": 3}}, "out_indices must be a list", id="stages"),
        pytest.param({"backbone_config": {"window_size": 10**6}}, "window_size must be at most 256", id="window"),
        pytest.param({"backbone_config": {"mlp_ratio": 1e308}}, "mlp_ratio must be at most", id="ratio"),
        pytest.param({"text_config": {"hidden_size": 10**18}}, "hidden_size must be at most", id="width"),
        pytest.param({"dtype": "int8"}, "not a floating-point type", id="dtype"),
        pytest.param(
            {"backbone_config": {"model_type": "swin", "depths": [1, 1]}}, "one entry for each stage", id="depths"
        ),
        pytest.param(
            {"backbone_config": {"model_type": "swin", "out_features": ["stage9"]}}, "the stages are", id="stage name"
        ),
        pytest.param({"backbone_config": {"model_type": "swin", "out_indices": [9]}}, "out_indices", id="stage number"),
        pytest.param({"backbone_config": {"model_type": "swin", "out_indices": [3, 2]}}, "ascending", id="stage order"),
        pytest.param(
            {"backbone_config": {"model_type": "swin", "out_indices": [2], "out_features": ["stage3"]}},
            "name different stages",
            id="stages that differ",
        ),
        pytest.param(
            {"backbone_config": {"model_type": "swin", "embed_dim": 10}}, "multiple of num_heads", id="swin heads"
        ),
        pytest.param(
            {"text_config": {"num_attention_heads": 7}}, "hidden_size=768 must be a multiple", id="bert heads"
        ),
    ],
)
def test_invalid_values_are_refused(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        GroundingDinoConfig(**keywords)
    assert isinstance(caught.value, ValueError)


def test_positional_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="accepts only keyword arguments, but found 1 positional"):
        GroundingDinoConfig({"num_queries": 3})


def test_assignment_is_checked_and_aliases_work() -> None:
    config = tiny()
    with pytest.raises(ConfigError, match="num_queries expects int"):
        config.num_queries = "3"  # type: ignore[assignment]
    config.hidden_size = 96
    assert config.d_model == config.hidden_size == 96
    config.class_cost = 1
    assert config.class_cost == 1.0
    assert isinstance(config.class_cost, float)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = config.nonsense
    config.decoder_bbox_embed_share = False
    config.two_stage_bbox_embed_share = True
    with pytest.raises(ConfigError, match="must be True"):
        config.save_pretrained("unused")


def test_a_misspelt_keyword_is_pointed_out() -> None:
    with pytest.warns(UserWarning, match="no field 'num_querys' .* Did you mean 'num_queries'"):
        GroundingDinoConfig(num_querys=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert GroundingDinoConfig.from_dict({"num_querys": 3}).num_querys == 3  # a file may come from a newer version


def test_instances_share_no_lists() -> None:
    first = SwinConfig()
    first.depths.append(9)
    assert SwinConfig().depths == [2, 2, 6, 2]


def test_overrides_on_loading(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    config = GroundingDinoConfig.from_pretrained(tmp_path, num_queries=5, text_config={"hidden_act": "relu"})
    assert config.num_queries == 5
    assert config.text_config.hidden_act == "relu"
    assert config.text_config.hidden_size == tiny().text_config.hidden_size
    assert GroundingDinoConfig.from_pretrained(tmp_path / "config.json") == tiny()


def test_values(tmp_path: Path) -> None:
    config = GroundingDinoConfig(dtype=torch.float16)
    assert config.dtype is torch.float16
    assert config.num_labels == 2
    named = GroundingDinoConfig(id2label={"0": "a", "1": "b", "2": "c"})
    assert (named.id2label, named.num_labels) == ({0: "a", 1: "b", 2: "c"}, 3)
    assert named.label2id == {"a": 0, "b": 1, "c": 2}
    assert SwinConfig(out_indices=[-2, -1]).out_features == ["stage3", "stage4"]
    assert config != tiny()
    assert config != BertConfig()
    assert "num_queries" in repr(config)
    assert config.backbone_config.hidden_size == transformers.SwinConfig().hidden_size == 768


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        pytest.param("", CheckpointError, "not valid JSON", id="empty"),
        pytest.param("[]", CheckpointError, "must hold a JSON object, but holds a list", id="list"),
        pytest.param("{", CheckpointError, "not valid JSON", id="cut"),
        pytest.param("[" * 100_000, CheckpointError, "not valid JSON", id="deep"),
        pytest.param('{"model_type": ["x"]}', ConfigError, "is unknown", id="list of types"),
        pytest.param("{}", ConfigError, "model_type=None is unknown", id="no model_type"),
        pytest.param(
            '{"model_type": "detr"}', ConfigError, "'detr' is unknown. groundling has 'grounding-dino'", id="other"
        ),
        pytest.param('{"model_type": "grounding-dino", "num_queries": -1}', ConfigError, "at least 1", id="value"),
    ],
)
def test_damaged_files_are_refused(text: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(error, match=message):
        read_config(locate(tmp_path))


def test_another_familys_file_is_refused(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="describes a 'grounding-dino' model, but MMGroundingDinoConfig"):
        MMGroundingDinoConfig.from_pretrained(tmp_path)
    assert type(read_config(locate(tmp_path))) is GroundingDinoConfig
