"""What a run releases and what it leaves alone: WiSE-FT, frozen parts, recomputed layers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from groundling import ConfigError
from groundling.train.adapters import blended
from groundling.train.objective import TrainingObjective
from groundling.train.recompute import recompute_layers
from groundling.train.start import load_start
from train.small_runs import losses, micro_detector, save_checkpoint, settings, trainer


def released(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model" / "model.safetensors")


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param(0.0, [1.0, -2.0], id="start"),
        pytest.param(0.25, [1.5, -1.0], id="a quarter"),
        pytest.param(1.0, [3.0, 2.0], id="trained"),
    ],
)
def test_blending_goes_a_share_of_the_way(share: float, expected: list[float]) -> None:
    """WiSE-FT (Wortsman et al. 2022): start + share (trained - start)."""
    assert blended(torch.tensor([1.0, -2.0]), torch.tensor([3.0, 2.0]), share).tolist() == expected


def test_counts_are_not_blended() -> None:
    assert blended(torch.tensor([1]), torch.tensor([4]), 0.5).tolist() == [4]


def test_a_run_releases_blended_weights_and_trains_the_others(start: Path, tmp_path: Path) -> None:
    trainer(settings(start, tmp_path / "whole", ema=0.5)).train()
    trainer(settings(start, tmp_path / "blend", ema=0.5, blend=0.25, report={"checkpoint": 1})).train()
    assert losses(tmp_path / "blend") == losses(tmp_path / "whole")
    first, whole, blend = (
        load_file(start / "model.safetensors"),
        released(tmp_path / "whole"),
        released(tmp_path / "blend"),
    )
    for name, tensor in blend.items():
        torch.testing.assert_close(tensor, 0.75 * first[name] + 0.25 * whole[name], rtol=1e-5, atol=1e-7, msg=name)


def test_frozen_parts_stay_as_they_are(start: Path, tmp_path: Path) -> None:
    freeze = ["model.text_backbone", "model.image_backbone.stages.0"]
    run = settings(start, tmp_path / "run", ema=0.5, model={"freeze": freeze})
    trained = trainer(run)
    frozen = {n: p for n, p in trained.start.detector.named_parameters() if n.startswith(tuple(freeze))}
    optimized = {id(parameter) for group in trained.optimizer.param_groups for parameter in group["params"]}
    assert frozen
    assert not any(id(parameter) in optimized for parameter in frozen.values())
    trained.train()
    assert all(parameter.grad is None for parameter in frozen.values())
    first, last = load_start(run).detector.state_dict(), trained.detector().model.state_dict()
    changed = {name for name in first if not torch.equal(first[name], last[name])}
    assert not changed & frozen.keys()
    assert {name for name, parameter in trained.start.detector.named_parameters() if parameter.requires_grad} == changed


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        pytest.param([""], "Nothing is trained: model.freeze names all parts of the model", id="empty"),
        pytest.param(
            ["text_backbone"], r"names 'text_backbone', .* There are box_heads.0, .*model.text_back", id="part"
        ),
    ],
)
def test_freezing_what_there_is(start: Path, tmp_path: Path, freeze: list[str], message: str) -> None:
    run = settings(start, tmp_path / "run", model={"freeze": freeze})
    with pytest.raises(ConfigError, match=message):
        load_start(run)


def gradients(recompute: bool, **values: Any) -> dict[str, torch.Tensor]:
    detector = micro_detector(**values)
    objective = TrainingObjective(detector, None).train()
    if recompute:
        recompute_layers(detector)
    torch.manual_seed(3)
    pixels, tokens = torch.randn(2, 3, 64, 64), torch.tensor([[101, 7, 8, 1012, 9, 1012, 102]] * 2)
    detector.config.auxiliary_loss = True
    labels = [{"class_labels": torch.tensor([0, 1]), "boxes": torch.rand(2, 4) * 0.4 + 0.2}] * 2
    loss = objective.detector(pixels, tokens, labels=labels).loss
    loss.backward()
    return {name: p.grad for name, p in detector.named_parameters() if p.grad is not None} | {"loss": loss.detach()}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputing_layers_gives_the_same_gradients(dropout: float) -> None:
    kept, recomputed = (gradients(recompute, dropout=dropout) for recompute in (False, True))
    assert kept.keys() == recomputed.keys()
    for name, tensor in kept.items():
        torch.testing.assert_close(recomputed[name], tensor, rtol=1e-6, atol=1e-8, msg=name)


def test_recomputing_layers_keeps_less_for_the_backward_pass() -> None:
    def kept(recompute: bool) -> int:
        sizes: list[int] = []
        detector = micro_detector().train()
        if recompute:
            recompute_layers(detector)
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.nbytes) or x, lambda x: x):
            detector(torch.randn(1, 3, 64, 64), torch.tensor([[101, 7, 1012, 102]]))
        return sum(sizes)

    assert kept(True) < 0.7 * kept(False)


def test_recomputing_layers_does_not_change_a_run(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path / "lively", dropout=0.2)
    for name, recompute in (("kept", False), ("recomputed", True)):
        trainer(settings(first, tmp_path / name, ema=0.5, model={"gradient_checkpointing": recompute})).train()
    assert losses(tmp_path / "recomputed") == losses(tmp_path / "kept")
    assert all(
        torch.equal(tensor, released(tmp_path / "kept")[name])
        for name, tensor in released(tmp_path / "recomputed").items()
    )
