"""Random configurations, models and inputs for comparisons with the reference (transformers)."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from torch import Tensor, nn

import groundling
from groundling.structures.features import Prediction

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Family:
    """One family in both implementations."""

    config: type
    reference_config: type
    model: type
    reference_model: type
    base: type
    reference_base: type


FAMILIES = {
    "grounding-dino": Family(
        groundling.GroundingDinoConfig,
        transformers.GroundingDinoConfig,
        groundling.GroundingDinoForObjectDetection,
        transformers.GroundingDinoForObjectDetection,
        groundling.GroundingDinoModel,
        transformers.GroundingDinoModel,
    ),
    "mm-grounding-dino": Family(
        groundling.MMGroundingDinoConfig,
        transformers.MMGroundingDinoConfig,
        groundling.MMGroundingDinoForObjectDetection,
        transformers.MMGroundingDinoForObjectDetection,
        groundling.MMGroundingDinoModel,
        transformers.MMGroundingDinoModel,
    ),
}


def random_config(family: str, seed: int) -> dict[str, Any]:
    """Keyword arguments of a small random configuration, valid for both implementations."""
    choose = random.Random(seed).choice
    maps = choose([[2, 3, 4], [1, 2, 3, 4], [3, 4]])
    values: dict[str, Any] = {
        "backbone_config": {
            "model_type": "swin",
            "embed_dim": choose([8, 16]),
            "depths": choose([[1, 2, 2, 1], [2, 1, 3, 2]]),
            "num_heads": choose([[1, 2, 2, 4], [2, 4, 4, 8]]),
            "window_size": choose([3, 4, 7]),
            "qkv_bias": choose([True, True, False]),
            "out_indices": maps,
        },
        "text_config": {
            "model_type": "bert",
            "hidden_size": 32,
            "num_hidden_layers": choose([1, 2]),
            "num_attention_heads": choose([2, 4]),
            "intermediate_size": 37,
            "vocab_size": 1100,
            "max_position_embeddings": 64,
        },
        "num_queries": choose([11, 20]),
        "encoder_layers": choose([1, 2]),
        "decoder_layers": choose([2, 3]),  # the reference cannot tie the heads of a single layer
        "d_model": choose([32, 64]),
        "encoder_ffn_dim": choose([32, 64]),
        "decoder_ffn_dim": choose([48, 64]),
        "encoder_attention_heads": choose([2, 4, 8]),
        "decoder_attention_heads": choose([2, 4]),
        "num_feature_levels": choose([4, len(maps), 5]),
        "encoder_n_points": choose([1, 3, 4]),
        "decoder_n_points": choose([1, 2, 4]),
        "max_text_len": choose([32, 64]),
        "activation_function": choose(["relu", "gelu"]),
        "positional_embedding_temperature": choose([20, 100]),
        "position_embedding_type": choose(["sine", "sine", "sine", "learned"]),
        "decoder_bbox_embed_share": choose([True, False]),
        "auxiliary_loss": choose([True, False]),
    }
    if family == "mm-grounding-dino":
        values["decoder_cls_embed_share"] = choose([True, False])
    return values


LOGIT_DEVIATION = 3.0
"""About that of trained detectors. A plain dot product of d random numbers has √d, which saturates the sigmoid."""


def spread_weights(model: Module) -> Module:
    """Give a fresh model weights with which neither boxes nor probabilities are all alike; returns the model."""
    scaled_head = any("class_embed" in name or "contrastive_head" in name for name, _ in model.named_parameters())
    before_the_head = (
        "decoder.layer_norm.weight",
        "decoder.norm.weight",
        "enc_output_norm.weight",
        "memory_norm.weight",
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5)
            elif "norm" in name.lower() and name.endswith("weight"):
                parameter.normal_(1.0, 0.1)
            else:
                parameter.normal_(0.0, 0.1)
            if name.endswith(before_the_head) and not scaled_head:
                parameter.mul_(LOGIT_DEVIATION * parameter.numel() ** -0.5)
    return model


def random_pair(family: str, seed: int, folder: Path, **values: Any) -> tuple[nn.Module, nn.Module]:
    """A random reference model and ours, loaded from the files that the reference wrote."""
    torch.manual_seed(seed)
    kinds = FAMILIES[family]
    reference = kinds.reference_model(kinds.reference_config(**(random_config(family, seed) | values))).eval()
    spread_weights(reference)
    reference.save_pretrained(folder)
    return reference, kinds.model.from_pretrained(folder)


def random_inputs(seed: int) -> dict[str, Tensor]:
    """A batch of one to three ragged pictures with prompts of unlike lengths."""
    torch.manual_seed(seed)
    choose = random.Random(seed)
    batch = choose.choice([1, 2, 3])
    height, width = choose.choice([(128, 160), (150, 101), (200, 130)])
    pixel_mask = torch.ones(batch, height, width, dtype=torch.long)
    for index in range(1, batch):
        pixel_mask[index, height - choose.randint(0, height // 2) :] = 0
        pixel_mask[index, :, width - choose.randint(1, width // 2) :] = 0
    length = choose.choice([9, 14])
    input_ids = torch.zeros(batch, length, dtype=torch.long)
    attention_mask = torch.zeros(batch, length, dtype=torch.long)
    for index in range(batch):
        ids = random_prompt(choose, length if index == 0 else choose.randint(5, length))
        input_ids[index, : len(ids)] = torch.tensor(ids)
        attention_mask[index, : len(ids)] = 1
    return {
        "pixel_values": torch.randn(batch, 3, height, width) * pixel_mask[:, None],
        "pixel_mask": pixel_mask,
        "input_ids": input_ids,
        "token_type_ids": torch.zeros_like(input_ids),
        "attention_mask": attention_mask,
    }


def random_prompt(choose: random.Random, length: int) -> list[int]:
    """Token ids of two phrases that fill `length` tokens: [CLS] a a . b b . [SEP]."""
    words = [choose.randint(200, 1000) for _ in range(length - 4)]
    middle = max(1, len(words) // 2)
    return [101, *words[:middle], 1012, *words[middle:], choose.choice([1012, 1029]), 102]


def predict_from(
    model: groundling.GroundingDinoForObjectDetection, inputs: dict[str, Tensor], box_BQ4: Tensor
) -> Prediction:
    """Our prediction when the decoder starts from given boxes.

    Two proposals whose scores differ by less than rounding may come in either order, and each rank has a content of its
    own: full-size models are comparable from the reference's order on.
    """
    image = model.encode_image(inputs["pixel_values"], inputs.get("pixel_mask"))
    text = model.encode_text(inputs["input_ids"], inputs.get("attention_mask"))
    enhanced = model.model.feature_enhancer(image, text)
    image = image._replace(token_BSD=enhanced.image_BSD)
    text = text._replace(token_BTD=enhanced.text_BTD)
    selected, _ = model.model.query_selection(image, text)
    queries = selected._replace(box_BQ4=box_BQ4)
    decoded = model.model.decoder(queries, image, text, model.box_heads)
    text = text._replace(token_BTD=enhanced.text_BTD)
    return model.predict_layer(text, queries, decoded, len(decoded.states) - 1)


def random_labels(seed: int, batch: int) -> list[dict[str, Tensor]]:
    """Zero to four labelled objects for each picture of a batch; at least one in all."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 5, (batch,), generator=generator).tolist()
    counts[-1] = max(counts[-1], 1)
    return [
        {
            "class_labels": torch.randint(0, 2, (count,), generator=generator),
            "boxes": torch.rand(count, 4, generator=generator) * 0.4 + 0.1,
        }
        for count in counts
    ]
