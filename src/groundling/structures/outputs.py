"""The documented output classes: fields by attribute, by name and by position among those that are not None.

Shapes: B image, Q query, D width, S image token, T text token, K max_text_len, N decoder layer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, overload

import torch
from torch import Tensor


@dataclass(eq=False)
class ModelOutput(Mapping[str, Any]):
    """Base of the outputs: an ordered mapping of the fields that are not None; outputs are compared by identity."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def _present(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @overload
    def __getitem__(self, key: str | int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Any, ...]: ...
    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            return self._present()[key]
        return self.to_tuple()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._present())

    def __len__(self) -> int:
        return len(self._present())

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the values of the fields that are not None."""
        return tuple(self._present().values())


@dataclass(eq=False)
class GroundingDinoEncoderOutput(ModelOutput):
    """Output of the feature enhancer.

    Attributes:
        last_hidden_state_vision: image tokens [B, S, D].
        last_hidden_state_text: text tokens [B, T, D].
        vision_hidden_states: image tokens before each layer and after the last.
        text_hidden_states: text tokens before each layer and after the last.
        attentions: four tuples with one entry for each layer: image to text [B * heads/2, S, T], text to image
            [B * heads/2, T, S], text to text [B, heads/2, T, T], deformable weights [B, S, heads, levels, points].
    """

    last_hidden_state_vision: Tensor | None = None
    last_hidden_state_text: Tensor | None = None
    vision_hidden_states: tuple[Tensor, ...] | None = None
    text_hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[tuple[Tensor, ...], ...] | None = None


@dataclass(eq=False)
class GroundingDinoModelOutput(ModelOutput):
    """Output of the model without detection heads.

    Attributes:
        last_hidden_state: decoder output [B, Q, D].
        init_reference_points: selected boxes [B, Q, 4], (cx, cy, w, h) in 0..1.
        intermediate_hidden_states: normalised output of each decoder layer [B, N, Q, D].
        intermediate_reference_points: boxes after each decoder layer [B, N, Q, 4].
        decoder_hidden_states: normalised queries before the first and after each layer, when asked for.
        decoder_attentions: three tuples (queries, text, deformable) with one entry for each layer, when asked for.
        encoder_last_hidden_state_vision: enhanced image tokens [B, S, D].
        encoder_last_hidden_state_text: enhanced text tokens [B, T, D].
        encoder_vision_hidden_states: image tokens around each enhancer layer, when asked for.
        encoder_text_hidden_states: text tokens around each enhancer layer, when asked for.
        encoder_attentions: see `GroundingDinoEncoderOutput`, when asked for.
        enc_outputs_class: similarity of every image token with the text [B, S, K].
        enc_outputs_coord_logits: box logits of every image token [B, S, 4], +inf where it can give no box.
        encoder_logits: similarity of the query contents with the text before the enhancer [B, Q, K].
        encoder_pred_boxes: selected boxes [B, Q, 4].
    """

    last_hidden_state: Tensor | None = None
    init_reference_points: Tensor | None = None
    intermediate_hidden_states: Tensor | None = None
    intermediate_reference_points: Tensor | None = None
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[tuple[Tensor, ...], ...] | None = None
    encoder_last_hidden_state_vision: Tensor | None = None
    encoder_last_hidden_state_text: Tensor | None = None
    encoder_vision_hidden_states: tuple[Tensor, ...] | None = None
    encoder_text_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[tuple[Tensor, ...], ...] | None = None
    enc_outputs_class: Tensor | None = None
    enc_outputs_coord_logits: Tensor | None = None
    encoder_logits: Tensor | None = None
    encoder_pred_boxes: Tensor | None = None


@dataclass(eq=False)
class GroundingDinoObjectDetectionOutput(ModelOutput):
    """Output of the detector: the losses, the predictions, then the fields of `GroundingDinoModelOutput`.

    Attributes:
        loss: weighted sum of the losses, when labels were given.
        loss_dict: each loss before weighting, when labels were given.
        logits: similarity of each query with each token of the prompt [B, Q, K], float32, -inf beyond the prompt.
        pred_boxes: boxes [B, Q, 4], (cx, cy, w, h) in 0..1 of the un-padded picture.
        auxiliary_outputs: predictions of the earlier decoder layers, when labels were given and
            `config.auxiliary_loss` is set.
        input_ids: the prompt, for post-processing.
    """

    loss: Tensor | None = None
    loss_dict: dict[str, Tensor] | None = None
    logits: Tensor | None = None
    pred_boxes: Tensor | None = None
    auxiliary_outputs: list[dict[str, Tensor]] | None = None
    last_hidden_state: Tensor | None = None
    init_reference_points: Tensor | None = None
    intermediate_hidden_states: Tensor | None = None
    intermediate_reference_points: Tensor | None = None
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[tuple[Tensor, ...], ...] | None = None
    encoder_last_hidden_state_vision: Tensor | None = None
    encoder_last_hidden_state_text: Tensor | None = None
    encoder_vision_hidden_states: tuple[Tensor, ...] | None = None
    encoder_text_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[tuple[Tensor, ...], ...] | None = None
    enc_outputs_class: Tensor | None = None
    enc_outputs_coord_logits: Tensor | None = None
    encoder_logits: Tensor | None = None
    encoder_pred_boxes: Tensor | None = None
    input_ids: Tensor | None = None


for _output in (GroundingDinoEncoderOutput, GroundingDinoModelOutput, GroundingDinoObjectDetectionOutput):
    torch.export.register_dataclass(_output, serialized_type_name=f"groundling.{_output.__name__}")
