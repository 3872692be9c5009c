"""Peak memory of one contender, in a process that does nothing else."""

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from benchmarks.speed.contenders import Contender
from benchmarks.speed.machine import ROOT
from benchmarks.speed.measure import synchronize

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class MeasureError(Exception):
    """The process that measures memory failed."""


def measure_here(contender: Contender, device: str) -> dict[str, int]:
    """Run a contender once; return bytes in use before and at the peak, weights included in both.

    On CUDA the bytes are those of tensors on the device. On a CPU they are the process's resident memory; on Linux the
    peak is counted from before the run, elsewhere from the start of the process.
    """
    run = contender.build()
    synchronize(device)
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        synchronize(device)
        return {"before": before, "peak": torch.cuda.max_memory_allocated()}
    if CLEAR.exists():
        CLEAR.write_text("5", encoding="ascii")  # the peak begins anew; see proc(5)
    before = _resident("VmRSS")
    run()
    return {"before": before, "peak": _resident("VmHWM")}


def measure_apart(arguments: Sequence[str], contender: str) -> dict[str, int]:
    """Measure in a process of its own.

    Args:
        arguments: the options that make the same case and contenders.
        contender: name of the one to run.

    Raises:
        MeasureError: the process failed; the message is its last line.
    """
    command = [sys.executable, "-m", "benchmarks.speed", *arguments, "--memory-of", contender]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise MeasureError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message")
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def _resident(name: str) -> int:
    if STATUS.exists():
        for line in STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
