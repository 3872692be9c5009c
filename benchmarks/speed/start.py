"""From the start of a process to the first box."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from benchmarks.speed.cases import Case
from benchmarks.speed.contenders import Contender, Models, Workload
from PIL import Image, ImageDraw

from groundling.files import BUNDLED_MODEL, locate

FIRST_BOX = """
import sys
from groundling import Detector
assert len(Detector()(sys.argv[1], ["red circle"]))
"""
REFERENCE_FIRST_BOX = """
import sys
from PIL import Image
import torch
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor
model = AutoModelForZeroShotObjectDetection.from_pretrained(sys.argv[2], dtype=torch.float32)
processor = AutoProcessor.from_pretrained(sys.argv[2])
image = Image.open(sys.argv[1]).convert("RGB")
inputs = processor(images=image, text=[["red circle"]], return_tensors="pt")
with torch.inference_mode():
    outputs = model(**inputs)
found = processor.post_process_grounded_object_detection(outputs, inputs["input_ids"], target_sizes=[image.size[::-1]])
assert len(found[0]["boxes"])
"""


def importing(case: Case, models: Models) -> Workload:
    """Make the contenders: fresh processes that import."""
    del case
    programs = {
        "floor": "import torch",
        "reference": "import torch; from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor",
        "ours": "import torch; import groundling; groundling.Detector",
    }
    sides = ("floor", *models.settings.sides)
    contenders = [_contender(side, "import torch" if side == "floor" else "import", programs[side]) for side in sides]
    return Workload(contenders, notes=("A fresh process each time; all of them also import torch.",))


def first_box(case: Case, models: Models) -> Workload:
    """Make the contenders: fresh processes that find a box with the bundled model."""
    del case
    picture = _picture(models.settings.folder)
    model = str(locate(BUNDLED_MODEL).require("config.json").parent)
    programs = {"reference": REFERENCE_FIRST_BOX, "ours": FIRST_BOX}
    contenders = [_contender(side, "first box", programs[side], str(picture), model) for side in models.settings.sides]
    note = f"A fresh process each time, which loads {BUNDLED_MODEL} and finds a circle in a drawn picture."
    return Workload(contenders, notes=(note,))


def _contender(side: str, mode: str, program: str, *arguments: str) -> Contender:
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", program, *arguments]

    def run() -> None:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])

    return Contender(side, mode, "float32", lambda: run)


def _picture(folder: Path) -> Path:
    file = folder / "red-circle.png"
    image = Image.new("RGB", (192, 192), "white")
    ImageDraw.Draw(image).ellipse((60, 60, 130, 130), fill="red")
    image.save(file)
    return file
