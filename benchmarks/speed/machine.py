"""What a reader must know about the machine and the versions to judge a figure."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
MATRIX_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "bf16")
PACKAGES = ("torch", "transformers", "groundling", "numpy", "pillow", "tokenizers", "torchvision", "triton", "numba")


def describe_machine(device: str, tf32: bool) -> dict[str, Any]:
    """Return the machine, the versions and the commit; nothing in it names the host, its users or its files."""
    description: dict[str, Any] = {
        "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
        "flags": [flag for flag in MATRIX_FLAGS if flag in (_cpu_field("flags") or _cpu_field("Features")).split()],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(_memory_field("MemTotal") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: found for package in PACKAGES if (found := _version(package))},
        "device": device,
        **git_state(),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        description["gpu"] = {
            "name": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "tf32": tf32,
        }
    return description


def git_state() -> dict[str, Any]:
    """Return the commit and whether what is measured has changed since; None where that is not known."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", "src", "benchmarks")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def free_gibibytes(device: str) -> float | None:
    """Return how much memory of the device is free for use; None where the system does not say."""
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else _memory_field("MemAvailable")
    return free / 2**30 if free else None


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_field(name: str) -> str:
    for line in _lines("/proc/cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _memory_field(name: str) -> int:
    for line in _lines("/proc/meminfo"):
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
