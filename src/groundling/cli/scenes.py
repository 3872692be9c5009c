"""`groundling scenes`: drawn pictures with exact boxes as files, or on one sheet to look at."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import PIL.Image

    from groundling.data.scenes import Scene

LARGEST_SIDE = 4096
GAP = 4  # pixels between the pictures of a sheet


class Split(StrEnum):
    """Sets of scenes that share none."""

    train = "train"
    seen = "seen"
    held_out = "held_out"
    new = "new"


SplitOption = Annotated[
    Split,
    typer.Option(
        "--split",
        help="train; seen: other pictures of the same pairs; held_out: pairs of colour and shape never shown; "
        "new: shapes never shown.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Another seed gives other scenes.")]
SizeOption = Annotated[int, typer.Option("--size", min=64, max=LARGEST_SIDE, help="Side of the pictures in pixels.")]

scenes = typer.Typer(name="scenes", help="Draw pictures of shapes with exact boxes, masks and words.")


@scenes.callback(invoke_without_command=True)
def _without_verb(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@scenes.command("make")
def make(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A folder that is empty or does not exist.")],
    count: Annotated[int, typer.Option("--count", min=1, help="Number of pictures.")],
    split: SplitOption = Split.train,
    seed: SeedOption = 0,
    size: SizeOption = 224,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes that draw; the files stay the same.")] = 1,
) -> None:
    """Write scenes as PNG files with COCO and ODVG annotations.

    Example: groundling scenes make shapes --count 100 --split train --jobs 2
    """
    from rich.console import Console
    from rich.progress import Progress

    from groundling.data.scenes.export import SceneFiles, write_scenes

    progress = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with progress:
        task = progress.add_task("drawing", total=count)
        files = SceneFiles(count=count, split=split.value, seed=seed, size=size)
        write_scenes(out, files, jobs=jobs, advance=lambda: progress.advance(task))
    typer.echo(
        f"wrote {out}: {count} {'picture' if count == 1 else 'pictures'} of the split {split.value}, seed {seed}"
    )


@scenes.command("show")
def show(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The picture to write, such as scenes.png.")],
    count: Annotated[int, typer.Option("--count", min=1, max=100, help="Number of scenes.")] = 8,
    number: Annotated[int, typer.Option("--number", min=0, help="Number of the first scene.")] = 0,
    split: SplitOption = Split.train,
    seed: SeedOption = 0,
    size: SizeOption = 224,
    columns: Annotated[int, typer.Option("--columns", min=1, help="Scenes beside each other.")] = 4,
) -> None:
    """Draw scenes with their boxes and names on one sheet.

    Example: groundling scenes show scenes.png --split held_out --number 100
    """
    from groundling.data.scenes import make_scene
    from groundling.pictures.drawing import save_picture

    chosen = [make_scene(seed, number + place, split=split.value, size=size) for place in range(count)]
    save_picture(_sheet([_drawn(scene) for scene in chosen], columns), out)
    typer.echo(f"wrote {out}: scenes {number} to {number + count - 1} of the split {split.value}, seed {seed}")


def _drawn(scene: "Scene") -> "PIL.Image.Image":
    import numpy as np

    from groundling.data.scenes import COLORS
    from groundling.pictures.drawing import draw_boxes

    colors = np.array([list(COLORS).index(thing.color) for thing in scene.things], np.int64)
    captions = [(thing.color, thing.shape) for thing in scene.things]
    return draw_boxes(scene.image, scene.boxes_xyxy, colors, captions, image_wh=scene.image.size)


def _sheet(pictures: "list[PIL.Image.Image]", columns: int) -> "PIL.Image.Image":
    """Put pictures of one size beside and below each other."""
    import PIL.Image

    width, height = (side + GAP for side in pictures[0].size)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = PIL.Image.new("RGB", (columns * width - GAP, rows * height - GAP), "white")
    for place, picture in enumerate(pictures):
        sheet.paste(picture, (place % columns * width, place // columns * height))
    return sheet
