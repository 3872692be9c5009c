"""What predictions are compared with.

Shapes: B picture, G labelled object, T text token, P phrase.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from groundling.errors import DatasetError

LARGEST_COORDINATE = 1.001
"""Fractions may pass 1 by rounding; pixels are far above."""


class Targets(NamedTuple):
    """The labelled objects of a batch; pictures with fewer objects or phrases are padded.

    Attributes:
        box_BG4: boxes (cx, cy, w, h) in 0..1 of the un-padded picture, float32.
        means_BGP: True where a phrase means an object; several phrases can mean one.
        token_BPT: 1 on the tokens of each phrase, float32.
        valid_BG: True for objects, False for padding.
    """

    box_BG4: Tensor
    means_BGP: Tensor
    token_BPT: Tensor
    valid_BG: Tensor

    @property
    def positive_BGT(self) -> Tensor:  # noqa: N802  (a tensor's name ends in its shape)
        """1 on the tokens of all phrases that mean an object, 0 elsewhere; float32."""
        return (self.means_BGP.float() @ self.token_BPT).clamp(max=1.0)

    @property
    def num_objects(self) -> int:
        """Number of objects in the batch."""
        return int(self.valid_BG.sum())


def stack_targets(boxes_G4: Sequence[Tensor], means_GP: Sequence[Tensor], tokens_PT: Sequence[Tensor]) -> Targets:
    """Join pictures into a batch.

    Args:
        boxes_G4: for each picture its objects' boxes (cx, cy, w, h) in 0..1.
        means_GP: for each picture which phrase means which object.
        tokens_PT: for each picture which tokens spell which phrase; all with the same number of tokens.
    """
    box_BG4 = pad_sequence(list(boxes_G4), batch_first=True)
    token_BPT = pad_sequence(list(tokens_PT), batch_first=True)
    means_BGP = torch.zeros(
        (len(means_GP), box_BG4.shape[1], token_BPT.shape[1]), dtype=torch.bool, device=box_BG4.device
    )
    valid_BG = torch.zeros(box_BG4.shape[:2], dtype=torch.bool, device=box_BG4.device)
    for picture, means in enumerate(means_GP):
        means_BGP[picture, : means.shape[0], : means.shape[1]] = means
        valid_BG[picture, : means.shape[0]] = True
    return Targets(box_BG4, means_BGP, token_BPT, valid_BG)


def read_targets(labels: Sequence[Mapping[str, Tensor]], maps_PT: Sequence[Tensor]) -> Targets:
    """Join each picture's documented labels with its own prompt.

    Args:
        labels: for each picture `class_labels` [G], indices of phrases in that picture's prompt, and `boxes` [G, 4].
        maps_PT: for each picture which tokens spell which phrase.

    Raises:
        DatasetError: the number of pictures differs, a label names no phrase, or a box is not usable.
    """
    if isinstance(labels, Mapping):
        raise DatasetError("labels is one dict. Give a list with one dict for each picture.")
    if len(labels) != len(maps_PT):
        raise DatasetError(f"labels has {len(labels)} entries for {len(maps_PT)} pictures. Give one for each picture.")
    pairs = [_read(index, label, map_PT) for index, (label, map_PT) in enumerate(zip(labels, maps_PT, strict=True))]
    return stack_targets([box_G4 for box_G4, _ in pairs], [means_GP for _, means_GP in pairs], maps_PT)


def _read(index: int, label: Mapping[str, Tensor], map_PT: Tensor) -> tuple[Tensor, Tensor]:
    """Return the boxes [G, 4] of a picture and which phrase means which object [G, P]."""
    missing = [key for key in ("class_labels", "boxes") if key not in label]
    if missing:
        raise DatasetError(f"labels[{index}] lacks {' and '.join(missing)}. It has: {', '.join(label) or 'nothing'}.")
    class_G = label["class_labels"].to(map_PT.device).long()
    box_G4 = label["boxes"].to(map_PT.device, torch.float32).reshape(-1, 4)
    if class_G.shape[0] != box_G4.shape[0]:
        raise DatasetError(f"labels[{index}] has {class_G.shape[0]} class_labels, but {box_G4.shape[0]} boxes.")
    if class_G.numel() and not 0 <= int(class_G.min()) <= int(class_G.max()) < map_PT.shape[0]:
        raise DatasetError(
            f"labels[{index}] has class_labels from {int(class_G.min())} to {int(class_G.max())}, but the prompt of "
            f"that picture has {map_PT.shape[0]} phrases. class_labels are indices of phrases from 0, not category ids."
        )
    if not bool(box_G4.isfinite().all()) or bool((box_G4[:, 2:] < 0).any()):
        raise DatasetError(
            f"labels[{index}] has boxes with NaN, infinite or negative sizes. Boxes are (cx, cy, w, h) in 0..1."
        )
    if box_G4.numel() and float(box_G4.max()) > LARGEST_COORDINATE:
        raise DatasetError(
            f"labels[{index}] has boxes that reach {float(box_G4.max()):g}. Boxes are (cx, cy, w, h) in 0..1 of the "
            "picture: divide pixels by its width and height."
        )
    phrase_P = torch.arange(map_PT.shape[0], device=map_PT.device)
    return box_G4, class_G[:, None] == phrase_P
