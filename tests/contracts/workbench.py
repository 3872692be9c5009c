"""A folder in which the examples of the documents and of `--help` run."""

import shutil
from pathlib import Path

from PIL import Image

from groundling.data.scenes import COLORS, SHAPES
from groundling.data.scenes.export import SceneFiles, write_scenes
from pipeline.video.drawn_clips import CIRCLE, STAR, draw, write_clip

ROOT = Path(__file__).parents[2]

RUN = """\
precision = "float32"

[model]
start = "groundling/nano"

[[data.train]]
annotations = "instances.json"
images = "photos"

[data]
workers = 0

[optimizer]
steps = 500
batch_size = 1

[report]
validate = 0
"""


def lay_out(folder: Path) -> None:
    """Put pictures, a data set of drawn scenes, a clip and settings of a training run into a folder."""
    picture = Image.open(ROOT / "examples/images/shapes.png").convert("RGB")
    picture.save(folder / "shapes.png")
    for name in ("desk.jpg", "street.jpg", "garden.jpg", "000000039769.jpg"):
        picture.save(folder / name)
    shutil.copy(ROOT / "examples/images/scene.png", folder / "scene.png")
    shutil.copytree(ROOT / "examples", folder / "examples")
    write_scenes(folder / "scenes", SceneFiles(split="seen", seed=5, size=192, count=8))
    shutil.copytree(folder / "scenes" / "images", folder / "photos")
    shutil.copy(folder / "scenes" / "annotations.json", folder / "instances.json")
    names = [f"{color} {shape}" for color in COLORS for shape in SHAPES]
    (folder / "names.txt").write_text("\n".join(names), encoding="utf-8")
    (folder / "run.toml").write_text(RUN, encoding="utf-8")
    write_clip(folder / "clip.mp4", draw([STAR, CIRCLE], [number / 25 for number in range(41)]))
