"""Runs of a few steps with a model of a hundred thousand weights on drawn scenes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from groundling import GroundingDinoConfig, MMGroundingDinoConfig
from groundling.auto import AutoModelForZeroShotObjectDetection
from groundling.configuration import DetectorConfig
from groundling.configuration.bert import BertConfig
from groundling.configuration.swin import SwinConfig
from groundling.files import locate
from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.pipeline.processor_files import load_processor
from groundling.train.settings import RunSettings, from_mapping
from groundling.train.sources import open_examples
from groundling.train.start import Start, load_start
from groundling.train.trainer import Trainer

NANO = Path(__file__).parents[2] / "examples" / "nano"
"""Image processor and a vocabulary of two thousand words."""

FAMILIES: dict[str, type[DetectorConfig]] = {"plain": GroundingDinoConfig, "mm": MMGroundingDinoConfig}


def micro(family: str = "mm", *, dropout: float = 0.0, **values: Any) -> DetectorConfig:
    options = {
        "backbone_config": SwinConfig(
            embed_dim=8,
            depths=[1, 1, 2, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_indices=[2, 3, 4],
            drop_path_rate=dropout,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        ),
        "text_config": BertConfig(
            vocab_size=2048,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        ),
        "num_queries": 12,
        "encoder_layers": 1,
        "encoder_ffn_dim": 32,
        "encoder_attention_heads": 2,
        "decoder_layers": 2,
        "decoder_ffn_dim": 32,
        "decoder_attention_heads": 2,
        "d_model": 64,  # two channels a group of the norms, so that a map of one cell can be normalised
        "dropout": dropout,
        "fusion_dropout": dropout,
        "fusion_droppath": dropout,
        "max_text_len": 64,
        "auxiliary_loss": True,
    }
    return FAMILIES[family](**(options | values))


def micro_detector(family: str = "mm", *, seed: int = 0, **values: Any) -> GroundingDinoForObjectDetection:
    torch.manual_seed(seed)
    return AutoModelForZeroShotObjectDetection.from_config(micro(family, **values))


def save_checkpoint(folder: Path, family: str = "mm", **values: Any) -> Path:
    """A folder to start a run from."""
    micro_detector(family, **values).save_pretrained(folder)
    load_processor(locate(NANO)).save_pretrained(folder)
    return folder


def settings(start: Path, output: Path, **values: Any) -> RunSettings:
    """Settings of a run: tables are merged with those that make a run small."""
    small: dict[str, Any] = {
        "output": str(output),
        "model": {"start": str(start)},
        "data": {"train": [{"format": "scenes", "size": 64, "count": 50}], "sides": [64], "workers": 0},
        "prompt": {"max_tokens": 48, "negatives": 3},
        "denoising": {"budget": 8},
        "optimizer": {"steps": 3, "batch_size": 2, "learning_rate": 1e-3, "warmup": 2, "clip": 1.0},
        "report": {"metrics": 1, "checkpoint": 0},
    }
    for name, value in values.items():
        small[name] = small[name] | value if isinstance(value, dict) and name in small else value
    return from_mapping(RunSettings, small, "test")


def trainer(run: RunSettings, start: Start | None = None, **options: Any) -> Trainer:
    start = start or load_start(run)
    return Trainer(run, start, open_examples(run, start.processor), **options)


def lines(output: Path) -> list[str]:
    return (output / "metrics.jsonl").read_text().splitlines()


def losses(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in lines(output)]


def assert_same_losses(first: Path, second: Path, *, rel: float) -> None:
    """Compare the numbers of two runs that add up in another order.

    The norm of the gradients of a model that knows nothing is less certain: boxes of no size have large ones.
    """
    for line, expected in zip(losses(first), losses(second), strict=True):
        assert line.pop("gradient_norm") == pytest.approx(expected.pop("gradient_norm"), rel=2e-2)
        assert line == pytest.approx(expected, rel=rel, abs=1e-6), first.name


def as_toml(run: RunSettings) -> str:
    """The settings as a file that `read_run` reads; JSON values are TOML values here."""

    def written(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {written(one)}" for key, one in value.items()) + "}"
        if isinstance(value, list | tuple):
            return "[" + ", ".join(map(written, value)) + "]"
        return json.dumps(value)

    return "".join(f"{key} = {written(value)}\n" for key, value in dataclasses.asdict(run).items())
