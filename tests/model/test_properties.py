"""What must hold for every detector, whatever its weights."""

import copy
import random
import re
import threading
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from groundling import (
    ConfigError,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoModel,
    ImageError,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    PromptError,
    SwinConfig,
)
from groundling.configuration import checks
from groundling.configuration.presets import PRESETS, tiny
from groundling.model.layers import ACTIVATIONS
from groundling.model.position_encoding import LearnedPositionEncoding
from random_models import FAMILIES, random_inputs, random_labels, random_pair, random_prompt, spread_weights

BATCH_TOLERANCE = 1e-4  # batch mates change the shapes of matrix products, and with them the rounding


def prompt_batch(seed: int, lengths: list[int]) -> tuple[Tensor, Tensor]:
    choose = random.Random(seed)
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.tensor(random_prompt(choose, length))
    return ids, (ids > 0).long()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_a_batch_of_different_prompts_equals_single_runs(family: str, seed: int, tmp_path: Path) -> None:
    _, model = random_pair(family, seed, tmp_path)
    torch.manual_seed(seed)
    pixel_values = torch.randn(3, 3, 150, 130)
    lengths = [6, 14, 9]
    ids, mask = prompt_batch(seed, lengths)
    with torch.no_grad():
        together = model(pixel_values, ids, attention_mask=mask)
        for row, length in enumerate(lengths):
            alone = model(pixel_values[row : row + 1], ids[row : row + 1, :length])
            torch.testing.assert_close(together.pred_boxes[row], alone.pred_boxes[0], rtol=0, atol=BATCH_TOLERANCE)
            torch.testing.assert_close(
                together.logits[row].sigmoid(), alone.logits[0].sigmoid(), rtol=0, atol=BATCH_TOLERANCE
            )


def test_the_order_of_a_batch_does_not_matter(tiny_detector: GroundingDinoForObjectDetection) -> None:
    inputs = random_inputs(5)
    order = torch.arange(inputs["input_ids"].shape[0]).flip(0)
    with torch.no_grad():
        straight = tiny_detector(**inputs)
        turned = tiny_detector(**{name: value[order] for name, value in inputs.items()})
    assert len(order) > 1
    torch.testing.assert_close(turned.pred_boxes[order], straight.pred_boxes, rtol=0, atol=BATCH_TOLERANCE)


def test_features_can_be_reused(tiny_detector: GroundingDinoForObjectDetection) -> None:
    inputs = random_inputs(1)
    with torch.no_grad():
        whole = tiny_detector(**inputs)
        image = tiny_detector.encode_image(inputs["pixel_values"], inputs["pixel_mask"])
        text = tiny_detector.encode_text(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])
        for _ in range(2):
            prediction = tiny_detector.ground(image, text)
            assert torch.equal(prediction.box_BQ4, whole.pred_boxes)
            assert torch.equal(prediction.logit_BQT, whole.logits[..., : inputs["input_ids"].shape[1]])


def test_asking_for_more_changes_no_other_output(tiny_detector: GroundingDinoForObjectDetection) -> None:
    inputs = random_inputs(2)
    with torch.no_grad():
        plain = tiny_detector(**inputs)
        full = tiny_detector(**inputs, output_attentions=True, output_hidden_states=True)
    assert set(full.keys()) - set(plain.keys()) == {
        "decoder_attentions",
        "decoder_hidden_states",
        "encoder_attentions",
        "encoder_text_hidden_states",
        "encoder_vision_hidden_states",
    }
    for name in plain:
        assert torch.equal(plain[name], full[name]), name


def test_forward_writes_nothing_to_the_model(tiny_detector: GroundingDinoForObjectDetection) -> None:
    def attributes() -> dict[str, set[str]]:
        return {name: set(vars(module)) for name, module in tiny_detector.named_modules()}

    names, state = attributes(), copy.deepcopy(tiny_detector.state_dict())
    with torch.no_grad():
        tiny_detector(**random_inputs(0), output_attentions=True)
    assert attributes() == names
    assert all(torch.equal(value, state[name]) for name, value in tiny_detector.state_dict().items())


def test_two_threads_share_a_model(tiny_detector: GroundingDinoForObjectDetection) -> None:
    batches = [random_inputs(seed) for seed in range(4)]
    with torch.no_grad():
        expected = [tiny_detector(**batch).pred_boxes for batch in batches]
    found: dict[tuple[int, int], Tensor] = {}

    def work(thread: int) -> None:
        with torch.no_grad():
            for index, batch in enumerate(batches):
                found[thread, index] = tiny_detector(**batch).pred_boxes

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 * len(batches)
    for (_, index), boxes in found.items():
        assert torch.equal(boxes, expected[index])


def scalar_of_all_outputs(output: object) -> Tensor:
    """A number that every floating-point output has a part in; infinite values are left out."""
    if isinstance(output, Tensor):
        return output[output.isfinite()].float().sum() if output.is_floating_point() else torch.zeros(())
    values = output.values() if hasattr(output, "values") else output
    return sum((scalar_of_all_outputs(value) for value in values), torch.zeros(()))


@pytest.mark.parametrize("shared", [True, False], ids=["shared heads", "a head for each layer"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("encoding", ["sine", "learned"])
def test_every_parameter_gets_a_gradient(family: str, shared: bool, encoding: str) -> None:
    torch.manual_seed(0)
    values = tiny().to_dict() | {
        "decoder_bbox_embed_share": shared,
        "auxiliary_loss": True,
        "position_embedding_type": encoding,
    }
    values.pop("model_type")
    if family == "mm-grounding-dino":
        values.pop("two_stage_bbox_embed_share")
        values["decoder_cls_embed_share"] = shared
    kinds = FAMILIES[family]
    model = spread_weights(kinds.model(kinds.config(**values)))
    inputs = random_inputs(1)
    output = model(**inputs, labels=random_labels(1, len(inputs["input_ids"])))
    scalar_of_all_outputs(output).backward()
    without = [
        name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    assert without == []
    assert [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("shared", [True, False], ids=["shared heads", "a head for each layer"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_trains_every_head_with_auxiliary_losses(family: str, shared: bool) -> None:
    torch.manual_seed(0)
    values = tiny().to_dict() | {"decoder_bbox_embed_share": shared, "auxiliary_loss": True}
    del values["model_type"]
    if family == "mm-grounding-dino":
        values |= {"decoder_cls_embed_share": shared}
        del values["two_stage_bbox_embed_share"]
    kinds = FAMILIES[family]
    model = spread_weights(kinds.model(kinds.config(**values)))
    inputs = random_inputs(1)
    model(**inputs, labels=random_labels(1, len(inputs["input_ids"]))).loss.backward()
    without = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    # The documented objective scores the learned contents, so nothing of the enhancer's last text layer is lost.
    assert without == set()


def test_the_decoder_starts_from_boxes_without_gradient(tiny_detector: GroundingDinoForObjectDetection) -> None:
    inputs = random_inputs(1)
    image = tiny_detector.encode_image(inputs["pixel_values"], inputs["pixel_mask"])
    text = tiny_detector.encode_text(inputs["input_ids"], inputs["attention_mask"])
    grounding = tiny_detector.model.enhance_select_decode(image, text, box_heads=tiny_detector.box_heads)
    assert not grounding.queries.box_BQ4.requires_grad
    assert grounding.proposals.box_BQ4.requires_grad


def test_a_layers_box_trains_the_head_of_the_layer_before() -> None:
    """And no other: between layers the boxes carry no gradient ("look forward twice" of DINO)."""
    values = tiny().to_dict() | {"decoder_bbox_embed_share": False, "decoder_layers": 4}
    del values["model_type"]
    model = spread_weights(GroundingDinoForObjectDetection(GroundingDinoConfig(**values)))
    inputs = random_inputs(1)
    image = model.encode_image(inputs["pixel_values"], inputs["pixel_mask"])
    text = model.encode_text(inputs["input_ids"], inputs["attention_mask"])
    grounding = model.model.enhance_select_decode(image, text, box_heads=model.box_heads)
    text = text._replace(token_BTD=grounding.enhanced.text_BTD)
    for layer in range(4):
        boxes = model.predict_layer(text, grounding.queries, grounding.decoded, layer).box_BQ4
        biases = [head.layers[-1].bias for head in model.box_heads]
        gradients = torch.autograd.grad(boxes.sum(), biases, retain_graph=True, allow_unused=True)
        trained = {number for number, g in enumerate(gradients) if g is not None and bool(g.abs().sum() > 0)}
        assert trained == {max(layer - 1, 0), layer}


def test_the_loss_trains_query_selection(tiny_detector: GroundingDinoForObjectDetection) -> None:
    model = copy.deepcopy(tiny_detector)
    inputs = random_inputs(1)
    model(**inputs, labels=random_labels(1, len(inputs["input_ids"]))).loss.backward()
    selection = model.model.query_selection
    for part in (selection.memory_projection, selection.memory_norm, selection.box_head):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_has_the_documented_types(
    dtype: torch.dtype, tiny_detector: GroundingDinoForObjectDetection
) -> None:
    model = copy.deepcopy(tiny_detector).to(dtype)
    with torch.no_grad():
        half = model(**random_inputs(3))
    assert half.logits.dtype == half.enc_outputs_class.dtype == half.encoder_logits.dtype == torch.float32
    assert half.pred_boxes.dtype == half.last_hidden_state.dtype == half.enc_outputs_coord_logits.dtype == dtype
    assert half.pred_boxes.isfinite().all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.02), (torch.float16, 0.004)])
def test_half_precision_on_a_large_picture(
    dtype: torch.dtype, tolerance: float, tiny_detector: GroundingDinoForObjectDetection
) -> None:
    """Sampling a large map in half precision is where torch returns garbage and where cells get mixed up."""
    model = copy.deepcopy(tiny_detector).to(dtype)
    torch.manual_seed(0)
    pixel_values, ids = torch.randn(1, 3, 800, 1066), torch.tensor([[101, 1037, 4937, 1012, 102]])
    with torch.no_grad():
        exact, half = (
            m.model.feature_enhancer(m.encode_image(pixel_values), m.encode_text(ids)).image_BSD.float()
            for m in (tiny_detector, model)
        )
        boxes = model.ground(model.encode_image(pixel_values), model.encode_text(ids)).box_BQ4
    assert boxes.dtype == torch.float32
    assert boxes.isfinite().all()
    assert (half - exact).abs().mean() < tolerance * exact.abs().mean()


def test_a_picture_with_fewer_cells_than_queries_gives_fewer_queries(
    tiny_detector: GroundingDinoForObjectDetection,
) -> None:
    with torch.no_grad():
        output = tiny_detector(torch.randn(1, 3, 17, 33), torch.tensor([[101, 1037, 1012, 102]]))
    cells = output.enc_outputs_class.shape[1]
    assert cells < tiny_detector.config.num_queries
    assert output.pred_boxes.shape == (1, cells, 4)
    assert output.pred_boxes.isfinite().all()


def test_a_prompt_that_is_too_long_is_refused(tiny_detector: GroundingDinoForObjectDetection) -> None:
    limit = tiny_detector.config.max_text_len
    with pytest.raises(PromptError, match=f"has {limit + 1} tokens, but the model reads at most {limit}"):
        tiny_detector(torch.randn(1, 3, 64, 64), torch.full((1, limit + 1), 1037))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        pytest.param(
            {"pixel_values": [1]}, TypeError, "pixel_values must be a tensor, got list.*return_tensors='pt'", id="list"
        ),
        pytest.param({"pixel_values": torch.zeros(3, 64, 64)}, ImageError, r"\[batch, 3, height", id="no batch"),
        pytest.param({"pixel_values": torch.zeros(1, 4, 64, 64)}, ImageError, r"but has \(1, 4, 64", id="channels"),
        pytest.param({"input_ids": [[1]]}, TypeError, "input_ids must be a tensor", id="ids"),
        pytest.param(
            {"pixel_mask": torch.ones(1, 7, 9)}, ImageError, r"\(1, 7, 9\), but pixel_values \(1, 3", id="mask"
        ),
        pytest.param(
            {"pixel_values": torch.zeros(2, 3, 64, 64), "pixel_mask": None},
            PromptError,
            "2 pictures and 1 prompts",
            id="batch",
        ),
        pytest.param({"encoder_outputs": (None,)}, ConfigError, "encoder_outputs has 1 elements", id="short"),
        pytest.param({"encoder_outputs": (None, None)}, ConfigError, "must hold last_hidden_state_vision", id="none"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    change: dict[str, object], error: type[Exception], message: str, tiny_detector: GroundingDinoForObjectDetection
) -> None:
    inputs: dict[str, object] = {
        "pixel_values": torch.zeros(1, 3, 64, 64),
        "input_ids": torch.tensor([[101, 7, 1012, 102]]),
    }
    with pytest.raises(error, match=message):
        tiny_detector(**inputs | change)


def test_a_phrase_longer_than_the_text_backbone_has_positions_is_refused() -> None:
    values = tiny().to_dict() | {"text_config": tiny().text_config.to_dict() | {"max_position_embeddings": 8}}
    del values["model_type"]
    model = GroundingDinoForObjectDetection(GroundingDinoConfig(**values)).eval()
    short = torch.tensor([[101, *[7, 8, 1012] * 4, 102]])
    assert model.encode_text(short).token_BTD.shape[1] == 14
    with pytest.raises(PromptError, match="A phrase has 10 tokens, but the text backbone has positions for 8"):
        model.encode_text(torch.tensor([[101, *[7] * 9, 1012, 102]]))


def test_learned_positions_have_a_limit() -> None:
    encode = LearnedPositionEncoding(width=4)
    with pytest.raises(ImageError, match="51 x 3 cells, but learned position encodings have 50"):
        encode(torch.ones(1, 51, 3, dtype=torch.bool))


def test_activations_that_configurations_allow_exist() -> None:
    assert set(checks.ACTIVATIONS) == set(ACTIVATIONS)


def test_an_unknown_argument_is_refused(tiny_detector: GroundingDinoForObjectDetection) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'pixel_msk'"):
        tiny_detector(torch.randn(1, 3, 64, 64), torch.tensor([[101, 102]]), pixel_msk=None)


def test_the_classes_do_not_take_each_others_configuration() -> None:
    mm = MMGroundingDinoConfig(backbone_config=tiny().backbone_config, text_config=tiny().text_config)
    with pytest.raises(ConfigError, match="is built from a GroundingDinoConfig, but got a MMGroundingDinoConfig"):
        GroundingDinoForObjectDetection(mm)
    with pytest.raises(ConfigError, match="is built from a MMGroundingDinoConfig"):
        MMGroundingDinoForObjectDetection(tiny())
    with pytest.raises(ConfigError, match="use_absolute_embeddings"):
        GroundingDinoModel(GroundingDinoConfig(backbone_config=SwinConfig(use_absolute_embeddings=True)))


def test_the_backbone_can_be_frozen(tiny_detector: GroundingDinoForObjectDetection) -> None:
    model = copy.deepcopy(tiny_detector)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    model.freeze_backbone()
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if name.startswith("model.image_backbone.")}
    model.unfreeze_backbone()
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == trainable


@pytest.mark.parametrize(("preset", "count"), [("swin_t", 172_250_626), ("mm_swin_t", None), ("mm_swin_l", None)])
def test_full_size_models_have_the_published_number_of_parameters(preset: str, count: int | None) -> None:
    config = PRESETS[preset]()
    kinds = FAMILIES[config.model_type]
    with torch.device("meta"):
        ours = kinds.model(config)
        reference = kinds.reference_model(kinds.reference_config.from_dict(config.to_dict()))
    assert ours.num_parameters() == sum(parameter.numel() for parameter in reference.parameters())
    assert count in (None, ours.num_parameters())


def test_fresh_weights_follow_the_documented_distributions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    kinds = FAMILIES["mm-grounding-dino"]
    values = tiny().to_dict() | {"num_queries": 200}
    del values["model_type"], values["two_stage_bbox_embed_share"]
    ours, reference = kinds.model(kinds.config(**values)), kinds.reference_model(kinds.reference_config(**values))
    reference.save_pretrained(tmp_path)
    found, expected = summary(ours.state_dict()), summary(kinds.model.from_pretrained(tmp_path).state_dict())
    assert found.keys() == expected.keys()
    for name, (mean, deviation) in found.items():
        assert mean == pytest.approx(expected[name][0], abs=0.3 * expected[name][1] + 1e-6), name
        assert deviation == pytest.approx(expected[name][1], rel=0.25, abs=1e-6), name


def summary(state: dict[str, Tensor]) -> dict[str, tuple[float, float]]:
    """Mean and deviation of the tensors of each kind, which are many enough together to have some."""
    kinds: dict[str, list[Tensor]] = defaultdict(list)
    for name, value in state.items():
        kinds[re.sub(r"[.][0-9]+[.]", ".N.", name)].append(value.flatten())
    joined = {kind: torch.cat(values) for kind, values in kinds.items()}
    return {kind: (x.mean().item(), x.std().item()) for kind, x in joined.items() if x.numel() >= 512}


def test_everything_that_a_model_holds_is_a_parameter() -> None:
    with torch.device("meta"):
        model = GroundingDinoForObjectDetection(tiny())
    assert all(parameter.is_meta for parameter in model.parameters())
    assert list(model.buffers()) == [], "to_empty() and other devices leave nothing unfilled"
