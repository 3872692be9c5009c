"""Grounding DINO (Liu et al. 2023): the stages in the order of the paper's figure 3.

Shapes: B image, C channel, H height, W width, T text token, S image token, Q query, D width, K max_text_len.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from groundling.configuration import DetectorConfig, GroundingDinoConfig, MMGroundingDinoConfig
from groundling.errors import ImageError, PromptError
from groundling.model import build
from groundling.model.documented import (
    detection_output,
    detection_tuple,
    model_output,
    output_flags,
    read_encoder_outputs,
)
from groundling.model.heads import head_of_layer
from groundling.model.image_projection import image_tokens
from groundling.model.initialization import initialize
from groundling.model.layers import Linear
from groundling.model.pretrained import PretrainedModel
from groundling.model.text_mask import sub_sentence_mask
from groundling.objective.criterion import Criterion
from groundling.objective.positive_map import phrase_maps
from groundling.objective.targets import read_targets
from groundling.ops.reference_points import inverse_sigmoid
from groundling.structures.features import (
    DecodedQueries,
    EnhancedFeatures,
    Grounding,
    ImageFeatures,
    Prediction,
    Queries,
    TextFeatures,
)
from groundling.structures.outputs import (
    GroundingDinoEncoderOutput,
    GroundingDinoModelOutput,
    GroundingDinoObjectDetectionOutput,
)


class GroundingDinoModel(PretrainedModel):
    """Grounding DINO without detection heads: boxes stay where query selection put them.

    Args:
        config: sizes of the model.
    """

    config_class: ClassVar[type[DetectorConfig]] = GroundingDinoConfig

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__(config)
        self.image_backbone = build.build_image_backbone(config.backbone_config)
        self.image_projection = build.build_image_projection(config)
        self.position_encoding = build.build_position_encoding(config)
        self.level_embedding = nn.Parameter(torch.randn(config.num_feature_levels, config.d_model))
        self.text_backbone = build.build_text_backbone(config.text_config)
        self.text_projection = Linear(config.text_config.hidden_size, config.d_model)
        self.feature_enhancer = build.build_feature_enhancer(config)
        self.query_selection = build.build_query_selection(config)
        self.decoder = build.build_decoder(config)
        initialize(self, config)

    def encode_image(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> ImageFeatures:
        """Turn pictures into image tokens, which do not depend on the prompt.

        Args:
            pixel_values: normalised pixels [B, 3, H, W]; converted to the type of the model.
            pixel_mask: 1 or True where a pixel is picture, 0 on padding [B, H, W]; None means no padding.

        Raises:
            ImageError: the pixels have another shape, or the mask does not belong to them.
        """
        _check_tensor("pixel_values", pixel_values)
        channels = self.config.backbone_config.num_channels
        if pixel_values.ndim != 4 or pixel_values.shape[1] != channels:
            raise ImageError(
                f"pixel_values must have the shape [batch, {channels}, height, width], "
                f"but has {tuple(pixel_values.shape)}."
            )
        if pixel_mask is not None and pixel_mask.shape != (pixel_values.shape[0], *pixel_values.shape[-2:]):
            raise ImageError(
                f"pixel_mask has the shape {tuple(pixel_mask.shape)}, but pixel_values {tuple(pixel_values.shape)}. "
                "They must agree in batch, height and width."
            )
        pixel_BCHW = pixel_values.to(self.level_embedding.dtype)
        valid_BHW = torch.ones_like(pixel_BCHW[:, 0], dtype=torch.bool) if pixel_mask is None else pixel_mask > 0
        levels = self.image_projection(self.image_backbone(pixel_BCHW))
        image = image_tokens(levels, valid_BHW, self.position_encoding, self.level_embedding)
        return image._replace(padded=pixel_mask is not None)

    def encode_text(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> TextFeatures:
        """Turn prompts into text tokens, which do not depend on the picture.

        Args:
            input_ids: token ids [B, T].
            attention_mask: 1 or True for real tokens, 0 for padding [B, T]; None means no padding.
            token_type_ids: token types [B, T]; None means zeros.

        Raises:
            PromptError: a prompt is longer than `config.max_text_len` tokens, or a phrase than there are positions.
        """
        _check_tensor("input_ids", input_ids)
        if input_ids.shape[1] > self.config.max_text_len:
            raise PromptError(
                f"The prompt has {input_ids.shape[1]} tokens, but the model reads at most {self.config.max_text_len}. "
                "Split the labels over several prompts."
            )
        valid_BT = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask > 0
        token_type_BT = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        same_phrase_BTT, position_BT = sub_sentence_mask(input_ids)
        self._check_positions(position_BT)
        text_BTE = self.text_backbone(input_ids, token_type_BT, position_BT, same_phrase_BTT)
        return TextFeatures(self.text_projection(text_BTE), valid_BT, same_phrase_BTT, position_BT)

    def _check_positions(self, position_BT: Tensor) -> None:
        """Refuse a phrase that is longer than the text backbone has positions; only odd sizes need to look."""
        limit = self.config.text_config.max_position_embeddings
        if position_BT.shape[1] <= limit or torch.compiler.is_compiling():
            return
        longest = int(position_BT.max()) + 1
        if longest > limit:
            raise PromptError(f"A phrase has {longest} tokens, but the text backbone has positions for {limit}.")

    def enhance_select_decode(
        self,
        image: ImageFeatures,
        text: TextFeatures,
        *,
        box_heads: nn.ModuleList | None = None,
        enhanced: EnhancedFeatures | None = None,
        states: bool = False,
        attentions: bool = False,
    ) -> Grounding:
        """Let image and text meet: enhance, select, decode.

        Args:
            image: from `encode_image`.
            text: from `encode_text`, with the same batch size.
            box_heads: heads that refine the boxes between decoder layers.
            enhanced: result of an earlier enhancer run, to skip it.
            states: keep the tokens around each enhancer layer.
            attentions: keep all attention weights.

        Raises:
            PromptError: there is not one prompt for each picture.
        """
        if image.token_BSD.shape[0] != text.token_BTD.shape[0]:
            raise PromptError(
                f"There are {image.token_BSD.shape[0]} pictures and {text.token_BTD.shape[0]} prompts. "
                "Give one prompt for each picture; the same prompt may be repeated."
            )
        if enhanced is None:
            enhanced = self.feature_enhancer(image, text, states=states, attentions=attentions)
        image = image._replace(token_BSD=enhanced.image_BSD)
        text = text._replace(token_BTD=enhanced.text_BTD)
        queries, proposals = self.query_selection(image, text)
        decoded = self.decoder(queries, image, text, box_heads, attentions=attentions)
        return Grounding(enhanced, proposals, queries, decoded)

    def forward(  # noqa: PLR0913  (the documented signature)
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_mask: Tensor | None = None,
        encoder_outputs: GroundingDinoEncoderOutput | tuple[Any, ...] | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> GroundingDinoModelOutput | tuple[Any, ...]:
        """Run the model without heads.

        Args:
            pixel_values: normalised pixels [B, 3, H, W].
            input_ids: token ids of the prompts [B, T].
            token_type_ids: token types [B, T].
            attention_mask: 1 for real tokens [B, T].
            pixel_mask: 1 for picture, 0 for padding [B, H, W].
            encoder_outputs: output of the feature enhancer, to skip it.
            output_attentions: return all attention weights; None takes the configuration's value.
            output_hidden_states: return the states around all layers; None takes the configuration's value.
            return_dict: return an output object, else a tuple of its fields; None takes the configuration's value.

        Raises:
            PromptError: the prompts are longer than `config.max_text_len` tokens.
        """
        flags = output_flags(self.config, output_attentions, output_hidden_states, return_dict)
        image = self.encode_image(pixel_values, pixel_mask)
        text = self.encode_text(input_ids, attention_mask, token_type_ids)
        enhanced = read_encoder_outputs(encoder_outputs, flags)
        grounding = self.enhance_select_decode(
            image, text, enhanced=enhanced, states=flags.states, attentions=flags.attentions
        )
        proposal = self.query_selection.predict(grounding.queries, grounding.proposals, text)
        every_box_BS4 = self.query_selection.every_box(grounding.proposals)
        output = model_output(self.config, grounding, proposal, every_box_BS4, flags)
        return output if flags.return_dict else output.to_tuple()

    def freeze_backbone(self) -> None:
        """Exclude the image backbone from training."""
        self.image_backbone.requires_grad_(False)

    def unfreeze_backbone(self) -> None:
        """Train the image backbone again."""
        self.image_backbone.requires_grad_(True)
        self.image_backbone.final_norm.requires_grad_(False)


class GroundingDinoForObjectDetection(PretrainedModel):
    """Grounding DINO: boxes in a picture and their similarity with each token of a prompt.

    Args:
        config: sizes of the model.
    """

    config_class: ClassVar[type[DetectorConfig]] = GroundingDinoConfig
    base_class: ClassVar[type[GroundingDinoModel]] = GroundingDinoModel

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__(config)
        self.model = self.base_class(config)
        self.box_heads = build.build_box_heads(config)
        self.contrastive_heads = build.build_contrastive_heads(config)
        initialize(self.box_heads, config)

    def encode_image(self, pixel_values: Tensor, pixel_mask: Tensor | None = None) -> ImageFeatures:
        """See `GroundingDinoModel.encode_image`."""
        return self.model.encode_image(pixel_values, pixel_mask)

    def encode_text(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> TextFeatures:
        """See `GroundingDinoModel.encode_text`."""
        return self.model.encode_text(input_ids, attention_mask, token_type_ids)

    def ground(self, image: ImageFeatures, text: TextFeatures) -> Prediction:
        """Find what the prompts name: the prediction of the last decoder layer.

        Args:
            image: from `encode_image`.
            text: from `encode_text`, with the same batch size.
        """
        grounding = self.model.enhance_select_decode(image, text, box_heads=self.box_heads)
        text = text._replace(token_BTD=grounding.enhanced.text_BTD)
        return self.predict_layer(text, grounding.queries, grounding.decoded, len(grounding.decoded.states) - 1)

    def predict_layer(self, text: TextFeatures, queries: Queries, decoded: DecodedQueries, layer: int) -> Prediction:
        """Return the prediction of one decoder layer.

        Args:
            text: enhanced text tokens, as the decoder read them.
            queries: what the decoder started from.
            decoded: its result.
            layer: number of the layer, from 0.
        """
        state_BQD = decoded.states[layer]
        start_BQ4 = queries.box_BQ4 if layer == 0 else decoded.boxes[layer - 1]
        logit_BQT = head_of_layer(self.contrastive_heads, layer)(state_BQD, text.token_BTD, text.valid_BT)
        change_BQ4 = head_of_layer(self.box_heads, layer)(state_BQD).float()
        return Prediction(logit_BQT, (change_BQ4 + inverse_sigmoid(start_BQ4)).sigmoid())

    def forward(  # noqa: PLR0913  (the documented signature)
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        token_type_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_mask: Tensor | None = None,
        encoder_outputs: GroundingDinoEncoderOutput | tuple[Any, ...] | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: list[dict[str, Tensor]] | None = None,
    ) -> GroundingDinoObjectDetectionOutput | tuple[Any, ...]:
        """Detect; with `labels`, also compute the training losses.

        Args:
            pixel_values: normalised pixels [B, 3, H, W].
            input_ids: token ids of the prompts [B, T].
            token_type_ids: token types [B, T].
            attention_mask: 1 for real tokens [B, T].
            pixel_mask: 1 for picture, 0 for padding [B, H, W].
            encoder_outputs: output of the feature enhancer, to skip it.
            output_attentions: return all attention weights; None takes the configuration's value.
            output_hidden_states: return the states around all layers; None takes the configuration's value.
            return_dict: return an output object, else a tuple of its fields; None takes the configuration's value.
            labels: for each image `class_labels` [n], the index of each object's phrase in that image's prompt, and
                `boxes` [n, 4], (cx, cy, w, h) in 0..1 of the un-padded picture. Heads that are not shared between
                decoder layers are all trained only with `config.auxiliary_loss`.

        Raises:
            PromptError: the prompts are longer than `config.max_text_len` tokens.
            DatasetError: the labels do not fit the prompts.
        """
        flags = output_flags(self.config, output_attentions, output_hidden_states, return_dict)
        image = self.encode_image(pixel_values, pixel_mask)
        text = self.encode_text(input_ids, attention_mask, token_type_ids)
        grounding = self.model.enhance_select_decode(
            image,
            text,
            box_heads=self.box_heads,
            enhanced=read_encoder_outputs(encoder_outputs, flags),
            states=flags.states,
            attentions=flags.attentions,
        )
        last = len(grounding.decoded.states) - 1
        first = 0 if labels is not None and self.config.auxiliary_loss else last
        enhanced_text = text._replace(token_BTD=grounding.enhanced.text_BTD)
        predictions = [
            self.predict_layer(enhanced_text, grounding.queries, grounding.decoded, layer)
            for layer in range(first, last + 1)
        ]
        proposal = self.model.query_selection.predict(grounding.queries, grounding.proposals, text)
        every_box_BS4 = self.model.query_selection.every_box(grounding.proposals)
        base = model_output(self.config, grounding, proposal, every_box_BS4, flags)
        output = detection_output(self.config, base, predictions, input_ids)
        if labels is not None:
            compared = {"": predictions[-1]}
            compared |= {f"_{layer}": prediction for layer, prediction in enumerate(predictions[:-1])}
            compared["_enc"] = proposal
            targets = read_targets(labels, phrase_maps(input_ids))
            output.loss, output.loss_dict = Criterion(self.config)(compared, targets, text.valid_BT)
        return output if flags.return_dict else detection_tuple(output)

    def freeze_backbone(self) -> None:
        """Exclude the image backbone from training."""
        self.model.freeze_backbone()

    def unfreeze_backbone(self) -> None:
        """Train the image backbone again."""
        self.model.unfreeze_backbone()


class MMGroundingDinoModel(GroundingDinoModel):
    """MM-Grounding-DINO without detection heads; only the contrastive head differs."""

    config_class: ClassVar[type[DetectorConfig]] = MMGroundingDinoConfig


class MMGroundingDinoForObjectDetection(GroundingDinoForObjectDetection):
    """MM-Grounding-DINO and LLMDet; only the contrastive heads differ."""

    config_class: ClassVar[type[DetectorConfig]] = MMGroundingDinoConfig
    base_class: ClassVar[type[GroundingDinoModel]] = MMGroundingDinoModel


def _check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a tensor, got {type(value).__name__}. Call the processor with return_tensors='pt'."
        )
