"""Draw the pictures of the examples: four shapes on a soft background, and a scene."""

import math
from pathlib import Path

from PIL import Image, ImageDraw

from groundling.data.scenes import make_scene

WIDTH, HEIGHT = 640, 480
SMOOTH = 4  # drawn so many times larger, then made smaller: soft edges

# Kind, colour, and the box (left, top, right, bottom) in pixels.
SHAPES = (
    ("circle", (214, 48, 49), (60, 60, 230, 230)),
    ("square", (41, 98, 210), (370, 50, 540, 220)),
    ("star", (39, 150, 80), (90, 270, 270, 441)),
    ("triangle", (244, 196, 48), (370, 280, 570, 440)),
)


def background() -> Image.Image:
    """Return a slope from warm white on the left to pale blue on the right."""
    across = Image.linear_gradient("L").rotate(90).resize((WIDTH * SMOOTH, HEIGHT * SMOOTH))
    warm = Image.new("RGB", across.size, (250, 246, 238))
    cool = Image.new("RGB", across.size, (221, 230, 240))
    return Image.composite(cool, warm, across)


def star(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    """Return the corners of a star with five points that fills the box."""
    corners = []
    for corner in range(10):
        radius = 1.0 if corner % 2 == 0 else 0.42
        angle = math.pi * corner / 5
        corners.append((radius * math.sin(angle), -radius * math.cos(angle)))
    xs, ys = zip(*corners, strict=True)
    return [
        (
            left + (x - min(xs)) / (max(xs) - min(xs)) * (right - left),
            top + (y - min(ys)) / (max(ys) - min(ys)) * (bottom - top),
        )
        for x, y in corners
    ]


def draw_shape(draw: ImageDraw.ImageDraw, kind: str, colour: tuple[int, int, int], box: tuple[int, ...]) -> None:
    """Draw one shape that fills its box."""
    left, top, right, bottom = (side * SMOOTH for side in box)
    if kind == "circle":
        draw.ellipse((left, top, right - 1, bottom - 1), fill=colour)
    elif kind == "square":
        draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    elif kind == "star":
        draw.polygon(star(left, top, right - 1, bottom - 1), fill=colour)
    else:
        draw.polygon([((left + right) / 2, top), (right - 1, bottom - 1), (left, bottom - 1)], fill=colour)


def shapes() -> Image.Image:
    """Return four shapes; the same on every call."""
    picture = background()
    draw = ImageDraw.Draw(picture)
    for kind, colour, box in SHAPES:
        draw_shape(draw, kind, colour, box)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def scene() -> Image.Image:
    """Return a scene that no training has seen, with things of pairs that were kept out of training."""
    return make_scene(2024, 7, split="held_out", size=448).image


if __name__ == "__main__":
    folder = Path(__file__).parent / "images"
    folder.mkdir(exist_ok=True)
    for name, picture in (("shapes.png", shapes()), ("scene.png", scene())):
        picture.save(folder / name, optimize=True)
        print(f"wrote {folder / name}")
