"""The model's stages with what stands around each: prompts and pictures in, predictions out."""

from collections.abc import Sequence

import torch
from torch import nn

from groundling.errors import PromptError
from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.ops.features import stack_text
from groundling.pipeline.checks import check_vocabulary
from groundling.pipeline.fingerprints import weights_fingerprint
from groundling.pipeline.pictures import Picture
from groundling.pipeline.preparation import PreparedPicture, prepare_picture
from groundling.pipeline.prompt_encoding import PromptEncoding
from groundling.pipeline.results import check_finite
from groundling.pipeline.text_cache import TextCache, WeightsState
from groundling.processing.packing import PlainLabels, build_prompts, check_length
from groundling.processing.processor import GroundingDinoProcessor
from groundling.processing.prompt import collate_prompts
from groundling.structures.features import ImageFeatures, Prediction, TextFeatures
from groundling.structures.prompt import Prompt, PromptSet

Labels = PlainLabels | PromptEncoding
"""Every way to say what is to be found."""


class Stages:
    """A model and its processor, stage by stage; nothing is chosen or thrown away.

    Neither is changed after the construction, and encoded prompts are remembered behind a lock, so several threads may
    use one object.

    Args:
        model: it is switched to evaluation mode; its device and dtype are used.
        processor: says how pictures are resized and text is tokenised.

    Raises:
        CheckpointError: the processor's vocabulary is not the model's.
    """

    def __init__(self, model: GroundingDinoForObjectDetection, processor: GroundingDinoProcessor) -> None:
        self.model = model.eval()
        self.processor = processor
        check_vocabulary(processor.tokenizer, model.config)
        self._texts = TextCache(self.encode_text, self._text_weights)
        self._fingerprint: tuple[WeightsState, str] | None = None

    def prompt(self, labels: PlainLabels) -> Prompt:
        """Build a single prompt.

        Args:
            labels: see `prompts`.

        Raises:
            PromptError: there is no label, a label is blank, or they do not fit into one prompt.
        """
        prompts = self.prompts(labels).prompts
        if len(prompts) > 1:
            raise PromptError(
                f"The labels take {len(prompts)} prompts of at most {self.model.config.max_text_len} tokens, but only "
                "one can be used here. Use fewer or shorter labels."
            )
        return prompts[0]

    def prompts(self, labels: PlainLabels) -> PromptSet:
        """Build as many prompts as the labels need.

        Args:
            labels: a list of names, of any length; a classic prompt such as "a cat. a remote control."; a sentence with
                the phrases in it that are to be found; a `Vocabulary`; or a prompt or a set of them, which stay as they
                are.

        Raises:
            PromptError: there is no label, one is blank or unknown to the tokenizer, or one alone has more tokens than
                the model can read.
        """
        return build_prompts(self.processor.tokenizer, labels, self.model.config.max_text_len)

    def encode(self, labels: Labels) -> PromptEncoding:
        """Let the text backbone read labels once, to use the result for many pictures or keep it in a file.

        Args:
            labels: see `prompts`.

        Raises:
            PromptError: see `prompts`; or the encoding that is given belongs to other weights.
        """
        if isinstance(labels, PromptEncoding):
            if labels.model != self._text_fingerprint():
                raise PromptError(
                    "The encoded prompts were made by a model with other weights. Encode the labels with this one."
                )
            for prompt in labels.prompts.prompts:
                check_length(prompt, self.model.config.max_text_len)
            return labels.to(self._device)
        prompts = self.prompts(labels)
        return PromptEncoding(prompts, tuple(self.text_features(prompts.prompts)), self._text_fingerprint())

    def text_features(self, prompts: Sequence[Prompt]) -> list[TextFeatures]:
        """Return what the text backbone makes of each prompt, one row without padding.

        Prompts that come again are remembered; see `TextCache`.
        """
        return self._texts.encode(prompts)

    def prepare(self, image: Picture, *, allow_url: bool = False) -> PreparedPicture:
        """Turn a picture into what the model reads.

        Args:
            image: see `read_picture`.
            allow_url: download the picture where `image` is a URL.

        Raises:
            ImageError: the picture cannot be used.
        """
        return prepare_picture(self.processor.image_processor, image, allow_url=allow_url)

    @torch.inference_mode()
    def encode_text(self, prompts: Sequence[Prompt]) -> TextFeatures:
        """Encode prompts, which do not depend on pictures, in one batch; shorter ones are padded."""
        inputs = {name: values.to(self._device) for name, values in collate_prompts(prompts).items()}
        return self.model.encode_text(**inputs)

    @torch.inference_mode()
    def encode_images(self, batch: Sequence[PreparedPicture]) -> ImageFeatures:
        """Encode pictures of one size, which do not depend on prompts."""
        pixel_values = torch.cat([one.pixel_values for one in batch]).to(self._device)
        masks = [one.pixel_mask for one in batch if one.pixel_mask is not None]
        return self.model.encode_image(pixel_values, torch.cat(masks).to(self._device) if masks else None)

    @torch.inference_mode()
    def ground(self, image: ImageFeatures, text: TextFeatures) -> Prediction:
        """Let pictures and prompts meet; one prompt serves all pictures, or there is one for each.

        Raises:
            GroundlingError: the model's output is not a number.
        """
        repeats = image.token_BSD.shape[0] // text.token_BTD.shape[0]
        prediction = self.model.ground(image, stack_text([text] * repeats))
        check_finite(prediction)
        return prediction

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _text_weights(self) -> list[nn.Parameter]:
        """Return the weights that prompts are encoded with."""
        return [weight for stage in self._text_stages() for weight in stage.parameters()]

    def _text_stages(self) -> tuple[nn.Module, nn.Module]:
        return self.model.model.text_backbone, self.model.model.text_projection

    def _text_fingerprint(self) -> str:
        weights = self._text_weights()
        if self._fingerprint is None or not self._fingerprint[0].holds(weights):
            named = [weight for stage in self._text_stages() for weight in stage.named_parameters()]
            self._fingerprint = WeightsState(weights), weights_fingerprint(named)
        return self._fingerprint[1]
