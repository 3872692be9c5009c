"""Contrastive denoising (DINO, Zhang et al. 2023, section 3.3), with words in place of a label book.

Objects with noise go through the decoder beside the queries: nearly right boxes must come back right, wrong ones must
be refused. That trains the decoder without waiting for a stable matching. Each picture's queries depend on that
picture and its seed alone, so a batch gives what its pictures give.

Shapes: B picture, G labelled object, P phrase, T text token, Q query, N denoising query, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from groundling.objective.matcher import Matches
from groundling.objective.targets import Targets
from groundling.ops.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from groundling.structures.features import Queries


@dataclass(frozen=True, slots=True)
class Denoising:
    """How much noise, and how many queries at most.

    Attributes:
        budget: most denoising queries of a picture. A picture gets as many groups as fit; where the objects of one
            group do not fit, a part of them is chosen.
        box_noise: corners move by up to this share of half the box; those of negatives by one to two times it.
        label_noise: twice the chance that a query is given the words of another phrase of the prompt.
    """

    budget: int = 100
    box_noise: float = 1.0
    label_noise: float = 0.5


class DenoisingQueries(NamedTuple):
    """Denoising queries of a batch; pictures with fewer of them are padded.

    Attributes:
        queries: contents and boxes.
        matches: positives and the objects they should become.
        group_BN: which group a query belongs to; -1 for padding.
        weight_BN: 1 / groups of the picture, so that a picture counts once; 0 for padding.
    """

    queries: Queries
    matches: Matches
    group_BN: Tensor
    weight_BN: Tensor

    def visible(self, num_queries: int) -> Tensor:
        """Return who may look at whom when these queries stand behind `num_queries` others, [B, 1, Q + N, Q + N].

        The others do not see denoising queries, which know the answer. A group sees itself and the others.
        """
        group_BN = self.group_BN
        batch, count = group_BN.shape
        visible = torch.zeros(
            (batch, num_queries + count, num_queries + count), dtype=torch.bool, device=group_BN.device
        )
        visible[:, :, :num_queries] = True
        visible[:, num_queries:, num_queries:] = group_BN[:, :, None] == group_BN[:, None]
        return visible[:, None]


def denoising_queries(
    targets: Targets, text_BTD: Tensor, settings: Denoising, seeds: Sequence[int]
) -> DenoisingQueries:
    """Make the denoising queries of a batch.

    The content of a query is the mean of the text tokens of a phrase that means its object, so any word can be
    denoised; no gradient flows through it.

    Args:
        targets: the labelled objects.
        text_BTD: text tokens as the decoder reads them.
        settings: how much noise.
        seeds: one for each picture; they decide all its noise.
    """
    device = text_BTD.device
    plans = [
        _plan(means_GP[valid_G].cpu(), int(token_PT.any(dim=1).sum()), settings, torch.Generator().manual_seed(seed))
        for means_GP, valid_G, token_PT, seed in zip(
            targets.means_BGP, targets.valid_BG, targets.token_BPT.cpu(), seeds, strict=True
        )
    ]
    object_BN = pad_sequence([plan.object_N for plan in plans], batch_first=True).to(device)
    phrase_BN = pad_sequence([plan.phrase_N for plan in plans], batch_first=True).to(device)
    shift_BN4 = pad_sequence([plan.shift_N4 for plan in plans], batch_first=True).to(device)
    group_BN = pad_sequence([plan.group_N for plan in plans], batch_first=True, padding_value=-1).to(device)
    positive_BN = pad_sequence([plan.positive_N for plan in plans], batch_first=True).to(device)

    box_BN4 = targets.box_BG4.gather(1, object_BN[..., None].expand(-1, -1, 4))
    token_BNT = targets.token_BPT.gather(1, phrase_BN[..., None].expand(-1, -1, text_BTD.shape[1]))
    share_BNT = (token_BNT / token_BNT.sum(dim=-1, keepdim=True).clamp(min=1.0)).to(text_BTD.dtype)
    weight_BN = pad_sequence([plan.weight_N for plan in plans], batch_first=True).to(device)
    image_N, query_N = positive_BN.nonzero(as_tuple=True)
    return DenoisingQueries(
        queries=Queries(share_BNT @ text_BTD.detach(), _shift_corners(box_BN4, shift_BN4)),
        matches=Matches(image_N, query_N, object_BN[image_N, query_N]),
        group_BN=group_BN,
        weight_BN=weight_BN,
    )


class _Plan(NamedTuple):
    """One picture's queries: object, phrase, shift of corners in box sizes, group, 1 / groups, positive or not."""

    object_N: Tensor
    phrase_N: Tensor
    shift_N4: Tensor
    group_N: Tensor
    weight_N: Tensor
    positive_N: Tensor


def _plan(means_GP: Tensor, num_phrases: int, settings: Denoising, random: torch.Generator) -> _Plan:
    num_objects = means_GP.shape[0]
    pairs = settings.budget // 2
    chosen_K = torch.randperm(num_objects, generator=random)[:pairs].sort().values
    groups = pairs // max(len(chosen_K), 1) if num_objects else 0
    object_N = chosen_K.repeat(groups * 2)
    group_N = torch.arange(groups).repeat_interleave(2 * len(chosen_K))
    positive_N = torch.tensor([True, False]).repeat(groups).repeat_interleave(len(chosen_K))
    count = len(object_N)
    weight_N = torch.full((count,), 1.0 / max(groups, 1))
    if not count:
        return _Plan(object_N, object_N, torch.zeros(0, 4), group_N, weight_N, positive_N)
    # Without the batch's padding: how many random numbers are drawn depends on the number of columns.
    own_N = torch.multinomial(means_GP[object_N, :num_phrases].float(), 1, generator=random)[:, 0]
    other_N = torch.randint(num_phrases, (count,), generator=random)
    is_noisy_N = torch.rand(count, generator=random) < settings.label_noise / 2
    size_N4 = torch.rand(count, 4, generator=random) + (~positive_N)[:, None]
    sign_N4 = torch.randint(2, (count, 4), generator=random) * 2 - 1
    shift_N4 = size_N4 * sign_N4 * settings.box_noise / 2
    return _Plan(object_N, torch.where(is_noisy_N, other_N, own_N), shift_N4, group_N, weight_N, positive_N)


def _shift_corners(box_BN4: Tensor, shift_BN4: Tensor) -> Tensor:
    """Move the corners of boxes (cx, cy, w, h) by shares of their size, within the picture."""
    size_BN4 = box_BN4[..., 2:].repeat(1, 1, 2)
    corner_BN4 = (cxcywh_to_xyxy(box_BN4) + shift_BN4 * size_BN4).clamp(0.0, 1.0)
    low_BN2 = torch.minimum(corner_BN4[..., :2], corner_BN4[..., 2:])
    high_BN2 = torch.maximum(corner_BN4[..., :2], corner_BN4[..., 2:])
    return xyxy_to_cxcywh(torch.cat([low_BN2, high_BN2], dim=-1))
