"""What the first box of a process costs: it loads nothing that only other work needs."""

import json
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

# Each takes from 0.1 to 1.5 seconds to import.
HEAVY = {
    *("accelerate", "cv2", "datasets", "faster_coco_eval", "matplotlib", "numba", "pandas", "peft", "pycocotools"),
    *("requests", "scipy", "supervision", "sympy", "tensorboard", "torch._dynamo", "torch._inductor", "torchvision"),
    *("transformers", "triton", "yaml"),
}


@pytest.fixture
def picture(tmp_path):
    pixels = np.full((48, 64, 3), 255, np.uint8)
    pixels[10:30, 10:30] = (255, 0, 0)
    PIL.Image.fromarray(pixels).save(tmp_path / "picture.jpg")
    return str(tmp_path / "picture.jpg")


def modules(code):
    code += "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_first_box_in_python_loads_nothing_heavy(picture):
    loaded = modules(f"from groundling import Detector\nDetector()({picture!r}, ['red square'])")
    assert "torch" in loaded
    assert sorted(loaded & (HEAVY | {"typer", "rich"})) == []


def test_the_first_box_in_the_shell_loads_nothing_heavy(picture):
    arguments = ["detect", picture, "--labels", "red square", "--json"]
    loaded = modules(f"from groundling.cli.main import run\nassert run({arguments!r}) == 0")
    assert "torch" in loaded
    assert sorted(loaded & HEAVY) == []
