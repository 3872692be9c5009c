"""Draw the demo picture, examples/images/shapes.png: four coloured shapes on a soft background."""

import math
from pathlib import Path

from PIL import Image, ImageDraw

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


def make_picture() -> Image.Image:
    """Return the picture; it is the same on every call."""
    picture = background()
    draw = ImageDraw.Draw(picture)
    for kind, colour, box in SHAPES:
        draw_shape(draw, kind, colour, box)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    path = Path(__file__).parent / "images" / "shapes.png"
    path.parent.mkdir(exist_ok=True)
    make_picture().save(path, optimize=True)
    print(f"wrote {path}")
