"""What an installation has and uses: the facts of `groundling doctor`."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import torch

from groundling import __version__
from groundling.errors import CheckpointError
from groundling.files import BUNDLED_MODEL, BUNDLED_SEGMENTER, locate
from groundling.ops.deformable_attention import implementation

INSTRUCTIONS = ("avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16", "amx_int8")
"""What a CPU may have for half precision and int8 beyond its vector width."""

BUNDLED = (BUNDLED_MODEL, BUNDLED_SEGMENTER)

DEVELOPMENT = {"test", "dev"}
"""Extras that no feature needs."""

REASONS = {
    ("cuda", "triton"): "a CUDA device, and Triton is installed",
    ("cuda", "grid"): "Triton is not installed",
    ("cpu", "bag"): "a CPU; grid where torch.compile traces",
}


def installation_facts() -> dict[str, Any]:
    """Describe this installation with values that JSON can hold; what is missing is None.

    Returns:
        * `groundling`, `python`, `system`: versions.
        * `packages`: version of each package that groundling needs, and of Triton.
        * `extras`: for each extra, the version of each package that it installs.
        * `devices`: one entry for each device that torch can use.
        * `torch_cuda`: the version of CUDA that torch is built for.
        * `deformable_attention`: the implementation for each device, and why; the same for all dtypes.
        * `bundled_models`: the name of each, and the size of its weights in bytes.
    """
    devices = _devices()
    return {
        "groundling": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in [*(_requirements(None) or ["torch"]), "triton"]},
        "extras": _extras(),
        "torch_cuda": torch.version.cuda,
        "devices": devices,
        "deformable_attention": [_attention(device["device"]) for device in devices],
        "bundled_models": [{"name": name, "weight_bytes": _size_of(name)} for name in BUNDLED],
    }


def installation_problems(facts: dict[str, Any]) -> list[str]:
    """Say what keeps groundling from working, each in a sentence."""
    missing = [name for name, found in facts["packages"].items() if found is None and name != "triton"]
    problems = [f"The package {name!r}, which groundling needs, is not installed." for name in missing]
    for model in facts["bundled_models"]:
        if model["weight_bytes"] is None:
            problems.append(f"The files of {model['name']} are missing. Install groundling again.")
    return problems


def _devices() -> list[dict[str, Any]]:
    devices: list[dict[str, Any]] = [
        {
            "device": "cpu",
            "name": _cpu_name(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "vectors": torch.backends.cpu.get_cpu_capability(),
            "instructions": _cpu_instructions(),
        }
    ]
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        devices.append(
            {
                "device": f"cuda:{index}",
                "name": found.name,
                "memory_bytes": found.total_memory,
                "compute_capability": f"{found.major}.{found.minor}",
            }
        )
    if torch.backends.mps.is_available():
        devices.append({"device": "mps", "name": platform.machine()})
    return devices


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _cpu_instructions() -> list[str] | None:
    """Name the instructions of `INSTRUCTIONS` that this CPU has; None where this torch cannot tell."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is None:
        return None
    found = capabilities()
    return [name for name in INSTRUCTIONS if found.get(name, False)]


def _attention(device: str) -> dict[str, str]:
    kind = torch.device(device).type
    chosen = implementation(torch.device(device))
    reason = REASONS.get((kind, chosen), f"nothing else computes on {kind}")
    return {"device": device, "implementation": chosen, "reason": reason}


def _extras() -> dict[str, dict[str, str | None]]:
    names = {found for line in _all_requirements() if (found := _extra_of(line)) is not None}
    return {extra: {name: _version(name) for name in _requirements(extra)} for extra in sorted(names - DEVELOPMENT)}


def _requirements(extra: str | None) -> list[str]:
    """Names of the packages that groundling, or one of its extras, needs."""
    lines = [line for line in _all_requirements() if _extra_of(line) == extra]
    return sorted({match[0] for line in lines if (match := re.match(r"[\w.-]+", line))} - {"groundling"})


def _all_requirements() -> list[str]:
    try:
        return requires("groundling") or []
    except PackageNotFoundError:  # it runs from its source files, without having been installed
        return []


def _extra_of(requirement: str) -> str | None:
    match = re.search(r"""extra == ['"]([\w.-]+)['"]""", requirement)
    return match[1] if match else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _size_of(model: str) -> int | None:
    try:
        return locate(model).require("model.safetensors").stat().st_size
    except (CheckpointError, OSError):
        return None
