"""The model is one graph: compiled and exported versions give the same numbers."""

import pytest
import torch

from groundling import GroundingDinoConfig, GroundingDinoForObjectDetection
from groundling.structures.outputs import GroundingDinoObjectDetectionOutput
from random_models import FAMILIES, random_inputs, spread_weights

SMALL = {
    "backbone_config": {"model_type": "swin", "embed_dim": 8, "depths": [1, 2], "num_heads": [1, 2], "window_size": 4,
                        "out_indices": [1, 2]},
    "text_config": {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "intermediate_size": 32, "vocab_size": 1100},
    "num_queries": 10, "encoder_layers": 1, "decoder_layers": 1, "d_model": 32, "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_feature_levels": 2,
    "max_text_len": 16,
}  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> GroundingDinoForObjectDetection:
    torch.manual_seed(0)
    kinds = FAMILIES[request.param]
    return spread_weights(kinds.model(kinds.config(**SMALL))).eval()


def assert_equal_outputs(
    expected: GroundingDinoObjectDetectionOutput, actual: GroundingDinoObjectDetectionOutput, tolerance: float
) -> None:
    assert type(actual) is GroundingDinoObjectDetectionOutput
    assert list(actual.keys()) == list(expected.keys())
    for name in expected:
        as_probability = name in ("logits", "enc_outputs_class", "encoder_logits")
        pair = (output[name].sigmoid() if as_probability else output[name] for output in (actual, expected))
        torch.testing.assert_close(*pair, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


def test_one_graph(model: GroundingDinoForObjectDetection) -> None:
    inputs = random_inputs(1)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert_equal_outputs(model(**inputs), compiled(**inputs), tolerance=1e-5)
    torch.compiler.reset()


@pytest.mark.slow
def test_compiled_with_the_default_backend() -> None:
    torch.manual_seed(0)
    config = GroundingDinoConfig(**SMALL)
    model = spread_weights(GroundingDinoForObjectDetection(config)).eval()
    inputs = random_inputs(1)
    compiled = torch.compile(model, fullgraph=True)
    with torch.no_grad():
        assert_equal_outputs(model(**inputs), compiled(**inputs), tolerance=1e-5)
    torch.compiler.reset()


def test_exported(model: GroundingDinoForObjectDetection) -> None:
    inputs = random_inputs(1)
    with torch.no_grad():
        program = torch.export.export(model, args=(), kwargs=inputs)
        # a traced graph takes the plain operations in place of those that are faster on a CPU
        assert_equal_outputs(model(**inputs), program.module()(**inputs), tolerance=1e-5)


def test_training_compiles(model: GroundingDinoForObjectDetection) -> None:
    features = torch.compile(model.encode_image, fullgraph=True, backend="aot_eager")
    pixels = random_inputs(0)["pixel_values"]
    features(pixels).token_BSD.sum().backward()
    assert model.model.image_backbone.patch_embedding.projection.weight.grad is not None
    model.zero_grad()
    torch.compiler.reset()


def test_no_stage_copies_from_the_host(model: GroundingDinoForObjectDetection) -> None:
    """A constant made on the host is a copy that a GPU must wait for, in every call."""
    program = torch.export.export(model, args=(), kwargs=random_inputs(1))
    copies = [
        node.name for node in program.graph.nodes if "lift_fresh" in str(node.target) or "_to_copy" in str(node.target)
    ]
    assert copies == []
    assert program.constants == {}


def test_exported_for_any_length_of_text() -> None:
    torch.manual_seed(0)
    model = spread_weights(GroundingDinoForObjectDetection(GroundingDinoConfig(**SMALL))).eval()
    pixel_values = torch.randn(1, 3, 128, 96)
    prompts = [torch.tensor([[101, *range(300, 300 + words), 1012, 102]]) for words in (3, 9)]
    with torch.no_grad():
        program = torch.export.export(
            model,
            args=(pixel_values, prompts[0]),
            dynamic_shapes={"pixel_values": None, "input_ids": {1: torch.export.Dim.AUTO}},
        )
        for ids in prompts:
            assert_equal_outputs(model(pixel_values, ids), program.module()(pixel_values, ids), tolerance=1e-5)
