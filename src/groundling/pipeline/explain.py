"""Looking inside: which words each box answered to, and where in the picture each word looked."""

# Shapes: B image, T token, S image token, H head, h and w cells of the finest level

import os
from collections.abc import Iterator
from typing import cast

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from groundling.errors import PromptError
from groundling.model.feature_enhancer import FeatureEnhancerLayer
from groundling.pipeline.pictures import Picture, read_picture
from groundling.pipeline.prompt_encoding import PromptEncoding
from groundling.pipeline.results import check_finite, to_detections
from groundling.pipeline.stages import Labels, Stages
from groundling.postprocess.select import NMS_IOU, THRESHOLD, SelectionRules, Words, choose_boxes, score_boxes
from groundling.structures.explanation import Explanation
from groundling.structures.features import EnhancedFeatures, ImageFeatures, Prediction, TextFeatures
from groundling.structures.prompt import PromptSet


def explain(
    detector: Stages,
    image: Picture,
    labels: Labels,
    *,
    threshold: float = THRESHOLD,
    top_k: int | None = None,
    nms_iou: float | None = NMS_IOU,
    allow_url: bool = False,
) -> Explanation:
    """Find what the labels name in one picture, and keep what the model saw on the way.

    The boxes are those of `Detector`. It takes little more time and memory than finding them.

    Args:
        detector: what finds.
        image: see `Detector`, as the others.
        labels: what to find; they must fit into one prompt.
        threshold: 0 to 1; a box is kept when its score is greater.
        top_k: keep at most so many boxes, the best.
        nms_iou: 0 to 1; drop a box that overlaps a better one of the same label by more.
        allow_url: download the picture where `image` is a URL.

    Raises:
        ImageError: the picture cannot be used.
        PromptError: the labels cannot be used, or are too many for one prompt.
        ConfigError: a number is outside its range.
    """
    rules = SelectionRules(threshold, top_k, nms_iou)
    prompts, text = _one_prompt(detector, labels)
    pixel_3HW = read_picture(image, allow_url=allow_url)
    height, width = pixel_3HW.shape[1:]
    picture = PIL.Image.fromarray(pixel_3HW.permute(1, 2, 0).contiguous().numpy())
    source = os.fspath(image) if isinstance(image, str | os.PathLike) else None
    features = detector.encode_images([detector.prepare(pixel_3HW)])
    with torch.inference_mode():
        prediction, similarity_TS, attention_TS = _look(detector, features, text)
        (prompt,), (label_ids,) = prompts.prompts, prompts.label_ids
        words = Words(prompt.label_tokens, label_ids, prompts.thresholds)
        found = score_boxes(
            prediction.logit_BQT[0], prediction.box_BQ4[0], words, image_hw=(height, width), rules=rules
        )
        selection = choose_boxes([found], rules)
        return Explanation(
            detections=to_detections(selection, prompts.labels, image_hw=(height, width), source=source),
            picture=picture,
            tokens=tuple(detector.processor.tokenizer.convert_ids_to_tokens(prompt.token_ids)),
            words=prompt.labels,
            word_tokens=prompt.label_tokens,
            word_labels=label_ids,
            token_scores=_array(prediction.logit_BQT[0, selection.query_ids].sigmoid()),
            similarity=_array(_strongest_level(similarity_TS, features)),
            attention=_array(_sum_of_levels(attention_TS, features)),
        )


def _one_prompt(detector: Stages, labels: Labels) -> tuple[PromptSet, TextFeatures]:
    if isinstance(labels, PromptEncoding):
        encoding = detector.encode(labels)
        prompts, texts = encoding.prompts, encoding.features
    else:
        prompts = detector.prompts(labels)
        texts = ()
    if len(prompts.prompts) > 1:
        raise PromptError(
            f"The {len(prompts.labels)} labels take {len(prompts.prompts)} prompts of at most "
            f"{detector.model.config.max_text_len} tokens, but only one can be explained at a time. Name fewer labels."
        )
    return prompts, texts[0] if texts else detector.text_features(prompts.prompts)[0]


def _look(detector: Stages, image: ImageFeatures, text: TextFeatures) -> tuple[Prediction, Tensor, Tensor]:
    """Return the prediction, and for each token the scores and the attention of all image tokens, both [T, S] float32.

    Of the attention weights of all layers, which would take gigabytes, only those shown are computed, a second time.
    """
    model = detector.model
    enhancer = model.model.feature_enhancer
    enhanced: EnhancedFeatures = enhancer(image, text, states=True)
    before_last = (
        image._replace(token_BSD=enhanced.image_states[-2]),
        text._replace(token_BTD=enhanced.text_states[-2]),
    )
    enhanced = enhanced._replace(image_states=(), text_states=())
    attention_TS = _attention(cast(FeatureEnhancerLayer, enhancer.layers[-1]), *before_last)
    del before_last
    grounding = model.model.enhance_select_decode(image, text, box_heads=model.box_heads, enhanced=enhanced)
    proposals, decoded = grounding.proposals, grounding.decoded
    usable_S1 = proposals.start_BS4[0].isfinite().all(dim=1, keepdim=True)  # at the border there is no token to score
    similarity_TS = (proposals.logit_BST[0].sigmoid() * usable_S1).T
    enhanced_text = text._replace(token_BTD=grounding.enhanced.text_BTD)
    prediction = model.predict_layer(enhanced_text, grounding.queries, decoded, len(decoded.states) - 1)
    check_finite(prediction)
    return prediction, similarity_TS, attention_TS


def _attention(layer: FeatureEnhancerLayer, image: ImageFeatures, text: TextFeatures) -> Tensor:
    """Return how each text token divides its attention over the image tokens, [T, S] float32, the mean of the heads."""
    _, _, (_, to_image_BHTS) = layer.fusion(image, text, True)
    return cast(Tensor, to_image_BHTS)[0].float().mean(dim=0)


def _levels(x_TS: Tensor, image: ImageFeatures) -> Iterator[Tensor]:
    """Yield the part of each level that is picture, [T, h, w], the finest first."""
    sizes = [height * width for height, width in image.level_shapes]
    parts = zip(torch.split(x_TS, sizes, dim=1), torch.split(image.valid_BS[0], sizes), image.level_shapes, strict=True)
    for part_TN, valid_N, (height, width) in parts:
        valid_hw = valid_N.view(height, width)
        yield part_TN.view(-1, height, width)[:, : int(valid_hw[:, 0].sum()), : int(valid_hw[0].sum())]


def _strongest_level(x_TS: Tensor, image: ImageFeatures) -> Tensor:
    """Return in each place the greatest value of all levels, [T, h, w]."""
    finest, *coarser = _levels(x_TS, image)
    for level in coarser:
        finest = torch.maximum(finest, _enlarged(level, finest))
    return finest


def _sum_of_levels(x_TS: Tensor, image: ImageFeatures) -> Tensor:
    """Return the sum of all levels with each coarse value spread over its place, [T, h, w]; all places sum to 1."""
    total, *coarser = _levels(x_TS, image)
    for level in coarser:
        spread = _enlarged(level, total)
        total = total + spread * (level.sum(dim=(1, 2)) / spread.sum(dim=(1, 2)))[:, None, None]
    return total / total.sum(dim=(1, 2), keepdim=True)


def _enlarged(level: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(level[None], size=like.shape[1:], mode="bilinear")[0]


def _array(x: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = x.float().cpu().numpy()
    array.flags.writeable = False
    return array
