"""A folder of pictures in, a data set out: prefetched, batched, resumable."""

from groundling.labelling.pictures import PictureList, find_pictures
from groundling.labelling.report import LabelReport, Unreadable
from groundling.labelling.run import check_output, label_folder
from groundling.labelling.settings import LabelSettings

__all__ = ["LabelReport", "LabelSettings", "PictureList", "Unreadable", "check_output", "find_pictures", "label_folder"]
