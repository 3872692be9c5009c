"""COCO: one JSON file with images, categories and annotations."""

from pathlib import Path

from groundling.data.problems import Problems, StopAtFirst
from groundling.data.readers.coco_json import CocoBasedRecords, CocoFile, folder_of_pictures


class CocoRecords(CocoBasedRecords):
    """A COCO data set, in which everything that has a category is labelled.

    Category ids may begin anywhere, have gaps and stand in any order; names are in ascending order of the ids.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path | None = None,
        *,
        masks: bool = False,
        problems: Problems | None = None,
    ) -> None:
        """Read the annotations; no picture is opened.

        Args:
            annotations: the JSON file.
            images: the folder of the pictures; else `images` beside the file, else the folder of the file.
            masks: read "segmentation", which every object then needs: run lengths or polygons. Pictures whose size the
                file does not say are then opened for it.
            problems: hears what is wrong; without it the first error is raised.

        Raises:
            DatasetError: the file is missing or wrong; the message names the entry.
            ImageError: a picture's size is needed for its masks, and it is missing or broken.
            MissingExtraError: masks are polygons, and faster-coco-eval is not installed.
        """
        problems = StopAtFirst() if problems is None else problems
        file = CocoFile(Path(annotations).expanduser(), problems)
        folder = folder_of_pictures(images, file.path)
        super().__init__(file, file.categories(), file.pictures(), None, folder, problems, masks=masks)
