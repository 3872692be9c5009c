import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from groundling.errors import ConfigError
from groundling.postprocess import class_wise_nms
from reference import selection as naive

# a grid of whole numbers: ties, equal boxes and boxes without area are frequent, and IoU is exact
corner = st.integers(0, 6)
box = st.tuples(corner, corner, corner, corner).map(
    lambda b: [float(min(b[0], b[2])), float(min(b[1], b[3])), float(max(b[0], b[2])), float(max(b[1], b[3]))]
)
labelled = st.lists(st.tuples(box, st.integers(0, 2)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(labelled, st.sampled_from([0.0, 0.3, 0.51, 0.99, 1.0]))
def test_it_equals_the_loops(boxes_and_labels, threshold) -> None:
    boxes, labels = [each[0] for each in boxes_and_labels], [each[1] for each in boxes_and_labels]
    kept = class_wise_nms(torch.tensor(boxes).reshape(-1, 4), torch.tensor(labels, dtype=torch.int64), threshold)
    assert kept.dtype == torch.int64
    assert kept.tolist() == naive.class_wise_nms(boxes, labels, threshold)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_the_threshold_is_checked(threshold) -> None:
    with pytest.raises(ConfigError, match=r"nms_iou must be within 0\.\.1"):
        class_wise_nms(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64), threshold)
