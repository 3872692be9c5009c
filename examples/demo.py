"""`make demo`: run `groundling detect` on a picture of this repository.

There are no trained weights in the repository yet, so the demo makes a tiny network with random weights. It goes
through everything that a real checkpoint goes through; what it finds is chance. Give a real one to see real boxes:

    groundling detect PICTURE --labels "a cat" --model IDEA-Research/grounding-dino-tiny
"""

import shlex
import subprocess
import sys
from pathlib import Path

import torch

from groundling import (
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    GroundingDinoTokenizer,
)
from groundling.configuration.presets import tiny

PICTURE = Path("examples/images/shapes.png")
OUT = Path("out")


def main() -> int:
    """Make the checkpoint, show the command and run it."""
    checkpoint = OUT / "tiny-random"
    torch.manual_seed(0)
    GroundingDinoForObjectDetection(tiny()).save_pretrained(checkpoint)
    GroundingDinoProcessor(GroundingDinoImageProcessor(), GroundingDinoTokenizer.default()).save_pretrained(checkpoint)

    labels = ["a red circle", "a blue square", "a green star", "a yellow triangle"]
    arguments = ["detect", PICTURE, "--labels", *labels, "--model", checkpoint, "--threshold", "0", "--top-k", "4"]
    command = ["groundling", *map(str, arguments), "--out", str(OUT / "demo.png")]
    print("The weights of this demo are random: the boxes below are chance, the rest is real.")
    print(f"$ {shlex.join(command)}", flush=True)
    return subprocess.run([sys.executable, "-m", "groundling", *command[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
