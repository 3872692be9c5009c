"""Small random models of the reference, saved once for each test session."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
transformers = pytest.importorskip("transformers")

Build = Callable[..., torch.nn.Module]


def reference_config(family: str, **values: object) -> "transformers.PretrainedConfig":
    cls = {"gd": transformers.GroundingDinoConfig, "mm": transformers.MMGroundingDinoConfig}[family]
    defaults: dict[str, object] = {
        "backbone_config": transformers.SwinConfig(
            embed_dim=8, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2], window_size=4, out_indices=[2, 3, 4]
        ),
        "text_config": transformers.BertConfig(
            vocab_size=50,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=20,
        ),
        "d_model": 32,
        "num_queries": 10,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 48,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
    }
    return cls(**(defaults | values))


@pytest.fixture(scope="session")
def build() -> Build:
    """Return a function that builds a reference model with random weights; tied parameters stay tied."""

    def build(family: str, *, base: bool = False, seed: int = 0, **values: object) -> torch.nn.Module:
        names = {"gd": "GroundingDino", "mm": "MMGroundingDino"}
        cls = getattr(transformers, names[family] + ("Model" if base else "ForObjectDetection"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = cls(reference_config(family, **values))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        return model.eval()

    return build


@pytest.fixture(scope="session")
def saved(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that gives the folder in which the reference saved a model; it must not be changed."""
    folders: dict[object, Path] = {}

    def saved(family: str, *, base: bool = False, **values: object) -> Path:
        key = (family, base, *sorted(values.items()))
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("reference")
            build(family, base=base, **values).save_pretrained(folders[key])
        return folders[key]

    return saved
