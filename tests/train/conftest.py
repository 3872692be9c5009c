from pathlib import Path

import pytest

from train.small_runs import save_checkpoint


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model to start from. Tests must not change it."""
    return save_checkpoint(tmp_path_factory.mktemp("start"))
