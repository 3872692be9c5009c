"""`groundling doctor`: facts, checks and what it says when something is wrong."""

import json
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from groundling import __version__
from groundling.cli import installation
from groundling.cli.doctor import doctor
from groundling.cli.main import run
from groundling.files import BUNDLED_MODEL, BUNDLED_SEGMENTER
from groundling.ops.deformable_attention import bag


def facts(capsys, *arguments, status=0):
    assert run(["doctor", "--json", *arguments]) == status
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_facts(capsys):
    found = facts(capsys)
    assert found["groundling"] == __version__
    assert found["packages"]["torch"] == torch.__version__
    assert {"faster-coco-eval", "matplotlib"} <= set(found["extras"]["eval"])
    assert not {"test", "dev"} & set(found["extras"])
    cpu = found["devices"][0]
    assert (cpu["device"], cpu["threads"]) == ("cpu", torch.get_num_threads())
    assert cpu["name"]
    used = {one["device"]: one["implementation"] for one in found["deformable_attention"]}
    assert used["cpu"] == "bag"
    assert [model["name"] for model in found["bundled_models"]] == [BUNDLED_MODEL, BUNDLED_SEGMENTER]
    assert all(model["weight_bytes"] > 1e6 for model in found["bundled_models"])
    assert (found["checks"], found["problems"]) == (None, [])


def test_as_a_table_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in (f"torch {torch.__version__}", "extra eval", "bag on cpu", BUNDLED_MODEL):
        assert words in " ".join(out.replace("│", " ").split())
    assert max(map(len, out.splitlines())) == 80
    assert "…" not in out


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is found without a GPU")
def test_it_says_why_there_is_no_cuda(capsys, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert run(["doctor"]) == 0
    assert "none: torch is built without CUDA" in capsys.readouterr().out
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert run(["doctor"]) == 0
    assert "none that CUDA 13.0 can use" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("has_triton", "chosen", "reason"),
    [(True, "triton", "and Triton is installed"), (False, "grid", "Triton is not installed")],
)
def test_every_gpu_is_named(capsys, monkeypatch, has_triton, chosen, reason):
    gpus = [SimpleNamespace(name=f"GPU {letter}", total_memory=80 * 2**30, major=9, minor=0) for letter in "AB"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
    monkeypatch.setattr(torch.cuda, "get_device_properties", gpus.__getitem__)
    monkeypatch.setattr("groundling.ops.deformable_attention.HAS_TRITON", has_triton)
    found = facts(capsys)
    assert [device["device"] for device in found["devices"]][:3] == ["cpu", "cuda:0", "cuda:1"]
    assert found["devices"][2]["compute_capability"] == "9.0"
    used = [one for one in found["deformable_attention"] if one["device"] == "cuda:1"]
    assert [one["implementation"] for one in used] == [chosen]
    assert all(reason in one["reason"] for one in used)
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "GPU B, 80.0 GiB, compute capability 9.0" in out
    assert "built without CUDA" not in out


def test_an_older_torch_that_cannot_name_instructions(capsys, monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert facts(capsys)["devices"][0]["instructions"] is None
    assert run(["doctor"]) == 0


def test_check(capsys):
    found = facts(capsys, "--check")
    cpu = [check for check in found["checks"] if check["place"].startswith("cpu")]
    assert [check["subject"] for check in cpu] == [
        *(f"attention: bag, {dtype}" for dtype in ("float32", "float16", "bfloat16")),
        BUNDLED_MODEL,
    ]
    assert all(check["passed"] for check in found["checks"])
    assert cpu[-1]["detail"] == "found 4 of 4 drawn things"


def wrong(value, level_shapes, location, weight):
    return bag_before(value, level_shapes, location, weight) * 1.001


def broken(value, level_shapes, location, weight):
    raise RuntimeError("no kernel\nimage is available")


bag_before = bag.deformable_attention


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        pytest.param(wrong, "attention: bag, float32: error 1.0e-03, limit 1e-05", id="wrong"),
        pytest.param(broken, "attention: bag, float32: RuntimeError: no kernel image is available", id="error"),
    ],
)
def test_what_computes_something_else_is_a_problem(capsys, monkeypatch, sampling, message):
    monkeypatch.setattr(bag, "deformable_attention", sampling)
    found = facts(capsys, "--check", status=1)
    assert found["problems"][0] == f"cpu, {message}"
    assert run(["doctor", "--check"]) == 1
    out, err = capsys.readouterr()
    assert "WRONG: " in out
    assert err.startswith(f"groundling: cpu, {message}\n")


def test_a_package_that_is_missing(capsys, monkeypatch):
    installed = installation._version
    monkeypatch.setattr(installation, "_version", lambda name: None if name in {"scipy", "peft"} else installed(name))
    assert run(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert "peft not installed" in out
    assert err == "groundling: The package 'scipy', which groundling needs, is not installed.\n"


def test_a_bundled_model_that_is_missing(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(installation, "BUNDLED", ("groundling/nano", str(tmp_path)))
    assert run(["doctor"]) == 1
    assert "are missing. Install groundling again." in capsys.readouterr().err


def test_without_having_been_installed(capsys, monkeypatch):
    def not_found(name):
        raise installation.PackageNotFoundError(name)

    monkeypatch.setattr(installation, "requires", not_found)
    found = facts(capsys)
    assert (list(found["packages"]), found["extras"]) == (["torch", "triton"], {})


def test_without_torch():
    code = "import sys\nsys.modules['torch'] = None\nfrom groundling.cli.main import run\nsys.exit(run(['doctor']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("groundling: torch cannot be imported (")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["doctor", ""], "Got unexpected extra argument", id="argument"),
        pytest.param(["doctor", "--fix"], "No such option: --fix", id="option"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, message):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"groundling: {message}")


def test_the_example_in_the_help_works(capsys):
    (example,) = re.findall(r"Example: groundling (.+)", doctor.__doc__)
    assert run(shlex.split(example)) == 0
