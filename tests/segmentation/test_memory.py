"""Memory does not grow with the number of boxes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SIDE_W, SIDE_H = 4000, 3000
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from groundling.segmentation import load_segmenter

def peak():  # of this process since it began, MB; getrusage would count the parent's too
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024

width, height, count = (int(number) for number in sys.argv[2:])
segmenter = load_segmenter(sys.argv[1], device="cpu")
rng = np.random.default_rng(0)
(encoded,) = segmenter.encode([rng.integers(0, 255, (height, width, 3), dtype=np.uint8)])
boxes = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1).reshape(count, 4) * [width, height, width, height]
segmenter.decode(encoded, boxes[:1])
before = peak()
masks, scores = segmenter.decode(encoded, boxes)
assert len(masks) == len(scores) == count
print(before, peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_900_boxes_on_12_megapixels(kind: str, folder_of: Callable[[str], Path]) -> None:
    """900 masks of that size are 10.8 GB; decoding them takes little more than decoding one."""
    arguments = [str(folder_of(kind)), str(SIDE_W), str(SIDE_H), "900"]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)
    one, many = (float(number) for number in done.stdout.split())
    print(f"{kind}: peak {one:.0f} MB after one box, {many:.0f} MB after 900")
    assert many - one < 300
