"""A run that is killed or interrupted goes on as if nothing had happened, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from groundling import CheckpointError, ConfigError
from groundling.interruption import Interruption
from groundling.train.settings import RunSettings
from groundling.train.start import load_start
from train.small_runs import as_toml, lines, save_checkpoint, settings, trainer

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A start with dropout and stochastic depth everywhere."""
    return save_checkpoint(tmp_path_factory.mktemp("lively"), dropout=0.2)


def with_everything(start: Path, output: Path, **changes: object) -> RunSettings:
    return settings(
        start,
        output,
        seed=5,
        ema=0.9,
        data={"augment": "paper", "sides": [48, 64], **changes},
        optimizer={"steps": 8, "accumulate": 2, "batch_size": 4},
        report={"metrics": 1, "checkpoint": 3},
    )


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model" / "model.safetensors")


def assert_same_weights(first: Path, second: Path) -> None:
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_killed_run_goes_on_bit_for_bit(lively: Path, tmp_path: Path) -> None:
    straight = with_everything(lively, tmp_path / "straight")
    trainer(straight).train()

    killed = with_everything(lively, tmp_path / "killed", workers=1)
    (tmp_path / "run.toml").write_text(as_toml(killed))
    last = random.randrange(1, 8)  # any step must do
    kill_after(last, tmp_path)
    assert len(lines(tmp_path / "killed")) < 8
    # another number of workers and longer reports may change, the numbers may not
    trainer(with_everything(lively, tmp_path / "killed")).train()
    assert lines(tmp_path / "killed") == lines(tmp_path / "straight"), f"killed after {last} lines"
    assert_same_weights(tmp_path / "killed", tmp_path / "straight")


def kill_after(count: int, folder: Path) -> None:
    """Start the run of `folder` in a process and kill it when it has written so many lines."""
    command = [sys.executable, str(TESTS / "train" / "train_one.py"), str(folder / "run.toml")]
    environment = os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stderr=log, cwd=TESTS.parent)
    metrics, deadline = folder / "killed" / "metrics.jsonl", time.monotonic() + 300
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= count):
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_ctrl_c_saves_the_step_it_comes_in(start: Path, tmp_path: Path) -> None:
    straight = settings(start, tmp_path / "straight", optimizer={"steps": 5})
    trainer(straight).train()
    run = settings(start, tmp_path / "stopped", optimizer={"steps": 5})
    stopped = trainer(run)
    take_step = stopped._train_step

    def interrupted(parts: list) -> dict[str, float]:
        if stopped.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return take_step(parts)

    stopped._train_step = interrupted
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    assert stopped.step == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = trainer(run)
    again.train()
    assert lines(tmp_path / "stopped") == lines(tmp_path / "straight")
    assert_same_weights(tmp_path / "stopped", tmp_path / "straight")


def test_the_second_ctrl_c_does_not_wait() -> None:
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_more_steps_go_on_where_the_run_ended(start: Path, tmp_path: Path) -> None:
    constant = {"schedule": "constant", "warmup": 0}  # other schedules depend on the number of steps
    trainer(settings(start, tmp_path / "once", optimizer={"steps": 4, **constant})).train()
    trainer(settings(start, tmp_path / "twice", optimizer={"steps": 2, **constant})).train()
    trainer(settings(start, tmp_path / "twice", optimizer={"steps": 4, **constant})).train()
    assert lines(tmp_path / "twice") == lines(tmp_path / "once")


def test_a_finished_run_says_so_and_releases_its_model_again(
    start: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer(settings(start, tmp_path / "run")).train()
    before = lines(tmp_path / "run")
    trainer(settings(start, tmp_path / "run", blend=0.0)).train()
    assert "has its 3 steps already. Raise optimizer.steps to go on." in caplog.text
    assert lines(tmp_path / "run") == before
    released, first = weights(tmp_path / "run"), load_file(start / "model.safetensors")
    assert all(torch.equal(released[name], first[name]) for name in first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"seed": 6}, r"has seed=0, but now seed=6 is asked for", id="seed"),
        pytest.param({"data": {"train": [{"format": "scenes", "size": 96}]}}, r"data\.train=\[", id="data"),
        pytest.param({"optimizer": {"batch_size": 4}}, r"optimizer\.batch_size=2, but now .*=4", id="batch size"),
        pytest.param({"model": {"freeze": ["model.text_backbone"]}}, r"model\.freeze=\[\], but now", id="model"),
        pytest.param({"prompt": {"negatives": 2}}, r"prompt\.negatives=3", id="prompt"),
        pytest.param({"lora": {"rank": 2}}, r"lora\.rank=0", id="lora"),
        pytest.param({"data": {"augment": "light"}}, r'data\.augment\.preset="none", but', id="augment"),
        pytest.param({"data": {"augment": {"hue": 0.1}}}, r"data\.augment\.hue=0\.0, but now", id="colour"),
    ],
)
def test_another_run_in_the_same_folder_is_refused(
    done: tuple[Path, Path], changes: dict[str, object], message: str
) -> None:
    start, output = done
    with pytest.raises(ConfigError, match=message):
        trainer(settings(start, output, **changes))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, start: Path) -> tuple[Path, Path]:
    output = tmp_path_factory.mktemp("done") / "run"
    trainer(settings(start, output, optimizer={"steps": 1})).train()
    return start, output


def test_what_only_says_how_long_and_what_is_reported_may_change(done: tuple[Path, Path]) -> None:
    start, output = done
    changes = {
        "blend": 0.5,
        "data": {"workers": 1, "augment": {"preset": "none"}},  # the long form of what it was
        "model": {"gradient_checkpointing": True},
        "optimizer": {"steps": 9, "accumulate": 2},
        "report": {"metrics": 7, "checkpoint": 5, "validate": 3, "pictures": 2},
        "validate": [{"name": "old", "data": {"format": "scenes"}}],
    }
    trainer(settings(start, output, **changes))


def test_a_setting_that_is_new_since_then_had_its_default(done: tuple[Path, Path], tmp_path: Path) -> None:
    start, output = done
    values = json.loads((output / "run.json").read_text())
    del values["optimizer"]["beta2"]
    (output / "run.json").write_text(json.dumps(values))
    trainer(settings(start, output))
    with pytest.raises(ConfigError, match=r"has optimizer.beta2=0.999, but now optimizer.beta2=0.9"):
        trainer(settings(start, output, optimizer={"beta2": 0.9}))


def test_a_state_of_another_model_is_refused(done: tuple[Path, Path], tmp_path: Path) -> None:
    _, output = done
    other = save_checkpoint(tmp_path / "other", d_model=32)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to(output / "checkpoints")
    with pytest.raises(CheckpointError, match="not one of this model and these settings"):
        trainer(settings(other, tmp_path / "run")).train()


def test_output_must_be_a_folder_that_can_be_written_to(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"output is missing. Name the folder of the run."):
        trainer(replace(settings(start, tmp_path), output=""), load_start(settings(start, tmp_path)))
    with pytest.raises(ConfigError, match=r"output='.*file' is a file. Name a folder"):
        trainer(settings(start, tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"output='.*file/run' cannot be written to: Not a directory"):
        trainer(settings(start, tmp_path / "file" / "run"))

    def refuse(**options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(ConfigError, match=r"cannot be written to: Permission denied. Name another folder."):
        trainer(settings(start, tmp_path / "run"))
