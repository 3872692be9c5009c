"""What a protocol accepts."""

import pytest

from groundling.errors import ConfigError
from groundling.evaluate import PROTOCOLS, EvaluationProtocol


def test_the_usual_protocols():
    coco = PROTOCOLS["coco"]
    assert (coco.top_k, coco.aggregate, coco.threshold, coco.nms_iou, coco.chunk) == (300, "mean", None, None, None)
    assert PROTOCOLS["refcoco"].aggregate == "max"
    assert [name for name, one in PROTOCOLS.items() if one.is_per_label] == ["refcoco", "flickr", "scenes_referring"]
    assert EvaluationProtocol(**coco.describe()) == coco


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"top_k": None}, r"top_k must be a number of boxes, got None", id="empty"),
        pytest.param({"top_k": 0}, r"top_k must be at least 1", id="no box"),
        pytest.param({"question": "words"}, r"question='words' is unknown. Use one of names, labels", id="question"),
        pytest.param({"metric": "voc"}, r"metric='voc' is unknown. Use one of coco, lvis", id="metric"),
        pytest.param({"metric": "recall"}, r"question='names' cannot be judged by metric='recall'", id="pair"),
        pytest.param({"question": "caption"}, r"'caption' cannot be judged by metric='coco'", id="other pair"),
        pytest.param({"chunk": 0}, r"chunk must be at least 1 name", id="chunk"),
        pytest.param({"threshold": 2}, r"threshold must be within 0\.\.1, got 2", id="threshold"),
        pytest.param({"nms_iou": -1}, r"nms_iou must be within 0\.\.1, got -1", id="nms"),
        pytest.param({"aggregate": "sum"}, r"aggregate='sum' is not known", id="aggregate"),
        pytest.param(
            {"question": "caption", "metric": "recall", "top_k": 5}, r"needs the best 10 boxes", id="too few for recall"
        ),
    ],
)
def test_values_that_cannot_be(values, message):
    with pytest.raises(ConfigError, match=message):
        EvaluationProtocol(**{"question": "names", "metric": "coco", "top_k": 300} | values)
