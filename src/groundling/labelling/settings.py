"""How a folder is labelled."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from groundling.data.convert import check_format
from groundling.errors import ConfigError
from groundling.files import BUNDLED_SEGMENTER
from groundling.postprocess.select import SelectionRules
from groundling.segmentation import MaskOptions

if TYPE_CHECKING:
    from groundling.pipeline.tiles import Tiles


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """How a folder is labelled, and what is written.

    Attributes:
        format: "coco", "yolo", "voc", "odvg", "csv", "parquet", "labelme" or "png", which holds nothing but masks.
        rules: which boxes are kept.
        batch_size: most pictures computed at a time; all of a batch have the same size after resizing.
        tiles: search pictures in overlapping parts too, one picture after the other.
        copy: copy the pictures into the data set; otherwise they are linked.
        overwrite: replace a data set in the folder, and what was begun there with other settings.
        model_name: how the report calls the model.
        masks: how masks are made and cleaned, where there is a segmenter.
        tighten: make each box tight around its mask.
        polygons: write COCO's masks as polygons, not as run lengths.
        segmenter_name: how the report calls the segmenter.

    Raises:
        ConfigError: there is no such format, it holds no polygons, or a number is outside its range.
        MissingExtraError: the format needs a package that is not installed.
    """

    format: str = "coco"
    rules: SelectionRules = field(default_factory=SelectionRules)
    batch_size: int = 1
    tiles: "Tiles | None" = None
    copy: bool = False
    overwrite: bool = False
    model_name: str = ""
    masks: MaskOptions = field(default_factory=MaskOptions)
    tighten: bool = False
    polygons: bool = False
    segmenter_name: str = ""

    def __post_init__(self) -> None:
        check_format(self.format, polygons=self.polygons)
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ConfigError(f"batch_size must be a number of at least 1, got {self.batch_size!r}.")

    def check_segmenter(self, *, is_there: bool) -> None:
        """Refuse settings of masks where nothing makes masks.

        Raises:
            ConfigError: there is no segmenter, and something needs one.
        """
        if is_there:
            return
        if self.format == "png":
            raise ConfigError(
                "A folder of PNG files holds nothing but masks, and there is no segmenter. Name one with --sam "
                f"(segmenter=), such as {BUNDLED_SEGMENTER}, or write another format."
            )
        if self.polygons or self.tighten or self.masks != MaskOptions():
            raise ConfigError(
                "There is no segmenter whose masks could be cleaned, tightened to or written as polygons. Name one "
                f"with --sam (segmenter=), such as {BUNDLED_SEGMENTER}, or leave these settings out."
            )
