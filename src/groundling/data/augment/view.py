"""Which part of a picture is seen, in which size, and whether in a mirror.

Cuts, sizes and mirrors are put together as numbers first, so that a picture's pixels are computed only once.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groundling.processing.sizes import SizeDict, target_size


@dataclass(frozen=True, slots=True)
class View:
    """A part of a picture, resized and perhaps mirrored.

    Attributes:
        picture_wh: width and height of the whole picture in pixels.
        part: left, top, right and bottom of what is seen, in the picture's pixels.
        size_wh: width and height in which it is seen.
        is_mirrored: whether left and right are exchanged.
    """

    picture_wh: tuple[int, int]
    part: tuple[float, float, float, float]
    size_wh: tuple[int, int]
    is_mirrored: bool = False

    @classmethod
    def whole(cls, picture_wh: tuple[int, int]) -> Self:
        """See all of a picture as it is."""
        return cls(picture_wh, (0.0, 0.0, float(picture_wh[0]), float(picture_wh[1])), picture_wh)

    def mirrored(self) -> Self:
        """Exchange left and right."""
        return replace(self, is_mirrored=not self.is_mirrored)

    def resized(self, shortest_edge: int, longest_edge: int) -> Self:
        """Bring the shorter side to `shortest_edge` pixels, or the longer one to `longest_edge` if it would be more."""
        width, height = self.size_wh
        edges = SizeDict(shortest_edge=shortest_edge, longest_edge=longest_edge)
        height, width = target_size(height, width, edges)
        return replace(self, size_wh=(width, height))

    def cropped(self, left: int, top: int, width: int, height: int) -> Self:
        """See only a part of this view, given in its own pixels."""
        if self.is_mirrored:
            left = self.size_wh[0] - left - width
        across, down = self._scale()
        first_x, first_y = self.part[0] + left / across, self.part[1] + top / down
        # rounding must not lead out of the picture
        last_x = min(first_x + width / across, float(self.picture_wh[0]))
        last_y = min(first_y + height / down, float(self.picture_wh[1]))
        return replace(self, part=(first_x, first_y, last_x, last_y), size_wh=(width, height))

    def boxes(self, boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return where boxes [N, 4] of the picture are in this view, also those that lie outside of it."""
        moved: NDArray[np.float64] = (boxes_xyxy.astype(np.float64) - np.tile(self.part[:2], 2)) * np.tile(
            self._scale(), 2
        )
        if self.is_mirrored:
            moved[:, [0, 2]] = self.size_wh[0] - moved[:, [2, 0]]
        return moved

    def pixels(self, picture: Image.Image) -> Image.Image:
        """Return what is seen of the picture; the picture itself where that is all of it as it is."""
        whole = (0.0, 0.0, float(picture.width), float(picture.height))
        if (self.part, self.size_wh) != (whole, picture.size):
            picture = picture.resize(self.size_wh, Image.Resampling.BILINEAR, box=self.part)
        return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.is_mirrored else picture

    def _scale(self) -> tuple[float, float]:
        left, top, right, bottom = self.part
        return self.size_wh[0] / (right - left), self.size_wh[1] / (bottom - top)
