"""Each verb has an example in its help, and it does what it says."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import typer

from contracts.workbench import lay_out
from groundling.cli.main import app

EXAMPLE = re.compile(r"Example: (groundling .+)")
SECONDS = 240


def verbs(command: Any, name: str = "") -> dict[str, Any]:
    inner = getattr(command, "commands", None)
    if inner is None:
        return {name: command}
    return {full: verb for word, one in inner.items() for full, verb in verbs(one, f"{name} {word}".strip()).items()}


VERBS = verbs(typer.main.get_command(app))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    lay_out(folder)
    return folder


def start(command: str, folder: Path) -> "subprocess.Popen[str]":
    words = shlex.split(command)
    assert words.pop(0) == "groundling"
    code = "from groundling.cli.main import main; main()"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code, *words], cwd=folder, env=environment, text=True, **pipes)


def example(verb: str) -> str:
    found = EXAMPLE.findall(VERBS[verb].help)
    assert len(found) == 1, f"groundling {verb} --help needs one example"
    assert found[0].startswith(f"groundling {verb}")
    return found[0].strip()


def test_there_are_verbs() -> None:
    assert {"detect", "label", "track", "explain", "calibrate", "app", "data check"} <= set(VERBS)


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"app"}))
def test_the_example_runs(verb: str, bench: Path) -> None:
    process = start(example(verb), bench)
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert out or err


def test_the_page_is_served(bench: Path) -> None:
    port = re.search(r"--port \d+", example("app"))
    assert port is not None
    process = start(example("app").replace(port.group(), "--port 0"), bench)  # any free one
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = re.search(r"http://\S+", line)
        assert address is not None, line
        with urlopen(address.group(), timeout=30) as response:
            assert b"groundling" in response.read()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
