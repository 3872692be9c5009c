"""In training mode too: every dropout stands where the reference has it.

Random drops cannot be compared, so in both implementations each drop multiplies by what it keeps.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers.models.grounding_dino.modeling_grounding_dino as reference_model
import transformers.models.swin.modeling_swin as reference_swin
from torch import Tensor, nn
from torch.nn import functional as F

from groundling.model import layers
from random_models import random_config, random_inputs, random_pair

NO_DROPS = {
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "text_enhancer_dropout": 0.0,
    "fusion_droppath": 0.0,
    "fusion_dropout": 0.0,
}
NO_SWIN_DROPS = {"drop_path_rate": 0.0}
NO_BERT_DROPS = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture
def predictable_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    plain_attention = F.scaled_dot_product_attention

    def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return x * (1 - p) if training else x

    def drop_path(module: Any, x: Tensor) -> Tensor:
        probability = module.probability if hasattr(module, "probability") else module.drop_prob
        return x * (1 - probability) if module.training else x

    def attention(*tensors: Tensor, dropout_p: float = 0.0, **options: Any) -> Tensor:
        return plain_attention(*tensors, **options) * (1 - dropout_p)

    monkeypatch.setattr(F, "dropout", dropout)
    monkeypatch.setattr(nn.Dropout, "forward", lambda module, x: dropout(x, module.p, module.training))
    monkeypatch.setattr(F, "scaled_dot_product_attention", attention)
    for drop in (reference_swin.SwinDropPath, reference_model.GroundingDinoDropPath, layers.DropPath):
        monkeypatch.setattr(drop, "forward", drop_path)


@pytest.mark.parametrize(
    ("detector", "swin", "bert"),
    [
        pytest.param({}, {}, {}, id="none"),
        *(pytest.param({name: 0.2}, {}, {}, id=name) for name in NO_DROPS),
        pytest.param({}, {"hidden_dropout_prob": 0.2}, {}, id="swin hidden"),
        pytest.param({}, {"attention_probs_dropout_prob": 0.2}, {}, id="swin attention"),
        pytest.param({}, {}, {"hidden_dropout_prob": 0.2}, id="bert hidden"),
        pytest.param({}, {}, {"attention_probs_dropout_prob": 0.2}, id="bert attention"),
    ],
)
@pytest.mark.usefixtures("predictable_drops")
def test_drops_stand_where_the_reference_has_them(
    detector: dict[str, float], swin: dict[str, float], bert: dict[str, float], tmp_path: Path
) -> None:
    config = random_config("grounding-dino", 0)
    parts = {
        "backbone_config": config["backbone_config"] | NO_SWIN_DROPS | swin,
        "text_config": config["text_config"] | NO_BERT_DROPS | bert,
    }
    reference, ours = random_pair("grounding-dino", 0, tmp_path, **NO_DROPS | detector | parts)
    inputs = random_inputs(0)
    with torch.no_grad():
        resting = ours(**inputs)
        expected, actual = reference.train()(**inputs), ours.train()(**inputs)
    for name in ("encoder_last_hidden_state_vision", "encoder_last_hidden_state_text", "last_hidden_state"):
        torch.testing.assert_close(actual[name], expected[name], rtol=0, atol=5e-5, msg=lambda t, n=name: f"{n}: {t}")
    changed = any(not torch.equal(resting[name], actual[name]) for name in ("last_hidden_state", "pred_boxes"))
    assert changed == bool(detector or swin or bert), "a drop that changes nothing proves nothing"
