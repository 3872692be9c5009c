"""From tensors to what a caller gets."""

from groundling.errors import GroundlingError
from groundling.postprocess.select import Selection
from groundling.structures.detections import Detections
from groundling.structures.features import Prediction


def check_finite(prediction: Prediction) -> None:
    """Refuse a prediction that is no number.

    Raises:
        GroundlingError: it holds NaN.
    """
    if bool(prediction.logit_BQT.isnan().any() | prediction.box_BQ4.isnan().any()):
        raise GroundlingError(
            "The model's output is not a number (NaN), so nothing could be found. With dtype float16 a value was "
            "too large: use bfloat16 or float32. Otherwise the checkpoint is damaged."
        )


def to_detections(
    selection: Selection, labels: tuple[str, ...], *, image_hw: tuple[int, int], source: str | None
) -> Detections:
    """Copy chosen boxes out of tensors.

    Args:
        selection: the boxes.
        labels: the caller's labels.
        image_hw: height and width of the original picture, pixels.
        source: its path or URL.
    """
    height, width = image_hw
    return Detections(
        boxes_xyxy=selection.boxes_xyxy.cpu().numpy(),
        scores=selection.scores.cpu().numpy(),
        label_ids=selection.label_ids.cpu().numpy(),
        labels=labels,
        image_wh=(width, height),
        label_scores=None if selection.label_scores is None else selection.label_scores.cpu().numpy(),
        source=source,
    )
