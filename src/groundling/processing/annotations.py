"""COCO annotations to label tensors in pixels of the original picture. Boxes are corners (x1, y1, x2, y2) here."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from groundling.errors import DatasetError, missing_extra

Label = dict[str, Any]


class AnnotationFormat(StrEnum):
    """How annotations are written."""

    COCO_DETECTION = "coco_detection"
    COCO_PANOPTIC = "coco_panoptic"


_REQUIRED = {
    AnnotationFormat.COCO_DETECTION: (("image_id", "annotations"), "annotations", "detection"),
    AnnotationFormat.COCO_PANOPTIC: (("image_id", "segments_info", "file_name"), "segments_info", "panoptic"),
}


def annotation_format(value: object) -> AnnotationFormat:
    """Return the format of this name.

    Raises:
        DatasetError: there is no such format.
    """
    value = getattr(value, "value", value)
    try:
        return AnnotationFormat(str(value))
    except ValueError:
        allowed = [entry.value for entry in AnnotationFormat]
        raise DatasetError(f"{value!r} is not a valid AnnotationFormat, please select one of {allowed}.") from None


def annotation_list(annotations: Any, style: AnnotationFormat) -> list[Mapping[str, Any]]:
    """Return one annotation for each picture, after checking that they have the keys of their format.

    Raises:
        DatasetError: a key is missing or its value is of another kind.
    """
    entries = [annotations] if isinstance(annotations, Mapping) else annotations
    required, objects_key, kind = _REQUIRED[style]
    problem = None
    if not isinstance(entries, list | tuple):
        problem = f"got {type(entries).__name__}"
        entries = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            problem = f"entry {index} is a {type(entry).__name__}"
        elif missing := [key for key in required if key not in entry]:
            problem = f"entry {index} has no key {missing[0]!r}"
        elif not _is_object_list(entry[objects_key]):
            problem = f"{objects_key!r} of entry {index} is not a list of dicts"
        if problem:
            break
    if problem:
        keys = ", ".join(f"`{key}`" for key in required)
        raise DatasetError(
            f"Invalid COCO {kind} annotations: {problem}. Annotations must be a dict (single image) or list of dicts "
            f"(batch of images) with the keys {keys}; `{objects_key}` is a list of dicts in the COCO format."
        )
    return list(entries)


def _is_object_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(entry, Mapping) for entry in value)


def detection_label(annotation: Mapping[str, Any], height: int, width: int, *, with_masks: bool) -> Label:
    """Read one picture's objects: crowds and boxes without area inside the picture are left out.

    An object without "area" gets the area of its box. Category ids are kept as they are.

    Args:
        annotation: {"image_id", "annotations"} in the COCO format; boxes are (x, y, width, height) in pixels.
        height: of the original picture, pixels.
        width: of the original picture, pixels.
        with_masks: also read "segmentation" into bool masks [N, height, width].

    Raises:
        DatasetError: an object lacks a key or its box is not four numbers.
    """
    objects = [entry for entry in annotation["annotations"] if entry.get("iscrowd", 0) == 0]
    corners = torch.tensor([_corners(entry, index) for index, entry in enumerate(objects)], dtype=torch.float32)
    boxes = corners.reshape(-1, 4)
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height)
    kept = (boxes[:, 3] > boxes[:, 1]) & (boxes[:, 2] > boxes[:, 0])
    areas = [_number(entry.get("area", entry["bbox"][2] * entry["bbox"][3]), "area") for entry in objects]
    label: Label = {
        "image_id": torch.tensor([_integer(annotation["image_id"], "image_id")]),
        "class_labels": torch.tensor(
            [_integer(_required(entry, "category_id", index), "category_id") for index, entry in enumerate(objects)],
            dtype=torch.int64,
        )[kept],
        "boxes": boxes[kept],
        "area": torch.tensor(areas, dtype=torch.float32)[kept],
        "iscrowd": torch.zeros(len(objects), dtype=torch.int64)[kept],
        "orig_size": torch.tensor([height, width]),
    }
    if any("keypoints" in entry for entry in objects):
        label["keypoints"] = _keypoints(objects, kept)
    if with_masks:
        segmentations = [_required(entry, "segmentation", index) for index, entry in enumerate(objects)]
        label["masks"] = _segmentation_masks(segmentations, height, width)[kept]
    return label


def panoptic_label(
    annotation: Mapping[str, Any], height: int, width: int, *, masks_path: str | Path | None, with_masks: bool
) -> Label:
    """Read one picture's segments from its PNG, in which a pixel's colour is its segment's id (R + 256·G + 65536·B).

    A box ends at the last pixel of its segment (not one after it), as documented.

    Raises:
        DatasetError: `masks_path` is missing or of another kind, or the PNG cannot be read.
    """
    if not isinstance(masks_path, str | Path):
        raise DatasetError(
            "The path to the directory containing the mask PNG files should be provided as masks_path, a "
            f"`pathlib.Path` or string, but is {masks_path!r}."
        )
    ids = _segment_ids(Path(masks_path) / annotation["file_name"])
    segments: Sequence[Mapping[str, Any]] = annotation["segments_info"]
    wanted = torch.tensor([_integer(_required(entry, "id", i), "id") for i, entry in enumerate(segments)])
    masks = ids[None] == wanted.to(torch.int64)[:, None, None]
    size = torch.tensor([height, width])
    label: Label = {"image_id": torch.tensor([_integer(annotation["image_id"], "image_id")])}
    label |= {"size": size, "orig_size": size.clone()}
    if with_masks:
        label["masks"] = masks
    label["boxes"] = mask_boxes(masks)
    for key, name, dtype in (
        ("class_labels", "category_id", torch.int64),
        ("iscrowd", "iscrowd", torch.int64),
        ("area", "area", torch.float32),
    ):
        values = [_required(entry, name, index) for index, entry in enumerate(segments)]
        label[key] = torch.tensor(values, dtype=dtype)
    return label


def mask_boxes(masks: Tensor) -> Tensor:
    """Return corners [N, 4] float32 of bool masks [N, H, W]: the smallest and the largest pixel index.

    A mask without pixels has (1e8, 1e8, 0, 0), as documented.
    """
    boxes = torch.tensor([1e8, 1e8, 0.0, 0.0]).repeat(masks.shape[0], 1)
    for index, mask in enumerate(masks):
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        if len(rows):
            edges = (columns.min(), rows.min(), columns.max(), rows.max())
            boxes[index] = torch.stack(edges).to(torch.float32)
    return boxes


def _segment_ids(path: Path) -> Tensor:
    try:
        with Image.open(path) as image:
            colour = np.asarray(image.convert("RGB")).astype(np.int64)
    except (OSError, SyntaxError, ValueError) as error:
        raise DatasetError(f"The mask picture {str(path)!r} cannot be read ({error}).") from error
    return torch.from_numpy(colour[:, :, 0] + 256 * colour[:, :, 1] + 65536 * colour[:, :, 2])


def _corners(entry: Mapping[str, Any], index: int) -> tuple[float, float, float, float]:
    box = _required(entry, "bbox", index)
    try:
        x, y, width, height = (float(value) for value in box)
    except (TypeError, ValueError):
        raise DatasetError(f"Object {index} has the bbox {box!r}. Give four numbers: x, y, width, height.") from None
    return x, y, x + width, y + height


def _keypoints(objects: Sequence[Mapping[str, Any]], kept: Tensor) -> Tensor:
    if missing := [index for index, entry in enumerate(objects) if "keypoints" not in entry]:
        raise DatasetError(f"Object {missing[0]} has no key 'keypoints', but other objects of the picture have it.")
    points = torch.tensor([entry["keypoints"] for entry in objects], dtype=torch.float32)[kept]
    return points.reshape(-1, 3)


def _segmentation_masks(segmentations: Sequence[Any], height: int, width: int) -> Tensor:
    try:
        from pycocotools import mask as coco_mask
    except ImportError as error:
        raise missing_extra("pycocotools", "eval", "Reading segmentation masks") from error
    masks = np.zeros((len(segmentations), height, width), dtype=bool)
    for index, segmentation in enumerate(segmentations):
        is_compressed = isinstance(segmentation, Mapping) and isinstance(segmentation.get("counts"), str | bytes)
        try:
            runs = segmentation if is_compressed else coco_mask.frPyObjects(segmentation, height, width)
            decoded = coco_mask.decode(runs)
        except Exception as error:  # pycocotools raises bare Exception
            raise DatasetError(
                f"The segmentation of object {index} cannot be read ({error}). Give polygons or run lengths."
            ) from error
        masks[index] = decoded.astype(bool) if decoded.ndim == 2 else decoded.any(axis=2)
    return torch.from_numpy(masks)


def _required(entry: Mapping[str, Any], key: str, index: int) -> Any:
    if key not in entry:
        raise DatasetError(f"Object {index} has no key {key!r}. It has: {', '.join(map(str, entry)) or 'nothing'}.")
    return entry[key]


def _number(value: Any, key: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DatasetError(f"{key!r} must be a number, got {value!r}.") from None


def _integer(value: Any, key: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise DatasetError(f"{key!r} must be an integer, got {value!r}.") from None


def check_one_each(images: int, annotations: int) -> None:
    """Raise DatasetError unless there is one annotation for each picture."""
    if images != annotations:
        raise DatasetError(
            f"The number of images ({images}) and annotations ({annotations}) do not match. "
            "Give one annotation for each picture."
        )
