"""The training objective against the documented losses, and what it adds to them."""

from typing import Any

import pytest
import torch
from torch import Tensor

from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.objective.denoising import Denoising
from groundling.objective.positive_map import phrase_maps
from groundling.objective.targets import read_targets
from groundling.train.objective import Batch, TrainingObjective
from random_models import random_labels, spread_weights
from train.small_runs import micro_detector

PROMPTS = torch.tensor(
    [[101, 7, 8, 1012, 9, 1012, 102], [101, 7, 1012, 8, 1012, 9, 102], [101, 7, 8, 1012, 9, 1012, 102]]
)
FAMILIES = pytest.mark.parametrize("family", ["plain", "mm"])


def lively(family: str, **values: Any) -> GroundingDinoForObjectDetection:
    return spread_weights(micro_detector(family, **values))


def inputs(batch: int = 3, seed: int = 0) -> tuple[Tensor, list[dict[str, Tensor]]]:
    torch.manual_seed(seed)
    return torch.randn(batch, 3, 64, 64), random_labels(seed, batch)


def batch_of(pixels: Tensor, labels: list[dict[str, Tensor]], tokens: Tensor = PROMPTS) -> Batch:
    targets = read_targets(labels, phrase_maps(tokens))
    return Batch(pixels, None, tokens, torch.ones_like(tokens, dtype=torch.bool), targets, tuple(range(len(pixels))))


@FAMILIES
@pytest.mark.parametrize("shared", [True, False])
def test_without_denoising_it_is_the_documented_loss(family: str, shared: bool) -> None:
    detector = lively(family, decoder_bbox_embed_share=shared).eval()
    pixels, labels = inputs()
    _, losses = TrainingObjective(detector, None)(batch_of(pixels, labels))
    documented = detector(pixels, PROMPTS, labels=labels)
    assert losses.keys() == documented.loss_dict.keys()
    same = [name for name in losses if not name.endswith("_enc")]
    assert "loss_ce" in same
    assert "loss_giou_0" in same
    for name in same:
        torch.testing.assert_close(losses[name], documented.loss_dict[name], rtol=1e-5, atol=1e-6, msg=name)


@FAMILIES
def test_proposals_are_judged_by_their_own_similarity(family: str) -> None:
    """The reference scores the learned contents instead, so that its query selection learns nothing from words."""
    detector = lively(family)
    pixels, labels = inputs()
    _, losses = TrainingObjective(detector, None)(batch_of(pixels, labels))
    losses["loss_ce_enc"].backward()
    selection = detector.model.query_selection
    assert selection.memory_projection.weight.grad.abs().sum() > 0
    assert selection.memory_norm.weight.grad.abs().sum() > 0
    if family == "mm":
        assert selection.contrastive_head.bias.grad.abs() > 0
    assert selection.query_embedding.weight.grad is None


@FAMILIES
@pytest.mark.parametrize("denoising", [None, Denoising(budget=8)])
@pytest.mark.parametrize("shared", [True, False])
def test_every_trained_parameter_gets_a_gradient(family: str, denoising: Denoising | None, shared: bool) -> None:
    """Else several processes would wait for it for ever."""
    objective = TrainingObjective(lively(family, decoder_bbox_embed_share=shared), denoising)
    pixels, labels = inputs()
    total, _ = objective(batch_of(pixels, labels))
    total.backward()
    without = [name for name, p in objective.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    still = [name for name, p in objective.named_parameters() if p.requires_grad and not p.grad.any()]
    # Softmax does not see what is added to all keys alike.
    assert not [name for name in still if not name.endswith(("key.bias", "text_key.bias", "image_query.bias"))]


@FAMILIES
def test_pictures_without_objects_give_gradients_everywhere_too(family: str) -> None:
    objective = TrainingObjective(lively(family), Denoising(budget=8))
    nothing = {"class_labels": torch.zeros(0, dtype=torch.long), "boxes": torch.zeros(0, 4)}
    total, losses = objective(batch_of(inputs()[0], [nothing] * 3))
    total.backward()
    assert total.isfinite()
    assert losses["loss_bbox"] == losses["loss_ce_dn"] == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters() if p.requires_grad)


@pytest.mark.parametrize("denoising", [None, Denoising(budget=8)])
def test_a_batch_of_mixed_prompts_is_the_mean_of_its_pictures(denoising: Denoising | None) -> None:
    torch.manual_seed(0)
    objective = TrainingObjective(lively("mm"), denoising).eval()
    pixels, labels = inputs(seed=4)
    batch = batch_of(pixels, labels)
    total, losses = objective(batch)
    counts = [len(label["boxes"]) for label in labels]
    assert min(counts) < max(counts)
    totals, sums = 0.0, dict.fromkeys(losses, 0.0)
    for picture in range(3):
        part = slice(picture, picture + 1)
        single = batch_of(pixels[part], labels[part], PROMPTS[part])._replace(seeds=batch.seeds[part])
        alone, parts = objective(single, num_objects=float(sum(counts)))
        totals += alone
        sums = {name: sums[name] + parts[name] for name in sums}
    torch.testing.assert_close(total, totals, rtol=1e-5, atol=1e-5)
    for name in losses:
        expected = sums[name] / 3 if name.startswith("cardinality") else sums[name]
        torch.testing.assert_close(losses[name], expected, rtol=1e-5, atol=1e-6, msg=name)


def test_denoising_queries_change_nothing_for_the_others() -> None:
    detector = lively("mm").eval()
    pixels, labels = inputs()
    _, without = TrainingObjective(detector, None)(batch_of(pixels, labels))
    _, with_them = TrainingObjective(detector, Denoising(budget=8))(batch_of(pixels, labels))
    assert {name for name in with_them if "_dn" in name} == with_them.keys() - without.keys()
    for name, value in without.items():
        torch.testing.assert_close(with_them[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_the_total_weighs_every_part() -> None:
    objective = TrainingObjective(lively("mm"), Denoising(budget=8)).eval()
    total, losses = objective(batch_of(*inputs()))
    weights = {"loss_ce": 2.0, "loss_bbox": 5.0, "loss_giou": 2.0}
    suffixes = ("", "_0", "_enc", "_dn", "_dn_0")
    torch.testing.assert_close(
        total, sum(weights[name] * losses[name + suffix] for name in weights for suffix in suffixes)
    )
