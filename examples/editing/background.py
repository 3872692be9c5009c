"""Remove the background of a picture, or put another one there; what the labels name stays.

python examples/editing/background.py scene.png --labels "brown house" "blue oval" --out cut.png
python examples/editing/background.py scene.png --labels "brown house" --color white --out white.jpg
python examples/editing/background.py scene.png --labels "brown house" --picture beach.jpg --out beach-house.jpg
python examples/editing/background.py scene.png --labels "brown house" --blur 12 --out portrait.jpg
"""

import argparse
import sys
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps
from scipy.ndimage import distance_transform_edt
from selection import edge, options, pixels, run, save, together

from groundling import Detections, ImageError
from groundling.pictures.reading import open_picture

TRANSPARENT = (".png", ".webp", ".tif", ".tiff")


def cut_out(picture: Image.Image, mask: NDArray[np.bool_], soften: float) -> Image.Image:
    """Return a picture with alpha; the colours of the background are gone, also where nothing can be seen."""
    share = edge(mask, soften=soften)
    alpha = np.rint(share * 255).astype(np.uint8)
    colors = own_colors(np.asarray(picture), mask, soften + 1) * (alpha > 0)[..., None]
    return Image.fromarray(np.dstack([colors, alpha]))


def own_colors(image: NDArray[np.uint8], mask: NDArray[np.bool_], rim: float) -> NDArray[np.uint8]:
    """Let the colours inside a mask run over its edge: pixels at the edge hold some of the old background.

    What is too thin to have an inside keeps its colours.
    """
    core = edge(mask, grow=-rim) > 0.5
    if not core.any():
        return image
    distance, nearest = distance_transform_edt(~core, return_indices=True)
    return np.where((distance > 3 * rim)[..., None], image, image[tuple(nearest)])


def blurred_around(picture: Image.Image, mask: NDArray[np.bool_], sigma: float, rim: float) -> Image.Image:
    """Blur a background of which nothing is known where the things are, so that no glow of them is left around them."""
    known = 1 - edge(mask, grow=rim)
    image = np.asarray(picture, np.float32) * known[..., None]
    blurred = (
        cv2.GaussianBlur(image, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(known, (0, 0), sigma), 1e-3)[..., None]
    )
    return Image.fromarray(np.rint(blurred.clip(0, 255)).astype(np.uint8))


def edit(given: argparse.Namespace, picture: Image.Image, found: Detections) -> None:
    """Write the picture that the options describe."""
    mask = together(found)
    result = cut_out(picture, mask, given.soften)
    if given.color is not None:
        background = Image.new("RGB", picture.size, given.color)
    elif given.picture is not None:
        background = ImageOps.fit(open_picture(given.picture), picture.size)
    elif given.blur is not None:
        background = blurred_around(picture, mask, max(given.blur, 0.1), given.soften + 1)
    elif given.out.suffix.lower() in TRANSPARENT:
        return save(given, result, given.out)
    else:
        raise ImageError(
            f"{given.out} cannot be transparent. Use .png or .webp, or choose --color, --picture or --blur."
        )
    background.paste(result, mask=result)
    return save(given, background, given.out)


def color(text: str) -> tuple[int, ...]:
    """Read a colour such as "white" or "#20a0ff"."""
    return ImageColor.getcolor(text, "RGB")  # type: ignore[return-value]  # of one channel only for "L"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--soften", type=pixels, default=1.0, help="half the width of the edge, pixels")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--color", type=color, help='such as white or "#20a0ff"')
    instead.add_argument("--picture", help="another picture; it is cut to the same shape")
    instead.add_argument("--blur", type=pixels, help="how far the background is smeared, pixels")
    return run(edit, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
