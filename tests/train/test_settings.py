"""run.toml: every mistake is named with its place; what is right arrives typed."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from groundling import ConfigError
from groundling.train.settings import Augmentation, OptimizerSettings, RunSettings, read_run


def read(folder: Path, text: str, changes: tuple[str, ...] = ()) -> RunSettings:
    (folder / "run.toml").write_text(text)
    return read_run(folder / "run.toml", changes)


def test_an_empty_file_has_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "") == RunSettings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("=", r"run.toml is not valid TOML: ", id="empty key"),
        pytest.param("steps = 5", r"run.toml: the key 'steps' is unknown. It knows output, seed, ", id="unknown"),
        pytest.param("outptu = 'a'", r"the key 'outptu' is unknown. Did you mean 'output'\?", id="suggestion"),
        pytest.param(
            "[optimizer]\nlearningrate = 1", r"run.toml: optimizer: the key .* Did you mean 'learning_rate'", id="inner"
        ),
        pytest.param("seed = '1'", r"run.toml: seed must be a whole number, but is '1'", id="text for a number"),
        pytest.param("seed = 1.5", r"seed must be a whole number, but is 1.5", id="fraction"),
        pytest.param("seed = true", r"seed must be a whole number, but is True", id="bool for a number"),
        pytest.param("ema = true", r"ema must be a number, but is True", id="bool for a fraction"),
        pytest.param("output = 3", r"output must be text, but is 3", id="number for text"),
        pytest.param("model = 'x'", r"run.toml: model must be a table, but is 'x'", id="text for a table"),
        pytest.param("[model]\nfresh = 1", r"run.toml: model: fresh must be true or false, but is 1", id="1 for true"),
        pytest.param("[model]\nfreeze = 'model'", r"freeze must be a list, but is 'model'", id="text for a list"),
        pytest.param("[model]\nfreeze = [1]", r"freeze\[0\] must be text, but is 1", id="item"),
        pytest.param("[data.train]\nformat = 'coco'", r"data: train must be a list, but is \{", id="one table"),
        pytest.param("[data]\ntrain = ['a.json']", r"data: train\[0\] must be a table", id="list of paths"),
        pytest.param(
            "[[validate]]\nnmae = 'a'", r"validate\[0\]: the key 'nmae' .* Did you mean 'name'", id="validate"
        ),
        pytest.param("[[validate]]\n[[validate]]", r"Two tables of \[\[validate\]\] have the same name", id="twice"),
        pytest.param("seed = -1", r"run.toml: seed=-1 must be at least 0 and at most 2.14748e\+09", id="seed"),
        pytest.param("ema = 1.0", r"run.toml: ema=1 must be at least 0 and less than 1", id="ema"),
        pytest.param("blend = 1.1", r"blend=1.1 must be at least 0 and at most 1", id="blend"),
        pytest.param(
            "precision = 'float16'", r"precision='float16' is unknown. Did you mean 'float32'\?", id="precision"
        ),
        pytest.param("precision = 'x'", r"precision='x' is unknown. Use one of float32, bf16", id="precision, far"),
        pytest.param("[optimizer]\nsteps = 0", r"run.toml: optimizer: steps=0 must be at least 1", id="steps"),
        pytest.param("[optimizer]\nbatch_size = 0", r"batch_size=0 must be at least 1", id="batch size"),
        pytest.param("[optimizer]\naccumulate = 0", r"accumulate=0 must be at least 1", id="accumulate"),
        pytest.param("[optimizer]\nlearning_rate = 0", r"learning_rate=0 must be more than 0", id="rate"),
        pytest.param("[optimizer]\nlearning_rate = nan", r"learning_rate=nan must be more than 0", id="nan"),
        pytest.param("[optimizer]\nlearning_rate = inf", r"learning_rate=inf must be more than 0", id="infinite"),
        pytest.param("[optimizer]\nwarmup = -1", r"warmup=-1 must be at least 0", id="warmup"),
        pytest.param("[optimizer]\nclip = 0", r"clip=0 must be more than 0", id="clip"),
        pytest.param("[optimizer]\nbeta2 = 1", r"beta2=1 must be at least 0 and less than 1", id="beta2"),
        pytest.param("[optimizer]\nmilestones = [0.5, 2]", r"milestones=2 must be at least 0 and at", id="milestones"),
        pytest.param(
            "[optimizer]\nschedule = 'cos'", r"schedule='cos' is unknown. Did you mean 'cosine'", id="schedule"
        ),
        pytest.param("[data]\nworkers = -1", r"run.toml: data: workers=-1 must be at least 0", id="workers"),
        pytest.param("[data]\nreplay_share = 1", r"replay_share=1 must be at least 0 and less than 1", id="share"),
        pytest.param("[data]\nsides = [0]", r"sides=0 must be at least 32 and at most 8192", id="sides"),
        pytest.param("[data]\nsides = [100000]", r"sides=100000 must be at least 32", id="large sides"),
        pytest.param("[lora]\nrank = 100000", r"rank=100000 must be at least 0 and at most 1024", id="rank"),
        pytest.param(f"seed = {'9' * 400}", "seed is a number beyond all reason", id="400 digits"),
        pytest.param(f"seed = {'9' * 5000}", "is not valid TOML", id="5000 digits"),
        pytest.param("[data]\naugment = 'lite'", r"augment='lite' is unknown. Did you mean 'light'", id="augment"),
        pytest.param("[data.augment]\npreset = 'lite'", r"augment: preset='lite' is .* 'light'", id="preset"),
        pytest.param(
            "[data.augment]\nhue = 0.6", r"data: augment: hue=0.6 must be at least 0 and at most 0.5", id="hue"
        ),
        pytest.param("[data.augment]\ncontrast = 2", r"contrast=2 must be at least 0 and at most 1", id="contrast"),
        pytest.param("[data.augment]\nbrightnes = 1", r"'brightnes' is .* mean 'brightness'", id="colour"),
        pytest.param("[data]\naugment = 3", r"data: augment must be text, but is 3", id="augment, number"),
        pytest.param("[lora]\nrank = -1", r"lora: rank=-1 must be at least 0", id="rank"),
        pytest.param("[lora]\nalpha = 0", r"lora: alpha=0 must be more than 0", id="alpha"),
        pytest.param("[report]\ncheckpoint = -1", r"report: checkpoint=-1 must be at least 0", id="report"),
        pytest.param("[[validate]]\npictures = 0", r"validate\[0\]: pictures=0 must be at least 1", id="pictures"),
        pytest.param("[denoising]\nbudget = -2", r"run.toml: denoising.budget=-2 must be at least 0", id="budget"),
        pytest.param("[denoising]\nlabel_noise = 2", r"denoising.label_noise=2 must be .* at most 1", id="noise"),
        pytest.param("[prompt]\nmax_tokens = 3", r"run.toml: prompt: A prompt needs max_tokens of at", id="prompt"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no.toml cannot be read: No such file"):
        read_run(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        read_run(tmp_path)
    (tmp_path / "run.toml").write_bytes(b"output = '\xff'")
    with pytest.raises(ConfigError, match=r"run.toml is not valid TOML: .*utf-8"):
        read_run(tmp_path / "run.toml")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param("output=", {"output": ""}, id="empty"),
        pytest.param("output=runs/a b", {"output": "runs/a b"}, id="plain text"),
        pytest.param("output='runs/a'", {"output": "runs/a"}, id="TOML text"),
        pytest.param("seed=7", {"seed": 7}, id="number"),
        pytest.param(" seed = 7", {"seed": 7}, id="spaces"),
        pytest.param("blend=1", {"blend": 1.0}, id="whole fraction"),
        pytest.param("optimizer.steps=9", {"optimizer": OptimizerSettings(steps=9, warmup=3)}, id="inner"),
        pytest.param("optimizer = {steps = 9}", {"optimizer": OptimizerSettings(steps=9)}, id="whole table"),
    ],
)
def test_changes_replace_single_values(tmp_path: Path, change: str, expected: dict[str, Any]) -> None:
    text = "output = 'before'\n[optimizer]\nwarmup = 3\n"
    before = {"output": "before", "optimizer": OptimizerSettings(warmup=3)}
    assert read(tmp_path, text, (change,)) == RunSettings(**(before | expected))


def test_later_changes_win_and_lists_can_be_given(tmp_path: Path) -> None:
    found = read(tmp_path, "", ("seed=1", "seed=2", "model.freeze=['a', 'b']", "data.train=[{format = 'scenes'}]"))
    assert found.seed == 2
    assert found.model.freeze == ("a", "b")
    assert found.data.train == ({"format": "scenes"},)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param("", r"--set '' must look like optimizer.steps=100", id="empty"),
        pytest.param("seed", r"--set 'seed' must look like", id="no value"),
        pytest.param("=3", r"--set '=3' must look like", id="no name"),
        pytest.param("optimizer.=3", r"must look like", id="half a name"),
        pytest.param("seed.a=3", r"--set 'seed.a=3': seed is a value and has no parts", id="part of a value"),
        pytest.param("seed=x", r"seed must be a whole number, but is 'x'", id="type"),
        pytest.param("optimiser.steps=3", r"the key 'optimiser' is unknown. Did you mean 'optimizer'", id="typo"),
    ],
)
def test_changes_that_are_wrong(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, "seed = 1", (change,))


def test_an_augmentation_is_a_name_or_a_table(tmp_path: Path) -> None:
    assert read(tmp_path, "[data]\naugment = 'paper'").data.augmentation == Augmentation("paper")
    table = read(tmp_path, "[data]\naugment = { preset = 'light', hue = 0.1, brightness = 1 }").data.augmentation
    assert table == Augmentation("light", brightness=1.0, hue=0.1)
    assert read(tmp_path, "[data.augment]").data.augmentation == RunSettings().data.augmentation == Augmentation()


def test_values_given_in_python_are_checked_too() -> None:
    with pytest.raises(ConfigError, match="steps=0 must be at least 1"):
        dataclasses.replace(OptimizerSettings(), steps=0)
