"""What the two encoders hand on. Tuples of tensors, so that they pass through torch.compile and torch.export.

Shapes: B image, S image token, T text token, L level, D width.
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
        level_shapes: (height, width) of each level in cells.
    """

    token_BSD: Tensor
    position_BSD: Tensor
    valid_BS: Tensor
    valid_ratio_BL2: Tensor
    level_shapes: list[tuple[int, int]]


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
        box_logit_BS4: inverse sigmoid of the proposed box, float32; +inf where a token is padding or at the border.
        index_BQ: which tokens were selected, best first.
    """

    logit_BST: Tensor
    box_logit_BS4: Tensor
    index_BQ: Tensor


class Prediction(NamedTuple):
    """The detector's answer for one layer.

    Attributes:
        logit_BQT: similarity of each query with each text token before the sigmoid, float32, -inf at padding.
        box_BQ4: boxes (cx, cy, w, h) in 0..1 of the un-padded picture, float32.
    """

    logit_BQT: Tensor
    box_BQ4: Tensor
