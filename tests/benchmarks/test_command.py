"""The command line, with a tiny model: it measures, compares, writes JSON and prints tables."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.speed.cases import CASES
from benchmarks.speed.command import DONE, MISTAKE, PROBLEM, run
from benchmarks.speed.contenders import OUR_MODES, Models, Settings
from benchmarks.speed.kinds import KINDS

THREADS = ["--threads", "1"]
CONTENDERS = [
    "reference eager float32",
    "ours eager float32",
    "reference eager bfloat16",
    "reference autocast bfloat16",
    "ours eager bfloat16",
]


@pytest.fixture(autouse=True)
def _threads_stay_as_they_are() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    file = folder / "results.json"
    options = ["--case", "tiny", "--rounds", "1", "--json", str(file), "--folder", str(folder)]
    assert run([*options, *THREADS]) == DONE
    return file


def test_the_file_holds_every_time_and_the_machine(file: Path) -> None:
    results = json.loads(file.read_text())
    (case,) = results["cases"]
    assert case["name"] == "tiny"
    assert [one["name"] for one in case["contenders"]] == CONTENDERS
    for one in case["contenders"]:
        assert len(one["seconds"]) == 1
        assert one["first"] > 0
        assert one["error"] is None
    assert {"cpu", "threads", "versions", "commit", "dirty"} <= results["machine"].keys()
    assert results["command"].startswith("python -m benchmarks.speed --case tiny")


def test_results_are_compared_before_they_are_timed(file: Path) -> None:
    found = json.loads(file.read_text())["cases"][0]["agreement"]
    limited = [one for one in found if one["limit"] is not None]
    assert {one["contender"] for one in limited} == {"ours eager float32"}
    assert all(one["holds"] for one in limited)
    assert {one["contender"] for one in found} == {*CONTENDERS} - {"reference eager float32"}


def test_tables_come_from_the_file_alone(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--render", str(file)]) == DONE
    shown = capsys.readouterr().out
    assert run(["--render", str(file), "--markdown"]) == DONE
    written = capsys.readouterr().out
    assert "### tiny" in written
    for name in CONTENDERS:
        assert name in shown
        assert f"| {name} | " in written


def test_the_memory_of_one_contender(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--case", "tiny", "--folder", str(folder), *THREADS]
    assert run([*options, "--memory-of", "ours eager float32"]) == DONE
    found = json.loads(capsys.readouterr().out)
    assert 2**20 < found["before"] <= found["peak"]


def test_the_profile_has_the_stages_and_the_ceilings(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.speed.profile.SIDES", {"cpu": (64,)})
    monkeypatch.setattr("benchmarks.speed.profile.COPIED_BYTES", 2**16)
    file = tmp_path / "profile.json"
    options = ["--case", "tiny", "--profile", "--dtypes", "float32", "--rounds", "1", "--folder", str(folder)]
    assert run([*options, "--json", str(file), *THREADS]) == DONE
    (profile,) = json.loads(file.read_text())["profiles"]
    assert profile["ceiling"]["flops"] > 0
    assert profile["ceiling"]["bytes_per_second"] > 0
    stages = {stage["name"]: stage for stage in profile["stages"]}
    assert {"text backbone", "enhancer: fusion", "query selection", "decoder: attention", "heads"} <= stages.keys()
    assert all(stage["seconds"] > 0 for stage in stages.values())
    assert stages["enhancer: feed-forward"]["flop"] > 0
    assert "enhancer: feed-forward" in capsys.readouterr().out


def test_a_result_that_is_wrong_is_a_problem(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def spoilt(model: Any) -> Any:
        with torch.no_grad():
            model.box_heads[0].layers[-1].bias += 1
        return model

    monkeypatch.setitem(OUR_MODES, "spoilt", spoilt)
    options = ["--case", "tiny", "--rounds", "1", "--dtypes", "float32", "--folder", str(folder), *THREADS]
    assert run([*options, "--our-modes", "eager", "spoilt"]) == PROBLEM
    captured = capsys.readouterr()
    assert "ours spoilt float32" in captured.out
    assert "NOT ≤" in captured.out


def test_a_contender_that_fails_does_not_stop_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(model: Any) -> Any:
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(OUR_MODES, "failing", failing)
    options = ["--case", "tiny", "--rounds", "1", "--dtypes", "float32", "--folder", str(folder), *THREADS]
    assert run([*options, "--our-modes", "failing", "--markdown"]) == PROBLEM
    out = capsys.readouterr().out
    assert "ours failing float32 failed: RuntimeError: no such kernel" in out
    assert "| reference eager float32 | " in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--case", "tinny"], "There is no case 'tinny'. Cases: forward-", id="case"),
        pytest.param(["--group", "fast"], "There is no group 'fast'. Groups: ", id="group"),
        pytest.param(["--case", "tiny", "--our-modes", "warp"], "no mode 'warp' for --our-modes. Modes", id="mode"),
        pytest.param(["--render", "missing.json"], "missing.json", id="no file"),
        pytest.param(["--render", __file__], "is not JSON", id="no JSON"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == MISTAKE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_without_the_reference(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert run(["--case", "tiny"]) == MISTAKE
    assert "'transformers' is not installed. Install it with: pip install" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["training", "preprocessing", "postprocessing", "end_to_end", "caches", "labels"])
def test_every_kind_runs_and_agrees(kind: str, folder: Path) -> None:
    settings = Settings("cpu", ("float32",), ("eager",), ("eager",), ("reference", "ours"), folder)
    case = replace(CASES["tiny"], kind=kind, file_hw=(120, 160), batch=2 if kind == "training" else 1)
    workload = KINDS[kind](case, Models(settings))
    outputs = {one.name: one.build()() for one in workload.contenders}
    assert {one.side for one in workload.contenders} == {"reference", "ours"}
    assert [one for one in workload.check(outputs) if not one.holds] == []
