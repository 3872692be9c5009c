"""The sub-sentence text mask (section 3.4 of the paper): a token sees the tokens of its own phrase only.

Shapes: B image, T text token.
"""

import torch
from torch import Tensor

from groundling.structures.prompt import DELIMITER_IDS


def sub_sentence_mask(token_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Find the phrases of a prompt.

    A delimiter closes the phrase of all tokens since the previous delimiter and belongs to it. A delimiter in the
    first or the last column closes nothing. Tokens of no phrase see only themselves and have position 0.

    Args:
        token_BT: token ids.

    Returns:
        same_phrase_BTT, True where two tokens are of one phrase or the same token, and position_BT, the place of each
        token in its phrase.
    """
    length = token_BT.shape[1]
    index_T = torch.arange(length, device=token_BT.device)
    is_delimiter_BT = torch.stack([token_BT == delimiter for delimiter in DELIMITER_IDS]).any(dim=0)

    is_delimiter_B1T, before_TT = is_delimiter_BT[:, None], index_T < index_T[:, None]
    closing_BT = torch.where(is_delimiter_B1T & ~before_TT, index_T, length).amin(dim=-1)
    previous_BT = torch.where(is_delimiter_B1T & before_TT, index_T, -1).amax(dim=-1)

    in_phrase_BT = (closing_BT != 0) & (closing_BT < length - 1)
    same_closing_BTT = closing_BT[:, :, None] == closing_BT[:, None, :]
    same_token_TT = index_T[:, None] == index_T
    same_phrase_BTT = same_token_TT | (same_closing_BTT & in_phrase_BT[:, :, None])
    position_BT = torch.where(in_phrase_BT, index_T - previous_BT - 1, 0)
    return same_phrase_BTT, position_BT
