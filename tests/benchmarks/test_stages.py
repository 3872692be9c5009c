import torch
from benchmarks.speed.stages import REST, Account, Traffic, hooked, stage_of, tensors
from torch import nn

from groundling import GroundingDinoForObjectDetection
from groundling.configuration.presets import tiny
from groundling.model.layers import FeedForward
from groundling.structures.features import TextFeatures


def test_what_is_read_belongs_to_the_innermost_stage() -> None:
    readings = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    account = Account(lambda: next(readings))
    account.begin("a")
    account.begin("b")
    account.end()
    account.end()
    assert account.close() == {REST: 1.0 + 5.0, "a": 2.0 + 4.0, "b": 3.0}


def test_a_stage_that_works_in_pieces_adds_up() -> None:
    ticks = iter(range(100))
    feed_forward = FeedForward(width=4, hidden_width=8, activation="relu", dropout=0.0)
    model = nn.ModuleDict({"image_self_attention": feed_forward})
    account, traffic = Account(lambda: float(next(ticks))), Traffic()
    x = torch.zeros(2, 3, 4)
    with hooked(model, account, traffic):
        feed_forward(x)
        feed_forward(x)
    assert account.close()["enhancer: feed-forward"] == 2.0
    weights = sum(weight.numel() for weight in model.parameters())
    assert traffic.bytes["enhancer: feed-forward"] == 4 * (weights + 3 * x.numel()), "only the outputs are two"
    feed_forward(x)
    assert next(ticks) == 6, "the hooks are gone"


def test_the_stages_of_the_model() -> None:
    modules = dict(GroundingDinoForObjectDetection(tiny()).named_modules())
    stages = {name: stage_of(name, module, modules) for name, module in modules.items()}
    assert stages[""] is None
    assert stages["model.image_backbone.stages.2"] == "image backbone: stage 3"
    assert stages["model.image_backbone.stages.2.downsample"] == "image backbone: stage 3"
    assert stages["model.image_backbone.stages.2.blocks.1.feed_forward"] is None
    layer = "model.feature_enhancer.layers.1"
    assert stages[f"{layer}.fusion"] == "enhancer: fusion"
    assert stages[f"{layer}.image_self_attention.attention"] == "enhancer: deformable attention, sampling"
    assert stages[f"{layer}.image_self_attention.attention.value"] == "enhancer: deformable attention, projections"
    assert stages[f"{layer}.text_self_attention.feed_forward"] is None
    assert stages["model.decoder.layers.0.image_attention.output"] == "decoder: deformable attention, projections"
    assert stages["box_heads.0"] == stages["contrastive_heads.0"] == "heads"


def test_of_a_bundle_the_tokens_count() -> None:
    a, b = torch.zeros(1), torch.zeros(2)
    assert tensors(None) == []
    assert [len(x) for x in tensors((a, [b, 3], TextFeatures(b, a, a, a)))] == [1, 2, 2]
