"""Rows of features put together and taken apart, without computing them again."""

# Shapes: B row, T text token

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from groundling.structures.features import ImageFeatures, TextFeatures


def pad_text(text: TextFeatures, length: int) -> TextFeatures:
    """Append padding, which no token and no picture looks at, up to a number of tokens.

    This is done to features and not to token ids: there, padding can make a phrase of what was none.

    Args:
        text: at most so many tokens.
        length: number of tokens.
    """
    more = length - text.token_BTD.shape[1]
    if more == 0:
        return text
    itself_TT = torch.eye(length, dtype=torch.bool, device=text.token_BTD.device)
    return TextFeatures(
        F.pad(text.token_BTD, (0, 0, 0, more)),
        F.pad(text.valid_BT, (0, more)),
        F.pad(text.same_phrase_BTT, (0, more, 0, more)) | itself_TT,
        F.pad(text.position_BT, (0, more)),
    )


def stack_text(parts: Sequence[TextFeatures]) -> TextFeatures:
    """Stack the features of prompts, shorter ones padded."""
    if len(parts) == 1:
        return parts[0]
    length = max(part.token_BTD.shape[1] for part in parts)
    padded = [pad_text(part, length) for part in parts]
    return TextFeatures(*(torch.cat(tensors) for tensors in zip(*padded, strict=True)))


def take_images(image: ImageFeatures, rows: Sequence[int]) -> ImageFeatures:
    """Return the features of some pictures of a batch, in this order; a picture may be taken several times."""
    if list(rows) == list(range(image.token_BSD.shape[0])):
        return image
    index: Tensor = torch.tensor(list(rows), device=image.token_BSD.device)
    return image._replace(
        token_BSD=image.token_BSD[index],
        position_BSD=image.position_BSD[index],
        valid_BS=image.valid_BS[index],
        valid_ratio_BL2=image.valid_ratio_BL2[index],
    )
