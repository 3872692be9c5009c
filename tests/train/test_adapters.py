"""Adapters: what they train, what their files hold, and that base and adapter together are the merged model."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from groundling import CheckpointError, ConfigError, MissingExtraError
from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.train.adapters import add_adapters, load_adapter, merge_adapter, merged_state, save_adapter
from groundling.train.settings import LoraSettings
from groundling.train.start import load_start
from random_models import spread_weights
from train.small_runs import losses, micro_detector, settings, trainer

LORA = LoraSettings(rank=2, alpha=4.0, targets=("query", "fc1"), train=("box_heads", "model.query_selection"))


def lively(family: str = "mm") -> GroundingDinoForObjectDetection:
    return spread_weights(micro_detector(family)).eval()


def moved(detector: GroundingDinoForObjectDetection) -> GroundingDinoForObjectDetection:
    """Change everything that is trained."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in detector.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return detector


def outputs(detector: GroundingDinoForObjectDetection) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    with torch.no_grad():
        found = detector(torch.randn(1, 3, 64, 64), torch.tensor([[101, 7, 8, 1012, 9, 1012, 102]]))
    return found.logits, found.pred_boxes


def test_fresh_adapters_change_nothing_and_train_only_what_is_named() -> None:
    base = lively()
    adapted = copy.deepcopy(base)
    add_adapters(adapted, LORA)
    for a, b in zip(outputs(base), outputs(adapted), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    whole = {name for name in trained if ".lora_" not in name}
    named = {name for name, _ in base.named_parameters() if name.startswith(LORA.train)}
    assert whole == named
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in trained - whole} == set(LORA.targets)
    assert {name.split(".lora_")[1][0] for name in trained - whole} == {"A", "B"}


def test_frozen_layers_get_no_adapters() -> None:
    detector = lively()
    detector.model.text_backbone.requires_grad_(False)
    detector.box_heads.requires_grad_(False)
    add_adapters(detector, LORA)
    trained = {name for name, parameter in detector.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith(("model.text_backbone", "box_heads")) for name in trained)
    assert any(name.startswith("model.query_selection") for name in trained)


def test_merging_changes_neither_the_names_nor_the_model_that_is_trained() -> None:
    base = lively()
    adapted = copy.deepcopy(base)
    add_adapters(adapted, LORA)
    moved(adapted)
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    merged = merged_state(adapted)
    assert merged.keys() == base.state_dict().keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in adapted.state_dict().items())
    name = "model.decoder.layers.0.self_attention.query"
    a, b = before[f"{name}.lora_A.default.weight"], before[f"{name}.lora_B.default.weight"]
    torch.testing.assert_close(merged[f"{name}.weight"], base.state_dict()[f"{name}.weight"] + 4.0 / 2 * b @ a)


@pytest.mark.parametrize("family", ["plain", "mm"])
def test_adapter_and_base_together_are_the_merged_model(family: str, tmp_path: Path) -> None:
    base = lively(family)
    adapted = copy.deepcopy(base)
    add_adapters(adapted, LORA)
    moved(adapted)
    save_adapter(adapted, tmp_path)
    untouched = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    merged = merge_adapter(base, tmp_path)
    assert all(torch.equal(untouched[name], tensor) for name, tensor in base.state_dict().items())
    for name, tensor in merged_state(adapted).items():
        torch.testing.assert_close(merged.state_dict()[name], tensor, rtol=1e-5, atol=1e-5, msg=name)
    loaded = copy.deepcopy(base)
    load_adapter(loaded, tmp_path)
    for a, b, c in zip(outputs(adapted), outputs(merged), outputs(loaded), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(c, a, rtol=0, atol=0)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 0.5 * sum(p.nbytes for p in base.parameters())


def test_peft_reads_the_files_as_its_own(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    base = lively()
    adapted = copy.deepcopy(base)
    add_adapters(adapted, LORA)
    moved(adapted)
    save_adapter(adapted, tmp_path)
    theirs = peft.PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path)).eval()
    for a, b in zip(outputs(theirs), outputs(adapted), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    for name, tensor in theirs.merge_and_unload().state_dict().items():
        torch.testing.assert_close(tensor, merged_state(adapted)[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"targets": ()}, "lora.targets leaves no layer for adapters", id="empty"),
        pytest.param(
            {"targets": ("query", "q_proj")},
            r"lora.targets names 'q_proj', but no linear layer's name ends so. There are .*fc1, fc2, .*query",
            id="no such layer",
        ),
        pytest.param({"targets": ("uery",)}, "lora.targets names 'uery'", id="half a name"),
        pytest.param(
            {"train": ("box_head",)}, r"lora.train names 'box_head', but no part .* There are box_heads.0, ", id="part"
        ),
        pytest.param({"train": ("model",)}, "leaves no layer for adapters", id="all in full"),
    ],
)
def test_names_that_do_not_exist(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        add_adapters(micro_detector(), LoraSettings(rank=2, **changes))


def test_peft_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"LoRA needs the package 'peft'.*groundling\[lora\]"):
        add_adapters(micro_detector(), LORA)


def test_adapters_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    adapted = lively()
    add_adapters(adapted, LORA)
    save_adapter(adapted, tmp_path)
    with pytest.raises(ConfigError, match="The detector has adapters already"):
        load_adapter(adapted, tmp_path)
    with pytest.raises(CheckpointError, match=r"belongs to another model: .* does not fit"):
        merge_adapter(micro_detector(d_model=32), tmp_path)
    with pytest.raises(CheckpointError, match=r"belongs to another model: .*layers.1.* does not fit"):
        merge_adapter(micro_detector(decoder_layers=1), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    with pytest.raises(CheckpointError, match=r"describes no plain LoRA adapter \(use_dora is set\)"):
        merge_adapter(lively(), tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors cannot be read"):
        merge_adapter(lively(), tmp_path)
    with pytest.raises(CheckpointError, match=r"adapter_config.json cannot be read: No such file"):
        merge_adapter(lively(), tmp_path / "none")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="last weights"),
        pytest.param({"ema": 0.5, "blend": 0.5}, id="averaged and blended"),
        pytest.param({"model": {"gradient_checkpointing": True}, "precision": "bf16"}, id="recomputed in bfloat16"),
    ],
)
def test_a_run_releases_the_merged_model_and_the_adapter(start: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    run = settings(
        start,
        tmp_path / "run",
        lora={"rank": 2},
        report={"checkpoint": 1},
        optimizer={"learning_rate": 1e-2},
        **options,
    )
    trained = trainer(run)
    trained.train()
    first, released = load_start(run).detector, tmp_path / "run" / "model"
    merged = merge_adapter(first, tmp_path / "run" / "adapter").state_dict()
    kept = type(first).from_pretrained(released).state_dict()
    assert merged.keys() == kept.keys() == first.state_dict().keys()
    for name, tensor in kept.items():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-5, atol=1e-5, msg=name)
    changed = {name for name, tensor in kept.items() if not torch.equal(tensor, first.state_dict()[name])}
    assert any(name.endswith("feed_forward.fc1.weight") for name in changed)
    assert "box_heads.0.layers.0.weight" in changed
    assert not any(name.endswith("norm.weight") for name in changed if "query_selection" not in name)


def test_saving_does_not_change_what_is_trained(start: Path, tmp_path: Path) -> None:
    for name, every in (("rare", 0), ("often", 1)):
        run = settings(start, tmp_path / name, lora={"rank": 2}, ema=0.5, blend=0.5, report={"checkpoint": every})
        trainer(run).train()
    assert losses(tmp_path / "often") == losses(tmp_path / "rare")


def test_a_run_with_adapters_goes_on(start: Path, tmp_path: Path) -> None:
    constant = {"schedule": "constant", "warmup": 0}
    for name, counts in (("once", (4,)), ("twice", (2, 4))):
        for steps in counts:
            trainer(settings(start, tmp_path / name, lora={"rank": 2}, optimizer={"steps": steps} | constant)).train()
    assert losses(tmp_path / "twice") == losses(tmp_path / "once")


def test_transformers_loads_the_released_model(start: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    run = settings(start, tmp_path / "run", lora={"rank": 2}, optimizer={"steps": 1, "learning_rate": 1e-2})
    trainer(run).train()
    _, found = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(
        tmp_path / "run" / "model", output_loading_info=True
    )
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
