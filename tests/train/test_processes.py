"""Several processes that share a step compute what one computes alone."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from train.small_runs import as_toml, assert_same_losses, save_checkpoint, settings, trainer

TESTS = Path(__file__).parents[1]

CALM = {"batch_size": 4, "learning_rate": 1e-4}
"""AdamW makes full steps of gradients that are nothing but rounding; small steps keep that small."""

RUNS = (("plain-shared", "plain", 1), ("mm-shared", "mm", 1), ("mm-in-parts", "mm", 2))

SCRIPT = """
import sys
from groundling.train.settings import read_run
from train.small_runs import trainer
for path in sys.argv[1:]:
    found = trainer(read_run(path))
    assert found.accelerator.num_processes == 2
    if path != sys.argv[-1]:
        found.accelerator.end_training = lambda: None  # the next run needs the group of processes too
    found.train()
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def run_in_two_processes(*files: Path) -> None:
    """Start what torchrun starts."""
    shared = os.environ | {
        "PYTHONPATH": str(TESTS),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *map(str, files)],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said


def test_two_processes_compute_what_one_computes(tmp_path: Path) -> None:
    files = []
    for name, family, accumulate in RUNS:
        start = tmp_path / f"start-{family}"
        if not start.exists():
            save_checkpoint(start, family)
            trainer(settings(start, tmp_path / family, optimizer=CALM)).train()
        run = settings(start, tmp_path / name, ema=0.5, optimizer=CALM | {"accumulate": accumulate})
        files.append(tmp_path / f"{name}.toml")
        files[-1].write_text(as_toml(run))
    run_in_two_processes(*files)
    for name, family, _ in RUNS:
        assert_same_losses(tmp_path / name, tmp_path / family, rel=1e-5)
