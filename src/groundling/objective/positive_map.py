"""Which tokens of a prompt spell which phrase.

Shapes: P phrase, T text token.
"""

import torch
from torch import Tensor

from groundling.structures.prompt import DELIMITER_IDS, PADDING_ID


def phrase_maps(token_BT: Tensor) -> list[Tensor]:
    """Find the phrases between the delimiters of each prompt.

    Args:
        token_BT: token ids.

    Returns:
        For each prompt a map [P, T]: 1 on the tokens of a phrase, 0 elsewhere. Delimiters belong to no phrase, and two
        delimiters in a row make none.
    """
    delimiters = torch.tensor([*DELIMITER_IDS, PADDING_ID], device=token_BT.device)
    is_word_BT = ~torch.isin(token_BT, delimiters)
    before_BT = torch.cat([torch.zeros_like(is_word_BT[:, :1]), is_word_BT[:, :-1]], dim=1)
    phrase_BT = (is_word_BT & ~before_BT).cumsum(1)
    maps = []
    for phrase_T, is_word_T in zip(phrase_BT, is_word_BT, strict=True):
        number_P = torch.arange(1, int(phrase_T.max()) + 1, device=token_BT.device)
        maps.append(((phrase_T == number_P[:, None]) & is_word_T).float())
    return maps
