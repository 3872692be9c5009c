"""What the stages hand on. Tuples of tensors, so that they pass through torch.compile and torch.export.

Shapes: B image, S image token, T text token, Q query, L level, D width, H head, P point.
"""

from typing import NamedTuple

from torch import Tensor


class ImageFeatures(NamedTuple):
    """Multi-scale image tokens, the levels one after the other, each row by row.

    Attributes:
        token_BSD: the tokens.
        position_BSD: their position encoding, with the level's embedding.
        valid_BS: True where a token lies on the picture, False on padding.
        valid_ratio_BL2: share of each level's width and height that is picture, as (x, y), float32.
        level_size_L2: (width, height) of each level in cells, float32.
        level_shapes: (height, width) of each level in cells.
        padded: False where it is known that `valid_BS` is True everywhere, so that nothing needs masking.
    """

    token_BSD: Tensor
    position_BSD: Tensor
    valid_BS: Tensor
    valid_ratio_BL2: Tensor
    level_size_L2: Tensor
    level_shapes: list[tuple[int, int]]
    padded: bool


class TextFeatures(NamedTuple):
    """Text tokens in the width of the detector.

    Attributes:
        token_BTD: the tokens.
        valid_BT: True for real tokens, False for padding.
        same_phrase_BTT: True where two tokens belong to the same phrase (the sub-sentence mask); the diagonal is True.
        position_BT: place of each token in its phrase, from 0.
    """

    token_BTD: Tensor
    valid_BT: Tensor
    same_phrase_BTT: Tensor
    position_BT: Tensor


class EnhancerAttentions(NamedTuple):
    """Attention weights of one layer, before dropout.

    Attributes:
        image_to_text_BHST: weights of the text tokens for each image token.
        text_to_image_BHTS: weights of the image tokens for each text token.
        text_BHTT: weights within phrases.
        image_BSHLP: weights of the sampled points.
    """

    image_to_text_BHST: Tensor
    text_to_image_BHTS: Tensor
    text_BHTT: Tensor
    image_BSHLP: Tensor


class EnhancedFeatures(NamedTuple):
    """Both modalities after the enhancer, and what happened on the way where it was asked for.

    Attributes:
        image_BSD: image tokens.
        text_BTD: text tokens.
        image_states: image tokens before each layer and after the last; empty if not asked for.
        text_states: text tokens likewise.
        attentions: attention weights of each layer; empty if not asked for.
    """

    image_BSD: Tensor
    text_BTD: Tensor
    image_states: tuple[Tensor, ...] = ()
    text_states: tuple[Tensor, ...] = ()
    attentions: tuple[EnhancerAttentions, ...] = ()


class Queries(NamedTuple):
    """What language-guided query selection hands to the decoder.

    Attributes:
        content_BQD: learned content, one row for each rank.
        box_BQ4: boxes (cx, cy, w, h) in 0..1 of the picture, best first, float32; no gradient flows through them.
    """

    content_BQD: Tensor
    box_BQ4: Tensor


class Proposals(NamedTuple):
    """What every image token says before the selection; the encoder's loss and the documented outputs use it.

    Attributes:
        logit_BST: similarity with each text token, -inf at padding.
        memory_BSD: what the box head would make a box of.
        start_BS4: inverse sigmoid of the box that the head changes, float32; +inf where a token is padding or at the
            border.
        index_BQ: the selected tokens, best first.
        box_BQ4: boxes of the selected tokens, float32; gradients flow through them.
    """

    logit_BST: Tensor
    memory_BSD: Tensor
    start_BS4: Tensor
    index_BQ: Tensor
    box_BQ4: Tensor


class DecoderAttentions(NamedTuple):
    """Attention weights of one layer.

    Attributes:
        query_BHQQ: weights among the queries.
        text_BHQT: weights of the text tokens.
        image_BQHLP: weights of the sampled points.
    """

    query_BHQQ: Tensor
    text_BHQT: Tensor
    image_BQHLP: Tensor


class DecodedQueries(NamedTuple):
    """The queries after each decoder layer.

    Attributes:
        states: normalised queries [B, Q, D] after each layer.
        boxes: boxes [B, Q, 4] after each layer, refined from the states before their norm. Gradients flow through each
            to its own layer only ("look forward twice" of DINO).
        input_state_BQD: normalised queries before the first layer.
        attentions: attention weights of each layer; empty if not asked for.
    """

    states: tuple[Tensor, ...]
    boxes: tuple[Tensor, ...]
    input_state_BQD: Tensor
    attentions: tuple[DecoderAttentions, ...] = ()


class Grounding(NamedTuple):
    """What happens between the features and the heads.

    Attributes:
        enhanced: image and text after the feature enhancer.
        proposals: what every image token proposed.
        queries: the chosen queries.
        decoded: the queries after each decoder layer.
    """

    enhanced: EnhancedFeatures
    proposals: Proposals
    queries: Queries
    decoded: DecodedQueries


class Prediction(NamedTuple):
    """The detector's answer for one layer.

    Attributes:
        logit_BQT: similarity of each query with each text token before the sigmoid, float32, -inf at padding.
        box_BQ4: boxes (cx, cy, w, h) in 0..1 of the un-padded picture, float32.
    """

    logit_BQT: Tensor
    box_BQ4: Tensor
