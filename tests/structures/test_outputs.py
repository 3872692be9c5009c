from collections.abc import Mapping

import pytest
import torch

from groundling.structures.outputs import GroundingDinoModelOutput, GroundingDinoObjectDetectionOutput


def test_only_fields_that_are_there_count() -> None:
    logits, boxes = torch.zeros(1, 2, 3), torch.zeros(1, 2, 4)
    output = GroundingDinoObjectDetectionOutput(logits=logits, pred_boxes=boxes)
    assert list(output) == list(output.keys()) == ["logits", "pred_boxes"]
    assert len(output) == 2
    assert output[0] is output["logits"] is output.logits is logits
    assert output[-1] is boxes
    assert output[:1] == (logits,)
    assert output.to_tuple() == tuple(output.values()) == (logits, boxes)
    assert "loss" not in output
    assert output.get("loss", 5) == 5
    assert dict(output.items()).keys() == {"logits", "pred_boxes"}
    with pytest.raises(KeyError):
        output["loss"]
    with pytest.raises(IndexError):
        output[2]


def test_an_empty_output() -> None:
    assert GroundingDinoModelOutput().to_tuple() == ()
    assert len(GroundingDinoModelOutput()) == 0


def test_keyword_expansion() -> None:
    def take(**values: torch.Tensor) -> list[str]:
        return list(values)

    assert take(**GroundingDinoModelOutput(last_hidden_state=torch.zeros(1))) == ["last_hidden_state"]


def test_outputs_are_mappings_compared_by_identity() -> None:
    output = GroundingDinoModelOutput(last_hidden_state=torch.zeros(2))
    assert isinstance(output, Mapping)
    assert output == output
    assert output != GroundingDinoModelOutput(last_hidden_state=torch.zeros(2))
    assert {output: 1}[output] == 1
