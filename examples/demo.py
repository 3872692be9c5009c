"""`make demo`: find things in a picture, with masks, by the models that come with the package; no download."""

import shlex
import subprocess
import sys
from pathlib import Path

PICTURE = Path("examples/images/scene.png")
OUT = Path("out/demo.png")
LABELS = ["brown house", "blue oval", "yellow bolt", "blue house", "green star"]


def main() -> int:
    """Show the command and run it; one of the labels is not in the picture."""
    command = ["groundling", "segment", str(PICTURE), "--labels", *LABELS, "--out", str(OUT)]
    print(f"$ {shlex.join(command)}", flush=True)
    return subprocess.run([sys.executable, "-m", "groundling", *command[1:]], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
