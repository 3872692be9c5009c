"""`groundling train` from its file of settings to the trained model, with a tiny model and tiny scenes."""

import dataclasses
import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from groundling import Detector
from groundling.cli import training
from groundling.cli.main import run
from groundling.cli.overfit import judge, smoke_test_settings
from groundling.data.sampling import PromptSampling
from groundling.data.scenes.records import SceneRecords
from groundling.errors import DatasetError
from groundling.objective.denoising import Denoising
from groundling.train import settings as train_settings
from groundling.train.pictures import Showcase
from groundling.train.settings import RunSettings

ROOT = Path(__file__).parents[2]

RUN = """
[model]
start = '{start}'

[[data.train]]
format = "scenes"
size = 64
count = 4

[data]
workers = 0

[prompt]
max_tokens = 32
negatives = 2

[denoising]
budget = 6

[optimizer]
steps = 2
batch_size = 2
warmup = 1
schedule = "constant"

[report]
metrics = 1
checkpoint = 0
"""

VALIDATIONS = """
[[validate]]
name = "new"
pictures = 2
data = { format = "scenes", split = "new", size = 64, count = 2 }

[[validate]]
name = "spoken"
pictures = 1
data = { format = "scenes", split = "referring", size = 64 }
"""


@pytest.fixture(scope="module")
def run_file(checkpoint, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "run.toml"
    path.write_text(RUN.format(start=checkpoint))
    return path


@pytest.fixture(scope="module")
def plain(run_file, tmp_path_factory) -> Path:
    """The folder of a run of two steps."""
    out = tmp_path_factory.mktemp("plain") / "run"
    assert run(["train", str(run_file), "--output", str(out)]) == 0
    return out


def lines_of(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses_of(out):
    return [line for line in lines_of(out) if "loss" in line]


def test_a_run_leaves_a_model_and_its_numbers(plain):
    assert [line["step"] for line in lines_of(plain)] == [1, 2]
    for line in lines_of(plain):
        assert {"loss", "loss_ce", "loss_bbox", "loss_giou", "gradient_norm", "learning_rate"} <= set(line)
        assert np.isfinite(list(line.values())).all()
    with Image.open(plain / "curves.png") as curves:
        assert curves.width > curves.height
    assert list((plain / "tensorboard").iterdir())
    found = Detector.from_pretrained(plain / "model")(Image.new("RGB", (64, 64)), ["red star"], threshold=0.0)
    assert len(found)


def test_what_is_printed(run_file, tmp_path, capsys):
    assert run(["train", str(run_file), "--output", str(tmp_path / "my run"), "--set", "optimizer.steps=1"]) == 0
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    model = str(tmp_path / "my run" / "model")
    assert first == f"wrote {model}"
    words = shlex.split(second.removeprefix("use it: "))
    assert words[:6] == ["groundling", "detect", "PICTURE.jpg", "--model", model, "--labels"]
    assert words[6:]
    summary = {line.strip().split("  ")[0]: line.strip() for line in err.splitlines()}
    assert " trained, " in summary["parameters"]
    assert "4 pictures" in summary["learns from"]
    assert "1 of 2 pictures" in summary["steps"]
    assert "float32" in summary["precision"]
    assert "processes: 1" in summary["device"]
    assert str(tmp_path / "my run") in summary["output"]
    assert summary["validations"].endswith("none")


def test_the_same_command_goes_on(run_file, plain, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(["train", str(run_file), "--output", str(out), "--set", "optimizer.steps=1"]) == 0
    capsys.readouterr()
    assert run(["train", str(run_file), "--output", str(out)]) == 0
    assert "goes on after step 1" in capsys.readouterr().err
    assert lines_of(out) == lines_of(plain)
    before = (out / "metrics.jsonl").read_bytes()
    assert run(["train", str(run_file), "--output", str(out)]) == 0
    assert (out / "metrics.jsonl").read_bytes() == before, "nothing is left to do"


def test_another_run_is_not_mixed_in(run_file, plain, capsys):
    assert run(["train", str(run_file), "--output", str(plain), "--set", "seed=5"]) == 2
    assert "has seed=0, but now seed=5 is asked for" in capsys.readouterr().err


def test_validations_and_pictures_change_nothing_else(run_file, plain, tmp_path, capsys):
    """Forgetting is seen from before the first step on, and nobody learns from being looked at."""
    path, out = tmp_path / "run.toml", tmp_path / "run"
    path.write_text(run_file.read_text() + "validate = 1\npictures = 1\n" + VALIDATIONS)
    assert run(["train", str(path), "--output", str(out)]) == 0
    measured = [line for line in lines_of(out) if "loss" not in line]
    assert [line["step"] for line in measured] == [0, 1, 2]
    for line in measured:
        assert {"new/AP", "new/AP50", "spoken/accuracy@0.5", "spoken/R@10"} <= set(line)
        assert all(0 <= value <= 1 for name, value in line.items() if name != "step")
    assert losses_of(out) == losses_of(plain)
    assert sorted(path.name for path in (out / "pictures").iterdir()) == ["step-00000001.png", "step-00000002.png"]
    err = capsys.readouterr().err
    assert [f"validation after step {step}" in err for step in range(4)] == [True, True, True, False]
    rows = [line for line in err.splitlines() if line.startswith("│ spoken")]
    assert "(" not in rows[0]
    assert "(+" in rows[1] or "(-" in rows[1]


def test_pictures_come_without_validations_too(run_file, tmp_path):
    out = tmp_path / "run"
    options = ["--set", "report.pictures=1", "--set", "optimizer.steps=1", "--set", "report.metrics=0"]
    assert run(["train", str(run_file), "--output", str(out), *options]) == 0
    with Image.open(out / "pictures" / "step-00000001.png") as sheet:
        assert np.asarray(sheet).std() > 10


def test_the_showcase_leaves_no_trace(tiny_detector, processor, tmp_path):
    detector = Detector(tiny_detector, processor)
    tiny_detector.train()
    try:
        torch.manual_seed(3)
        expected = torch.rand(3)
        torch.manual_seed(3)
        few = SceneRecords(split="seen", size=64, count=2)
        showcase = Showcase(few, PromptSampling(max_tokens=32, negatives=3), tmp_path)
        first = showcase(detector, 7)
        assert torch.equal(torch.rand(3), expected)
        assert all(module.training for module in tiny_detector.modules())
        assert np.array_equal(showcase(detector, 7), first)
    finally:
        tiny_detector.eval()
    with Image.open(tmp_path / "step-00000007.png") as sheet:
        assert np.array_equal(np.asarray(sheet), first)


def test_nothing_to_show():
    with pytest.raises(DatasetError, match="There are no pictures to draw predictions on"):
        Showcase(Nothing(), PromptSampling(), Path())


class Nothing:
    names = ()

    def __len__(self):
        return 0

    def __getitem__(self, index):
        raise IndexError(index)


def test_curves_need_matplotlib_but_training_does_not(run_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    out = tmp_path / "run"
    assert run(["train", str(run_file), "--output", str(out)]) == 0
    assert not (out / "curves.png").exists()
    assert capsys.readouterr().err.count("pip install 'groundling[eval]'") == 1


def test_overfit(run_file, capsys, monkeypatch):
    made = []
    monkeypatch.setattr(training, "Trainer", lambda *a, **k: made.append(TRAINER(*a, **k)) or made[-1])
    status = run(["train", str(run_file), "--overfit", "3", "--set", "optimizer.steps=2"])
    out, err = capsys.readouterr()
    assert status == 1
    assert out.startswith("Not learned by heart: AP50 is ")
    assert "on the 3 pictures that it learned from" in out
    assert "3 pictures" in err
    (trainer,) = made
    assert len(trainer.examples.sources[0].dataset) == 3
    assert trainer.step == 2
    assert not Path(trainer.settings.output).exists(), "a smoke test leaves nothing behind"


TRAINER = training.Trainer


def test_overfit_keeps_what_it_is_told_to_keep(run_file, tmp_path, capsys):
    out = tmp_path / "try"
    arguments = ["--overfit", "1", "--set", "optimizer.steps=1", "--set", "report.pictures=1", "--output", str(out)]
    assert run(["train", str(run_file), *arguments]) == 1
    assert (out / "pictures" / "step-00000001.png").exists()
    assert "on the one picture" in capsys.readouterr().out


@pytest.mark.slow
def test_what_the_model_that_comes_along_knows_is_learned_by_heart(tmp_path, capsys):
    """Pictures, boxes, words and gradients fit together, from the settings to the exit status."""
    path, output = tmp_path / "run.toml", tmp_path / "run"
    text = RUN.format(start="groundling/nano").replace("size = 64", 'size = 192\nsplit = "new"')
    path.write_text(text.replace("max_tokens = 32", "max_tokens = 64"))
    steps = ["--set", "optimizer.steps=20", "--set", "optimizer.learning_rate=5e-4", "--set", "optimizer.clip=1.0"]
    status = run(["train", str(path), "--overfit", "2", "--output", str(output), *steps])
    out = capsys.readouterr().out
    assert out.startswith("Learned by heart: AP50 is ")
    assert status == 0
    losses = [line["loss"] for line in losses_of(output)]
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])


def test_overfit_settings():
    asked = RunSettings(ema=0.9, data=train_settings.DataSettings(augment="paper", sides=(64, 96)))
    few = smoke_test_settings(asked, 5, "somewhere", keep_steps=False)
    assert (few.output, few.ema, few.data.augment, few.data.sides) == ("somewhere", 0.0, "none", ())
    assert (few.prompt.all_negatives, few.optimizer.schedule, few.optimizer.steps) == (1.0, "constant", 300)
    assert few.optimizer.batch_size == 5
    assert smoke_test_settings(asked, 5, "", keep_steps=False, processes=2).optimizer.batch_size == 6
    parts = dataclasses.replace(asked, optimizer=dataclasses.replace(asked.optimizer, accumulate=4))
    assert smoke_test_settings(parts, 5, "", keep_steps=True).optimizer.batch_size == 8
    assert smoke_test_settings(parts, 5, "", keep_steps=True).optimizer.steps == asked.optimizer.steps


@pytest.mark.parametrize(
    ("figures", "losses", "learned", "said"),
    [
        pytest.param({}, [], False, "There is nothing to find in the 8 pictures: no box has a label", id="empty"),
        pytest.param({"AP50": 0.95, "AP": 0.7}, [9, 1], True, "Learned by heart: AP50 is 95.0 on", id="learned"),
        pytest.param({"AP50": 0.9}, [], True, "AP50 is 90.0", id="just"),
        pytest.param({"AP50": 0.899}, [9, 1], False, "the loss went from 9 to 1 in 300 steps", id="not quite"),
        pytest.param({"AP50": 0.1}, [9, 8, 6, 4, 3], False, "the loss still falls, so give it more steps", id="falls"),
        pytest.param({"AP50": 0.1}, [9, 8, 8, 8, 8], False, "the learning rate (--set optimizer.l", id="stands still"),
        pytest.param({"accuracy@0.5": 1.0, "R@1": 1.0}, [9, 1], True, "accuracy@0.5 is 100.0", id="phrases"),
    ],
)
def test_verdict(figures, losses, learned, said):
    verdict = judge(figures, losses, smoke_test_settings(RunSettings(), 8, "", keep_steps=False), 8)
    assert verdict.learned is learned
    assert said in verdict.text


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        pytest.param("", [], "No folder for the run is named", id="empty"),
        pytest.param(None, [], "run.toml cannot be read: No such file", id="missing file"),
        pytest.param("output = ", [], "is not valid TOML", id="TOML"),
        pytest.param("[optimiser]\nsteps = 1", [], "'optimiser' is unknown. Did you mean 'optimizer'?", id="key"),
        pytest.param(RUN, ["--set", "optimizer.step=1"], "'step' is unknown. Did you mean 'steps'?", id="--set key"),
        pytest.param(RUN, ["--set", "optimizer.steps=many"], "steps must be a whole number", id="--set value"),
        pytest.param(RUN, ["--set", "steps"], "must look like optimizer.steps=100", id="--set form"),
        pytest.param(RUN, ["--overfit", "0"], "Invalid value for '--overfit'", id="overfit"),
        pytest.param("", ["--output", "out"], "model.start", id="no model"),
        pytest.param("[model]\nstart='{start}'", ["--output", "out"], "data.train is missing", id="no data"),
        pytest.param(RUN, ["--output", "run.toml"], "is a file", id="output is a file"),
        pytest.param(RUN, ["--output", "out", "--set", "model.start=nowhere"], "nowhere", id="no such model"),
        pytest.param(
            RUN.replace('format = "scenes"', 'format = "scene"'), ["--output", "out"], "'scenes'", id="format"
        ),
        pytest.param(
            RUN.replace('format = "scenes"\nsize = 64\ncount = 4', 'annotations = "no.json"'),
            ["--output", "out"],
            "no.json",
            id="no annotations",
        ),
        pytest.param(
            RUN + VALIDATIONS.replace('"referring"', '"spoken"'), ["--output", "out"], "split='spoken'", id="validation"
        ),
        pytest.param(RUN, ["--output", "out", "--set", "optimizer.accumulate=4"], "evenly", id="batch"),
    ],
)
def test_mistakes(content, arguments, message, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "run.toml").write_text(content.replace("{start}", str(checkpoint)))
    assert run(["train", "run.toml", *arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.strip().splitlines()[-1].startswith("groundling: ")
    assert "Traceback" not in err
    assert out == ""


COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [{"id": 9, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}],
}


@pytest.fixture
def coco_run(run_file, tmp_path, monkeypatch):
    """Settings that name a COCO data set of one picture, and the picture."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.png")
    (tmp_path / "set.json").write_text(json.dumps(COCO))
    path = tmp_path / "coco.toml"
    scenes, coco = 'format = "scenes"\nsize = 64\ncount = 4', 'annotations = "set.json"\nimages = "."'
    path.write_text(run_file.read_text().replace(scenes, coco))
    return path


def test_data_sets_are_checked_first(coco_run, tmp_path, capsys):
    (tmp_path / "a.png").unlink()
    assert run(["train", str(coco_run), "--output", "out"]) == 2
    err = capsys.readouterr().err
    assert "set.json" in err
    assert "there is no picture file" in err
    assert "Training has not begun; --no-check skips this check." in err
    assert "Traceback" not in err
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_a_picture_that_breaks_during_training(coco_run, tmp_path, capsys):
    (tmp_path / "a.png").unlink()
    assert run(["train", str(coco_run), "--output", "out", "--no-check"]) == 2
    err = capsys.readouterr().err
    assert "a.png" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_warnings_are_told_and_training_goes_on(coco_run, tmp_path, capsys):
    content = json.loads(json.dumps(COCO))
    content["annotations"].append(content["annotations"][0] | {"id": 10, "bbox": [60, 60, 9, 9]})
    (tmp_path / "set.json").write_text(json.dumps(content))
    assert run(["train", str(coco_run), "--output", "out", "--set", "optimizer.steps=1"]) == 0
    out, err = capsys.readouterr()
    assert "1 warnings; to read them: groundling data check set.json --images ." in err
    assert "--labels cat\n" in out


@pytest.mark.parametrize("package", ["accelerate", "tensorboard", "faster_coco_eval", "peft"])
def test_a_missing_extra_is_told_before_anything_begins(package, run_file, tmp_path, monkeypatch, capsys):
    path = tmp_path / "run.toml"
    path.write_text(run_file.read_text() + VALIDATIONS + "[lora]\nrank = 2\n")
    monkeypatch.setattr(training, "find_spec", lambda name: None if name == package else object())
    assert run(["train", str(path), "--output", str(tmp_path / "out")]) == 2
    assert f"needs the package '{package.replace('_', '-')}', which is not installed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("example", ["finetune_full.toml", "finetune_lora.toml"])
def test_the_walk_through_runs(example, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = tomllib.loads((ROOT / "examples" / example).read_text())
    assert [one["name"] for one in settings["validate"]] == ["new", "old"]
    few = {
        "model.start": str(checkpoint),
        "data.workers": 0,
        "optimizer.steps": 2,
        "optimizer.batch_size": 2,
        "report.metrics": 1,
        "report.validate": 2,
    }
    small = tmp_path / example
    text = (ROOT / "examples" / example).read_text()
    small.write_text(text.replace("size = 192", "size = 64").replace("pictures = 200", "pictures = 1"))
    options = [part for name, value in few.items() for part in ("--set", f"{name}={value}")]
    assert run(["train", str(small), *options]) == 0
    out = tmp_path / settings["output"]
    measured = [line for line in lines_of(out) if "loss" not in line]
    assert [line["step"] for line in measured] == [0, 2]
    assert {"new/AP50", "old/AP50"} <= set(measured[-1])
    assert (out / "model" / "model.safetensors").exists()
    assert (out / "adapter").exists() is ("lora" in settings)


def test_every_setting_is_explained():
    text = (ROOT / "docs" / "training.md").read_text()
    for kind in (
        RunSettings,
        train_settings.ModelSettings,
        train_settings.DataSettings,
        train_settings.Augmentation,
        PromptSampling,
        Denoising,
        train_settings.OptimizerSettings,
        train_settings.LoraSettings,
        train_settings.ReportSettings,
        train_settings.ValidationSettings,
    ):
        for field in dataclasses.fields(kind):
            forms = (f"`{field.name}`", f"`[{field.name}]`", f"`[[{field.name}]]`")
            assert any(form in text for form in forms), f"{kind.__name__}.{field.name}"


@pytest.mark.slow
def test_two_processes_speak_with_one_voice(run_file, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29617"]
    command += ["-m", "groundling", "train", str(run_file), "--output", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.count("wrote ") == 1
    assert done.stderr.count("parameters") == 1
    assert "processes: 2" in done.stderr
    assert [line["step"] for line in lines_of(out)] == [1, 2]  # losses: dropout draws other numbers in each process
    done = subprocess.run([*command, "--set", "seed=9"], capture_output=True, text=True, timeout=600, check=False)
    assert done.stderr.count("has seed=0, but now seed=9 is asked for") == 1


def test_an_interruption_says_how_to_go_on(run_file, plain, monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(TRAINER, "train", interrupted)
    assert run(["train", str(run_file), "--output", str(plain)]) == 130
    assert "stopped after step 2; the same command goes on from there" in capsys.readouterr().err
