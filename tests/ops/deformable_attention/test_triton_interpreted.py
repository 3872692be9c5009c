"""Triton kernels on a machine without a GPU: in Triton's interpreter, compiled, and refused."""

import importlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from contracts.conftest import ROOT
from groundling.errors import ConfigError, MissingExtraError

MODULE = "groundling.ops.deformable_attention.triton_kernel"
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


def run(*arguments: str, **variables: str) -> str:
    """Run Python in the repository's root with these environment variables and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_triton
def test_in_the_interpreter() -> None:
    """The interpreter must be chosen before Triton is imported, hence a process."""
    tests = Path(__file__).with_name("test_triton_kernel.py")
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tests)]
    assert " passed" in run("-m", "pytest", *options, TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")


COMPILE = """
import torch
import triton
from triton.backends.compiler import GPUTarget
from groundling.ops.deformable_attention import triton_kernel

class Driver:  # as much of Triton's driver as compiling needs
    get_current_target = lambda self: GPUTarget("cuda", self.capability, 32)
    get_current_device = lambda self: self.capability  # compiled kernels are kept for each device
    get_current_stream = lambda self, device: 0

class Kernel:  # compiles where a kernel would be launched
    def __init__(self, kernel):
        self.kernel, self.compiled = kernel, []

    def __getitem__(self, grid):
        return lambda *args, **options: self.compiled.append(self.kernel.warmup(*args, grid=grid, **options))

for capability, dtype in ((80, torch.bfloat16), (90, torch.float32)):
    Driver.capability = capability
    triton.runtime.driver.set_active(Driver())
    forward, backward = Kernel(triton_kernel._forward_kernel), Kernel(triton_kernel._backward_kernel)
    for sizes, queries in (([16, 32, 8, 16, 4, 8, 2, 4], 16), ([3, 1, 2, 1, 1, 1, 1, 1], 1), ([99, 7] * 4, 900)):
        tokens = sum(height * width for height, width in zip(sizes[::2], sizes[1::2]))
        value = torch.empty(2, tokens, 8, 32, dtype=dtype)
        location, weight = torch.empty(2, queries, 8, 4, 4, 2), torch.empty(2, queries, 8, 4, 4)
        output = torch.empty(2, queries, 256, dtype=dtype)
        inputs = (value, location, weight)
        triton_kernel._launch(forward, (*inputs, output), value, sizes, location, dtype.itemsize)
        triton_kernel._launch(backward, (output, *inputs, value.float(), location, weight), value, sizes, location, 4)
    for kernel in (forward, backward):
        assert kernel.compiled[0].asm["cubin"]
        print(capability, len({compiled.hash for compiled in kernel.compiled}))
"""


@needs_triton
def test_they_compile_once_for_all_sizes(tmp_path: Path) -> None:
    """Down to the machine code of Ampere and Hopper, which needs no GPU."""
    variables = {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    assert run("-W", "error", "-c", COMPILE, **variables).split() == ["80", "1", "80", "1", "90", "1", "90", "1"]


def test_triton_is_not_imported_before_it_is_used() -> None:
    code = (
        "import sys, torch\n"
        "from groundling.ops.deformable_attention import deformable_attention\n"
        "one = torch.ones(1, 1, 1, 1, 1)\n"
        "deformable_attention(one[0], [(1, 1)], torch.ones(1, 1, 1, 1, 1, 2), one)\n"
        "print('triton' in sys.modules)"
    )
    assert run("-c", code) == "False\n"


@needs_triton
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter computes everywhere")
def test_a_cpu_is_refused() -> None:
    from groundling.ops.deformable_attention.triton_kernel import deformable_attention

    value, location, weight = torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1, 1, 2), torch.ones(1, 1, 1, 1, 1)
    with pytest.raises(ConfigError, match="run on CUDA devices, but the values are on cpu"):
        deformable_attention(value, [(1, 1)], location, weight)


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(MissingExtraError, match="need the package 'triton', which cannot be imported"):
        importlib.import_module(MODULE)
