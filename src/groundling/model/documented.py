"""From the stages' results to the documented outputs, and back.

Shapes: B image, S image token, T text token, Q query, D width, H head, K max_text_len.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from groundling.configuration import DetectorConfig
from groundling.errors import ConfigError
from groundling.structures.features import EnhancedFeatures, EnhancerAttentions, Grounding, Prediction
from groundling.structures.outputs import (
    GroundingDinoEncoderOutput,
    GroundingDinoModelOutput,
    GroundingDinoObjectDetectionOutput,
)


class OutputFlags(NamedTuple):
    """What the documented forward returns.

    Attributes:
        attentions: all attention weights.
        states: the states around all layers.
        return_dict: an output object instead of a tuple.
    """

    attentions: bool
    states: bool
    return_dict: bool


def output_flags(
    config: DetectorConfig, attentions: bool | None, states: bool | None, return_dict: bool | None
) -> OutputFlags:
    """Fill in the configuration's value where a flag is None."""
    return OutputFlags(
        config.output_attentions if attentions is None else attentions,
        config.output_hidden_states if states is None else states,
        config.return_dict if return_dict is None else return_dict,
    )


def pad_logits(logit_BNT: Tensor, max_text_len: int) -> Tensor:
    """Widen logits to `max_text_len` columns with -inf, [B, N, K]."""
    return F.pad(logit_BNT, (0, max_text_len - logit_BNT.shape[-1]), value=-torch.inf)


def model_output(
    config: DetectorConfig, grounding: Grounding, proposal: Prediction, every_box_BS4: Tensor, flags: OutputFlags
) -> GroundingDinoModelOutput:
    """Arrange the stages' results as documented; boxes are in the type of the model.

    Args:
        config: the model's.
        grounding: what happened between the features and the heads.
        proposal: the selection as a prediction.
        every_box_BS4: the box that each image token proposes, before the sigmoid.
        flags: what was asked for.
    """
    enhanced, decoded, width = grounding.enhanced, grounding.decoded, config.max_text_len
    dtype = enhanced.image_BSD.dtype
    return GroundingDinoModelOutput(
        last_hidden_state=decoded.states[-1],
        init_reference_points=grounding.queries.box_BQ4.to(dtype),
        intermediate_hidden_states=torch.stack(decoded.states, dim=1),
        intermediate_reference_points=torch.stack(decoded.boxes, dim=1).to(dtype),
        decoder_hidden_states=(decoded.input_state_BQD, *decoded.states) if flags.states else None,
        decoder_attentions=tuple(zip(*decoded.attentions, strict=True)) if flags.attentions else None,
        encoder_last_hidden_state_vision=enhanced.image_BSD,
        encoder_last_hidden_state_text=enhanced.text_BTD,
        encoder_vision_hidden_states=enhanced.image_states if flags.states else None,
        encoder_text_hidden_states=enhanced.text_states if flags.states else None,
        encoder_attentions=_documented_attentions(enhanced.attentions) if flags.attentions else None,
        enc_outputs_class=pad_logits(grounding.proposals.logit_BST, width),
        enc_outputs_coord_logits=every_box_BS4.to(dtype),
        encoder_logits=pad_logits(proposal.logit_BQT, width),
        encoder_pred_boxes=proposal.box_BQ4.to(dtype),
    )


def detection_output(
    config: DetectorConfig, base: GroundingDinoModelOutput, predictions: Sequence[Prediction], input_ids: Tensor
) -> GroundingDinoObjectDetectionOutput:
    """Arrange the predictions as documented; the last one is the answer, earlier ones are auxiliary."""
    *earlier, last = predictions
    dtype = base.last_hidden_state.dtype if base.last_hidden_state is not None else torch.float32
    auxiliary = [
        {"logits": pad_logits(prediction.logit_BQT, config.max_text_len), "pred_boxes": prediction.box_BQ4.to(dtype)}
        for prediction in earlier
    ]
    return GroundingDinoObjectDetectionOutput(
        logits=pad_logits(last.logit_BQT, config.max_text_len),
        pred_boxes=last.box_BQ4.to(dtype),
        auxiliary_outputs=auxiliary or None,
        input_ids=input_ids,
        **{name: getattr(base, name) for name in vars(base)},
    )


def detection_tuple(output: GroundingDinoObjectDetectionOutput) -> tuple[Any, ...]:
    """Return the documented tuple: the fields in order, each auxiliary output as an element of its own."""
    elements: list[Any] = []
    for name, value in output.items():
        elements.extend(value if name == "auxiliary_outputs" else [value])
    return tuple(elements)


def _documented_attentions(layers: tuple[EnhancerAttentions, ...]) -> tuple[tuple[Tensor, ...], ...]:
    """Return one tuple for each kind of attention; the fusion's heads lie in the batch axis."""
    merged = [
        layer._replace(
            image_to_text_BHST=layer.image_to_text_BHST.flatten(0, 1),
            text_to_image_BHTS=layer.text_to_image_BHTS.flatten(0, 1),
        )
        for layer in layers
    ]
    return tuple(zip(*merged, strict=True)) or ((),) * len(EnhancerAttentions._fields)


def read_encoder_outputs(
    given: GroundingDinoEncoderOutput | tuple[Any, ...] | None, flags: OutputFlags
) -> EnhancedFeatures | None:
    """Read an earlier output of the feature enhancer.

    Args:
        given: the output object, or a tuple of image tokens, text tokens and, where `flags` ask for them, their states
            and the attentions.
        flags: what the caller asks for.

    Raises:
        ConfigError: the image or the text tokens are missing.
    """
    if given is None:
        return None
    if isinstance(given, GroundingDinoEncoderOutput):
        output = given
    else:
        if len(given) < 2 + 2 * flags.states + flags.attentions:
            raise ConfigError(
                f"encoder_outputs has {len(given)} elements. It needs image and text tokens, then their hidden states "
                "and the attentions where these are asked for."
            )
        output = GroundingDinoEncoderOutput(
            last_hidden_state_vision=given[0],
            last_hidden_state_text=given[1],
            vision_hidden_states=given[2] if flags.states else None,
            text_hidden_states=given[3] if flags.states else None,
            attentions=given[-1] if flags.attentions else None,
        )
    image_BSD, text_BTD = output.last_hidden_state_vision, output.last_hidden_state_text
    if image_BSD is None or text_BTD is None:
        raise ConfigError("encoder_outputs must hold last_hidden_state_vision and last_hidden_state_text.")
    batch = image_BSD.shape[0]
    attentions = tuple(
        EnhancerAttentions(to_text.unflatten(0, (batch, -1)), to_image.unflatten(0, (batch, -1)), text, image)
        for to_text, to_image, text, image in zip(*(output.attentions or ()), strict=True)
    )
    return EnhancedFeatures(
        image_BSD, text_BTD, output.vision_hidden_states or (), output.text_hidden_states or (), attentions
    )
