"""Groups, rates and averages, against numbers worked out by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from groundling import ConfigError
from groundling.train.optimizer import averaged, build_optimizer, rate_at, set_rate
from groundling.train.settings import OptimizerSettings
from train.small_runs import micro_detector

RATES = OptimizerSettings(learning_rate=1e-3, image_backbone=0.5, text_backbone=0.25, weight_decay=0.1)


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        pytest.param({"warmup": 0, "schedule": "constant"}, 0, 1.0, id="no warm-up"),
        pytest.param({"warmup": 4, "schedule": "constant"}, 0, 0.25, id="the first step learns"),
        pytest.param({"warmup": 4, "schedule": "constant"}, 2, 0.75, id="warm-up"),
        pytest.param({"warmup": 4, "schedule": "constant"}, 99, 1.0, id="constant"),
        pytest.param({"warmup": 0, "schedule": "cosine", "final": 0.1}, 0, 1.0, id="cosine begins"),
        pytest.param({"warmup": 0, "schedule": "cosine", "final": 0.1}, 50, 0.55, id="cosine half-way"),
        pytest.param({"warmup": 0, "schedule": "cosine", "final": 0.1}, 100, 0.1, id="cosine ends"),
        pytest.param({"warmup": 100, "schedule": "cosine", "final": 0.1}, 49, 0.5 * 0.5641, id="both"),
        pytest.param({"warmup": 0, "schedule": "steps", "milestones": (0.5, 0.8)}, 49, 1.0, id="before a milestone"),
        pytest.param({"warmup": 0, "schedule": "steps", "milestones": (0.5, 0.8)}, 50, 0.1, id="at a milestone"),
        pytest.param({"warmup": 0, "schedule": "steps", "milestones": (0.5, 0.8)}, 80, 0.01, id="after both"),
    ],
)
def test_schedules(schedule: dict[str, object], step: int, expected: float) -> None:
    assert rate_at(step, replace(OptimizerSettings(steps=100), **schedule)) == pytest.approx(expected, rel=1e-3)


def test_groups_have_the_rates_and_decays_of_their_parts() -> None:
    detector = micro_detector("mm")
    optimizer = build_optimizer(detector, RATES)
    assert set_rate(optimizer, 5, replace(RATES, warmup=0, schedule="constant")) == 1e-3
    names = {id(parameter): name for name, parameter in detector.named_parameters()}
    found = {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found.keys() == {name for name, parameter in detector.named_parameters() if parameter.requires_grad}
    assert found["model.image_backbone.stages.0.blocks.0.attention.query.weight"] == (5e-4, 0.1)
    assert found["model.image_backbone.stages.0.blocks.0.attention.query.bias"] == (5e-4, 0.0)
    assert found["model.image_backbone.stages.0.blocks.0.attention.relative_position_bias"] == (5e-4, 0.0)
    assert found["model.text_backbone.layers.0.attention.query.weight"] == (2.5e-4, 0.1)
    assert found["model.text_backbone.position_embedding.weight"] == (2.5e-4, 0.0)
    assert found["model.decoder.layers.0.feed_forward.fc1.weight"] == (1e-3, 0.1)
    assert found["model.decoder.norm.weight"] == (1e-3, 0.0)
    assert found["model.level_embedding"] == (1e-3, 0.0)
    assert found["contrastive_heads.0.bias"] == (1e-3, 0.0)
    assert optimizer.param_groups[0]["betas"] == (0.9, RATES.beta2)


def test_nothing_to_train_is_an_error() -> None:
    with pytest.raises(ConfigError, match="Nothing is trained: all parameters are frozen"):
        build_optimizer(nn.Linear(2, 2).requires_grad_(False), RATES)


def test_averages_follow_a_plain_loop() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    average, expected = averaged(model, 0.9), None
    for count in range(200):
        with torch.no_grad():
            model.weight.normal_()
        average.update_parameters(model)
        value = model.weight.tolist()
        if expected is None:
            expected = value
        decay = min(0.9, (1 + count) / (10 + count))
        expected = [
            [decay * a + (1 - decay) * b for a, b in zip(*rows, strict=True)]
            for rows in zip(expected, value, strict=True)
        ]
    assert torch.allclose(average.module.weight, torch.tensor(expected, dtype=torch.float64), rtol=1e-12)


def test_early_averages_forget_the_start() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = averaged(model, 0.999)
    nn.init.constant_(model.weight, 100.0)
    average.update_parameters(model)
    nn.init.constant_(model.weight, 0.0)
    for _ in range(20):
        average.update_parameters(model)
    assert abs(average.module.weight.item()) < 0.01  # with 0.999 from the start: 98
    assert math.isfinite(average.module.weight.item())
