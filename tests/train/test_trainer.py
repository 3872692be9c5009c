"""The loop when all goes well, and when it does not."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from groundling import CheckpointError, ConfigError, Detector, MissingExtraError
from groundling.train.metrics import Metrics, read_metrics
from groundling.train.start import load_start
from train.small_runs import assert_same_losses, losses, micro_detector, save_checkpoint, settings, trainer


def test_a_run_leaves_numbers_a_state_and_a_model(start: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs" / "one"
    trainer(settings(start, output)).train()
    assert [line["step"] for line in losses(output)] == [1, 2, 3]
    assert {"loss", "loss_ce", "loss_giou_0", "loss_bbox_enc", "loss_ce_dn", "gradient_norm"} < losses(output)[0].keys()
    assert [line["learning_rate"] for line in losses(output)][:2] == pytest.approx([0.5e-3, 0.7525e-3], rel=1e-3)
    assert json.loads((output / "model" / "training.json").read_text()) == {"seed": 0, "steps": 3}
    assert sorted(path.name for path in output.iterdir()) == [
        "checkpoints", "metrics.jsonl", "model", "run.json", "tensorboard"
    ]  # fmt: skip
    found = Detector.from_pretrained(output / "model")(np.zeros((64, 64, 3), np.uint8), ["red star"], threshold=0.0)
    assert len(found)


def test_a_run_learns(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path / "first")
    run = settings(
        first,
        tmp_path / "run",
        data={"train": [{"format": "scenes", "size": 64, "count": 2}]},
        prompt={"negatives": 0, "all_negatives": 1.0},
        optimizer={"steps": 12, "learning_rate": 3e-3, "warmup": 2, "schedule": "constant"},
    )
    trainer(run).train()
    found = [line["loss"] for line in losses(tmp_path / "run")]
    assert sum(found[-3:]) < 0.8 * sum(found[:3])


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"seed": 1}, id="seed"),
        pytest.param({"precision": "bf16"}, id="precision"),
        pytest.param({"denoising": {"budget": 0}}, id="no denoising"),
        pytest.param({"denoising": {"box_noise": 0.1}}, id="box noise"),
        pytest.param({"denoising": {"label_noise": 1.0}}, id="label noise"),
        pytest.param({"optimizer": {"image_backbone": 0.0}}, id="image backbone"),
        pytest.param({"optimizer": {"text_backbone": 0.0}}, id="text backbone"),
        pytest.param({"optimizer": {"clip": 0.01}}, id="clip"),
        pytest.param({"optimizer": {"weight_decay": 0.5}}, id="decay"),
        pytest.param({"optimizer": {"beta2": 0.5}}, id="beta2"),
        pytest.param({"optimizer": {"warmup": 0}}, id="warm-up"),
        pytest.param({"optimizer": {"schedule": "constant"}}, id="schedule"),
        pytest.param({"optimizer": {"schedule": "steps", "milestones": [0.1]}}, id="milestones"),
        pytest.param({"optimizer": {"final": 0.9}}, id="final"),
        pytest.param({"data": {"sides": [96]}}, id="sides"),
        pytest.param({"data": {"augment": "light"}}, id="augment"),
        pytest.param({"data": {"augment": {"brightness": 0.5}}}, id="colours"),
    ],
)
def test_settings_have_an_effect(plain: Path, start: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    trainer(settings(start, tmp_path / "run", **options)).train()
    found = totals(tmp_path / "run")
    assert found != totals(plain)
    assert all(map(math.isfinite, found))
    assert not same_weights(tmp_path / "run", plain)


@pytest.mark.parametrize(
    ("options", "same"),
    [
        pytest.param({}, True, id="again"),
        pytest.param({"ema": 0.9}, False, id="average"),
        pytest.param({"blend": 0.5}, False, id="blend"),
    ],
)
def test_what_is_released_is_set_apart_from_what_is_trained(
    plain: Path, start: Path, tmp_path: Path, options: dict[str, Any], same: bool
) -> None:
    trainer(settings(start, tmp_path / "run", **options)).train()
    assert losses(tmp_path / "run") == losses(plain)
    assert same_weights(tmp_path / "run", plain) is same


def totals(output: Path) -> list[float]:
    return [line["loss"] for line in losses(output)]


def same_weights(first: Path, second: Path) -> bool:
    a, b = (load_file(folder / "model" / "model.safetensors") for folder in (first, second))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def plain(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("plain") / "run"
    trainer(settings(start, output)).train()
    return output


def test_parts_of_a_step_add_up(start: Path, tmp_path: Path) -> None:
    for parts in (1, 2):
        optimizer = {"accumulate": parts, "learning_rate": 1e-4}
        trainer(settings(start, tmp_path / str(parts), optimizer=optimizer)).train()
    assert_same_losses(tmp_path / "1", tmp_path / "2", rel=1e-5)


def test_a_fresh_model_follows_from_the_seed(start: Path, tmp_path: Path) -> None:
    models = [
        load_start(settings(start, tmp_path, seed=seed, model={"fresh": True})).detector.state_dict()
        for seed in (1, 1, 2)
    ]
    name = "model.decoder.layers.0.feed_forward.fc1.weight"
    assert torch.equal(models[0][name], models[1][name])
    assert not torch.equal(models[0][name], models[2][name])
    with pytest.raises(ConfigError, match=r"model.start is missing. Name a checkpoint"):
        load_start(settings(start, tmp_path, model={"start": ""}))


def test_validations_and_drawings_are_made_when_due_and_change_nothing(
    plain: Path, start: Path, tmp_path: Path
) -> None:
    seen: list[tuple[str, int]] = []

    def validate(detector: Detector) -> dict[str, float]:
        torch.rand(3)  # must not disturb the run
        assert not detector.model.training
        seen.append(("validation", found.step))
        return {"AP": 0.5}

    def draw(detector: Detector, step: int) -> np.ndarray:
        seen.append(("drawing", step))
        return np.zeros((4, 4, 3), np.uint8)

    run = settings(start, tmp_path / "run", report={"validate": 2, "pictures": 2})
    found = trainer(run, validations={"target": validate, "old": validate}, drawing=draw)
    found.train()
    assert seen == [*[("validation", 0)] * 2, *[("validation", 2)] * 2, ("drawing", 2), *[("validation", 3)] * 2]
    validated = [line for line in losses(tmp_path / "run") if "target/AP" in line]
    assert validated == [{"step": step, "target/AP": 0.5, "old/AP": 0.5} for step in (0, 2, 3)]
    assert [line for line in losses(tmp_path / "run") if "loss" in line] == losses(plain)


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_numbers_that_are_none_stop_the_run(start: Path, tmp_path: Path, broken: str) -> None:
    run = settings(start, tmp_path / "run", optimizer={"steps": 4}, report={"checkpoint": 2})
    found = trainer(run)
    prepared = found.objective.forward

    def forward(batch: Any, objects: float) -> Any:
        total, values = prepared(batch, objects)
        if found.step == 2 and broken == "loss":
            total = total * math.nan
        if found.step == 2 and broken == "gradient":
            total.register_hook(lambda gradient: gradient * math.inf)
        return total, values

    found.objective.forward = forward
    message = r"Step 3 is not used: its loss is .* and the norm of its gradients nan.* Lower optimizer.learning_rate"
    with pytest.raises(ConfigError, match=message) as caught:
        found.train()
    assert ("Its pictures are train-0-" in str(caught.value)) is (broken == "loss")
    assert all(p.isfinite().all() for p in found.start.detector.parameters())
    again = trainer(run)
    again.train()
    assert [line["step"] for line in losses(tmp_path / "run")] == [1, 2, 3, 4]


def test_a_full_disk_ends_a_run_with_its_last_state(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = settings(start, tmp_path / "run", report={"checkpoint": 1})
    found, save, calls = trainer(run), torch.save, []

    def full(content: object, path: Path) -> None:
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(content, path)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"step-00000002.pt could not be written \(No space left on device\)"):
        found.train()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000001.pt"]
    again = trainer(run)
    again.train()
    assert [line["step"] for line in losses(tmp_path / "run")] == [1, 2, 3]


def test_a_prompt_longer_than_the_model_reads_is_refused_at_once(start: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"prompt.max_tokens=65 is more than the 64 tokens that the model reads"):
        trainer(settings(start, tmp_path / "run", prompt={"max_tokens": 65}))


def test_a_step_that_cannot_be_shared_is_refused_at_once(start: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"optimizer.batch_size=2 cannot be shared evenly"):
        trainer(settings(start, tmp_path / "run", optimizer={"accumulate": 3}))


@pytest.mark.parametrize(
    ("package", "module"), [("accelerate", "accelerate"), ("tensorboard", "torch.utils.tensorboard")]
)
def test_training_is_an_extra(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"Training needs the package '{package}'.*groundling\[train\]"):
        trainer(settings(start, tmp_path / "run")).train()


def test_a_start_made_by_hand(tmp_path: Path, start: Path) -> None:
    run = settings(start, tmp_path / "run", optimizer={"steps": 1})
    made = load_start(run)._replace(detector=micro_detector("plain"))
    found = trainer(run, made)
    found.train()
    assert found.detector().model is made.detector


def test_numbers_survive_a_crash(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    with Metrics(tmp_path, 0) as metrics:
        for step in (1, 2, 3):
            metrics.write(step, {"loss": 1 / 3})
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'\0\0\xff\n[1]\n{"step": 4, "lo')
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3]
    with Metrics(tmp_path, 2) as metrics:
        metrics.write(3, {"loss": 0.5})
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 1 / 3}, {"step": 2, "loss": 1 / 3}, {"step": 3, "loss": 0.5}]
    with Metrics(tmp_path, 0):
        pass
    assert read_metrics(tmp_path) == []
