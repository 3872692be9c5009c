"""A desk where the documents' examples run: pictures, and a hub cache with stand-ins for published checkpoints."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.workbench import lay_out

ROOT = Path(__file__).parents[2]
PUBLISHED = "IDEA-Research/grounding-dino-tiny"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def hub_cache(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub cache in which the tiny random checkpoint stands under a published name."""
    cache = tmp_path_factory.mktemp("hub")
    repository = cache / f"models--{PUBLISHED.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (repository / "snapshots").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).symlink_to(checkpoint)
    return cache


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures that the examples name."""
    folder = tmp_path_factory.mktemp("desk")
    lay_out(folder)
    return folder


@pytest.fixture(scope="session")
def run(hub_cache: Path, desk: Path) -> Run:
    """Run a command on the desk, with the stand-ins and without network."""

    def execute(*command: str, shell: bool = False) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"HF_HUB_CACHE": str(hub_cache), "HF_HUB_OFFLINE": "1", "PATH": path}
        return subprocess.run(
            command[0] if shell else command,
            cwd=desk,
            env=environment,
            shell=shell,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return execute
