"""Every code block of the documents runs; every link and every named file and test exists."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from contracts.conftest import ROOT, Run
from groundling.pipeline.detector import ABOUT_BUNDLED_MODEL
from groundling.train.settings import RunSettings, from_mapping

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
READ_FIRST = ("README.md", "CONTRIBUTING.md", "segmentation.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = ("pip install", "make ", "python examples/editing/")
"""CI installs and makes; tests/examples/test_editing.py runs the recipes, in one process that loads models once."""


def blocks(document: Path, language: str) -> str:
    """All blocks of one language, one after the other, as a reader would run them."""
    return "\n".join(text for kind, text in BLOCK.findall(document.read_text(encoding="utf-8")) if kind == language)


def cases(documents: Iterable[Path]) -> list[Any]:
    """Those of the pages that people read first are quick tests; each block of a page is a process of its own."""
    marks = {document: () if document.name in READ_FIRST else pytest.mark.slow for document in documents}
    return [pytest.param(document, id=document.name, marks=mark) for document, mark in marks.items()]


@pytest.mark.parametrize("document", cases(d for d in DOCUMENTS if blocks(d, "python")))
def test_python_blocks_run(document: Path, run: Run) -> None:
    result = run(sys.executable, "-W", "error", "-c", blocks(document, "python"))
    assert result.returncode == 0, result.stderr


def commands(document: Path) -> list[str]:
    lines = blocks(document, "sh").splitlines()
    return [line for line in lines if line.strip() and not line.startswith(NOT_RUN)]


@pytest.mark.parametrize("document", cases(d for d in DOCUMENTS if commands(d)))
def test_shell_blocks_run(document: Path, run: Run) -> None:
    for command in commands(document):
        result = run(command, shell=True)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        assert result.stderr in ("", f"{ABOUT_BUNDLED_MODEL}\n")


def test_only_known_languages_are_used() -> None:
    kinds = {kind for document in DOCUMENTS for kind, _ in BLOCK.findall(document.read_text(encoding="utf-8"))}
    assert kinds <= {"python", "sh", "text", "bibtex", "toml"}


@pytest.mark.parametrize("document", [d for d in DOCUMENTS if blocks(d, "toml")], ids=lambda d: d.name)
def test_toml_blocks_are_settings(document: Path) -> None:
    for kind, text in BLOCK.findall(document.read_text(encoding="utf-8")):
        if kind == "toml":
            from_mapping(RunSettings, tomllib.loads(text), document.name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def test_the_tests_that_parity_names_exist() -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
    named = re.findall(r"`(test_\w+(?:\.py)?)`", (ROOT / "docs/parity.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    for name in named:
        assert name in sources or any(f"def {name}(" in text for text in sources.values()), name


def test_the_first_command_comes_early() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert next(number for number, line in enumerate(lines, 1) if line.startswith("groundling ")) < 20
    assert len(lines) <= 180


TASKS = (
    "prompts",
    "segmentation",
    "editing",
    "tiles",
    "labelling",
    "video",
    "explain",
    "calibration",
    "app",
    "notebooks",
)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_begins_with_a_command(task: str) -> None:
    lines = (ROOT / "docs" / f"{task}.md").read_text(encoding="utf-8").splitlines()
    kind = "python" if task == "notebooks" else "text" if task == "app" else "sh"  # the page keeps running
    assert lines[2] == f"```{kind}"
    assert lines[3].startswith(("groundling ", "pip install ", "from groundling "))


def test_the_project_stands_alone() -> None:
    allowed = {"LICENSE", "bert_base_uncased_vocab.txt"}
    forbidden = re.compile(r"\.\./shared|/work/|\bissue #?\d|api_behaviour", re.IGNORECASE)
    for folder in ("src", "docs", "examples", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".toml", ".txt") and path.name not in allowed:
                assert not forbidden.search(path.read_text(encoding="utf-8")), path


def test_the_demo_runs_and_says_what_it_is(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    command = [sys.executable, "examples/demo.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert "a small model of drawn shapes" in result.stderr
    with Image.open(tmp_path / "out" / "demo.png") as picture, Image.open(ROOT / "docs/images/demo.png") as shown:
        difference = ImageChops.difference(picture.convert("RGB"), shown.convert("RGB"))
        assert picture.size == shown.size
        changed = np.asarray(difference).max(axis=2) > 64
        assert changed.mean() < 0.02  # the README shows what the demo draws, up to a score's last digit


def test_the_pictures_are_what_their_script_draws(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("*.png"))
    subprocess.run([sys.executable, "examples/make_picture.py"], cwd=tmp_path, check=True, timeout=60)
    for name in ("examples/images/shapes.png", "examples/images/scene.png"):
        with Image.open(tmp_path / name) as drawn, Image.open(ROOT / name) as kept:
            difference = ImageChops.difference(drawn.convert("RGB"), kept.convert("RGB"))
        # Releases of Pillow smooth edges a little differently.
        assert max(high for _, high in difference.getextrema()) <= 8
