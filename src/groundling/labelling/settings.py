"""How a folder is labelled."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from groundling.data.convert import check_format
from groundling.errors import ConfigError
from groundling.postprocess.select import SelectionRules

if TYPE_CHECKING:
    from groundling.pipeline.tiles import Tiles


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """How a folder is labelled, and what is written.

    Attributes:
        format: "coco", "yolo", "voc", "odvg", "csv", "parquet" or "labelme".
        rules: which boxes are kept.
        batch_size: most pictures computed at a time; all of a batch have the same size after resizing.
        tiles: search pictures in overlapping parts too, one picture after the other.
        copy: copy the pictures into the data set; otherwise they are linked.
        overwrite: replace a data set in the folder, and what was begun there with other settings.
        model_name: how the report calls the model.

    Raises:
        ConfigError: there is no such format, or a number is outside its range.
        MissingExtraError: the format needs a package that is not installed.
    """

    format: str = "coco"
    rules: SelectionRules = field(default_factory=SelectionRules)
    batch_size: int = 1
    tiles: "Tiles | None" = None
    copy: bool = False
    overwrite: bool = False
    model_name: str = ""

    def __post_init__(self) -> None:
        check_format(self.format)
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ConfigError(f"batch_size must be a number of at least 1, got {self.batch_size!r}.")
