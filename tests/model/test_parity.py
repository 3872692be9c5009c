"""Every output field equals the reference's, with the same weights, for random configurations and inputs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from groundling.ops import bidirectional_attention, chunks, linear
from random_models import (
    FAMILIES,
    predict_from,
    random_config,
    random_inputs,
    random_labels,
    random_pair,
    spread_weights,
)

SEEDS = range(12)
ROUNDING = 1e-5  # boxes and probabilities, which lie in 0..1
STATE_ROUNDING = 5e-5  # hidden states, attention-weighted sums and box logits have values around 1 to 10


def assert_same(name: str, reference: Any, ours: Any) -> None:
    """Compare fields of any depth; logits are compared as probabilities."""
    if isinstance(reference, Tensor):
        assert ours.shape == reference.shape, name
        assert ours.dtype == reference.dtype, name
        probability = name.startswith(("logits", "enc_outputs_class", "encoder_logits", "auxiliary_outputs.logits"))
        if probability:
            assert torch.equal(ours.isinf(), reference.isinf()), name
            ours, reference = ours.sigmoid(), reference.sigmoid()
        exact = probability or "box" in name or "points" in name or "attentions" in name
        torch.testing.assert_close(
            ours, reference, rtol=0.0, atol=ROUNDING if exact else STATE_ROUNDING, msg=lambda text: f"{name}: {text}"
        )
    elif isinstance(reference, dict):
        assert ours.keys() == reference.keys() - {"label_maps", "text_mask"}, name
        for key in ours:
            assert_same(f"{name}.{key}", reference[key], ours[key])
    else:
        assert len(ours) == len(reference), name
        for left, right in zip(reference, ours, strict=True):
            assert_same(name, left, right)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_output_equals_the_reference(family: str, seed: int, tmp_path: Path) -> None:
    reference, ours = random_pair(family, seed, tmp_path)
    inputs = random_inputs(seed)
    with torch.no_grad():
        expected = reference(**inputs, output_attentions=True, output_hidden_states=True)
        actual = ours(**inputs, output_attentions=True, output_hidden_states=True)
    assert list(actual.keys()) == list(expected.keys())
    for name in expected:
        assert_same(name, expected[name], actual[name])
    assert expected.pred_boxes.std() > 0.01, "boxes that are all alike prove nothing"
    assert expected.logits[expected.logits.isfinite()].std() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS[:6])
def test_many_tokens_take_the_same_numbers_another_way(
    family: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What large pictures and long prompts go through on a CPU, with small ones."""
    monkeypatch.setattr(chunks, "ROWS", 16)
    monkeypatch.setattr(bidirectional_attention, "MOST_SCORES", 0)
    monkeypatch.setattr(linear, "FEWEST_ROWS", 1)
    reference, ours = random_pair(family, seed, tmp_path)
    inputs = random_inputs(seed)
    with torch.no_grad():
        expected, actual = reference(**inputs), ours(**inputs)
    for name in expected:
        assert_same(name, expected[name], actual[name])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 3])
def test_the_base_model_equals_the_reference(family: str, seed: int, tmp_path: Path) -> None:
    torch.manual_seed(seed)
    kinds = FAMILIES[family]
    reference = spread_weights(kinds.reference_base(kinds.reference_config(**random_config(family, seed)))).eval()
    reference.save_pretrained(tmp_path)
    ours = kinds.base.from_pretrained(tmp_path)
    inputs = random_inputs(seed)
    with torch.no_grad():
        expected, actual = reference(**inputs), ours(**inputs)
    assert list(actual.keys()) == list(expected.keys())
    for name in expected:
        assert_same(name, expected[name], actual[name])
    assert torch.equal(actual.intermediate_reference_points[:, -1], actual.init_reference_points), "never refined"


@pytest.mark.parametrize("with_labels", [False, True])
@pytest.mark.parametrize("flags", [{}, {"output_attentions": True}, {"output_hidden_states": True}], ids=str)
def test_tuples_have_the_documented_order(flags: dict[str, bool], with_labels: bool, tmp_path: Path) -> None:
    reference, ours = random_pair("grounding-dino", 1, tmp_path, auxiliary_loss=True)
    inputs: dict[str, Any] = random_inputs(1)
    if with_labels:
        inputs |= {name: value[:1] for name, value in inputs.items()} | {"labels": random_labels(1, 1)}
    with torch.no_grad():
        expected = reference(**inputs, return_dict=False, **flags)
        actual = ours(**inputs, return_dict=False, **flags)
        by_name = ours(**inputs, **flags)
    assert type(actual) is tuple
    assert len(actual) == len(expected)
    for index, (left, right) in enumerate(zip(expected, actual, strict=True)):
        if isinstance(left, Tensor):
            left, right = (x.nan_to_num(posinf=9, neginf=-9) for x in (left, right))
            torch.testing.assert_close(right, left, rtol=1e-5, atol=STATE_ROUNDING, msg=lambda t, i=index: f"{i}: {t}")
        else:
            assert type(left) is type(right), index
            assert len(right) == len(left) or isinstance(left, dict), index
    if not with_labels:
        assert len(by_name) == len(actual)
        assert by_name[0] is by_name[next(iter(by_name))]


@pytest.mark.parametrize("as_tuple", [False, True])
def test_encoder_outputs_can_be_given(as_tuple: bool, tmp_path: Path) -> None:
    _, ours = random_pair("grounding-dino", 2, tmp_path)
    inputs = random_inputs(2)
    flags = {"output_attentions": True, "output_hidden_states": True}
    with torch.no_grad():
        expected = ours(**inputs, **flags)
        from groundling.structures.outputs import GroundingDinoEncoderOutput

        given = GroundingDinoEncoderOutput(
            expected.encoder_last_hidden_state_vision,
            expected.encoder_last_hidden_state_text,
            expected.encoder_vision_hidden_states,
            expected.encoder_text_hidden_states,
            expected.encoder_attentions,
        )
        actual = ours(**inputs, **flags, encoder_outputs=given.to_tuple() if as_tuple else given)
    for name in expected:
        assert_same(name, expected[name], actual[name])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(4))
def test_a_round_trip_through_our_files_changes_nothing(family: str, seed: int, tmp_path: Path) -> None:
    reference, ours = random_pair(family, seed, tmp_path / "reference")
    ours.save_pretrained(tmp_path / "ours")
    back = FAMILIES[family].reference_model.from_pretrained(tmp_path / "ours").eval()
    assert back.state_dict().keys() == reference.state_dict().keys()
    for name, value in reference.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name
    inputs = random_inputs(seed)
    with torch.no_grad():
        expected, actual = reference(**inputs), back(**inputs)
    assert all(torch.equal(expected[name], actual[name]) for name in expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(6))
def test_losses_equal_the_reference_for_one_image(family: str, seed: int, tmp_path: Path) -> None:
    reference, ours = random_pair(family, seed, tmp_path, auxiliary_loss=seed % 2 == 0)
    inputs = {name: value[:1] for name, value in random_inputs(seed).items()}
    labels = random_labels(seed, 1)
    with torch.no_grad():
        expected, actual = reference(**inputs, labels=labels), ours(**inputs, labels=labels)
    assert list(actual.keys()) == list(expected.keys())
    assert list(actual.loss_dict) == list(expected.loss_dict)
    for name in expected.loss_dict:
        # A loss is a sum of hundreds of terms: rounding is relative to it.
        torch.testing.assert_close(actual.loss_dict[name], expected.loss_dict[name], rtol=1e-5, atol=1e-5, msg=name)
    torch.testing.assert_close(actual.loss, expected.loss, rtol=1e-5, atol=1e-5)
    if seed % 2 == 0 and ours.config.decoder_layers > 1:
        assert_same("auxiliary_outputs", expected.auxiliary_outputs, actual.auxiliary_outputs)


@pytest.mark.slow
def test_full_size_swin_t_equals_the_reference(tmp_path: Path) -> None:
    torch.manual_seed(0)
    kinds = FAMILIES["grounding-dino"]
    reference = spread_weights(kinds.reference_model(kinds.reference_config()).eval())
    reference.save_pretrained(tmp_path)
    ours = kinds.model.from_pretrained(tmp_path)
    inputs = {
        "pixel_values": torch.randn(1, 3, 800, 1066),
        "input_ids": torch.tensor([[101, 1037, 4937, 1012, 1037, 6556, 2491, 1012, 102]]),
    }
    with torch.no_grad():
        expected = reference(**inputs)
        del reference
        actual = ours(**inputs)
        decoded = predict_from(ours, inputs, expected.init_reference_points)
    assert expected.pred_boxes.std() > 0.01
    assert_same("enc_outputs_class", expected.enc_outputs_class, actual.enc_outputs_class)
    swapped = (actual.init_reference_points - expected.init_reference_points).abs().amax(-1)[0] > ROUNDING
    assert swapped.sum() <= 4, "only near ties may come in another order"
    assert_same("pred_boxes", expected.pred_boxes, decoded.box_BQ4)
    assert_same("logits", expected.logits[..., :9], decoded.logit_BQT)
