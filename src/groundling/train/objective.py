"""One training step of the detector: stages, denoising queries, losses.

Shapes: B picture, Q query, N denoising query, T text token.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.objective.criterion import Criterion
from groundling.objective.denoising import Denoising, denoising_queries
from groundling.objective.targets import Targets
from groundling.structures.features import Prediction, Queries


class Batch(NamedTuple):
    """Pictures, prompts and what is in the pictures, ready for the model.

    Attributes:
        pixel_BCHW: normalised pixels.
        valid_BHW: True on picture, False on padding; None where nothing is padded.
        token_BT: token ids of the prompts.
        valid_BT: True for real tokens.
        targets: the labelled objects, each with its phrases' tokens.
        seeds: one number for each picture; the noise of its denoising queries follows from it.
    """

    pixel_BCHW: Tensor
    valid_BHW: Tensor | None
    token_BT: Tensor
    valid_BT: Tensor
    targets: Targets
    seeds: tuple[int, ...]

    def to(self, device: torch.device) -> "Batch":
        """Move all tensors to a device."""
        mask = None if self.valid_BHW is None else self.valid_BHW.to(device)
        targets = Targets(*(part.to(device) for part in self.targets))
        return Batch(
            self.pixel_BCHW.to(device), mask, self.token_BT.to(device), self.valid_BT.to(device), targets, self.seeds
        )


class TrainingObjective(nn.Module):
    """The detector with its losses, as one module: what is wrapped for several processes.

    Unlike the documented forward with labels, the selected proposals are judged by their own similarity with the words,
    so that query selection learns what it is for; every decoder layer is judged; and objects with noise are decoded
    beside the queries.

    Args:
        detector: what is trained.
        denoising: settings of the denoising queries; None trains without them.
    """

    def __init__(self, detector: GroundingDinoForObjectDetection, denoising: Denoising | None) -> None:
        super().__init__()
        self.detector = detector
        self.criterion = Criterion(detector.config)
        self.denoising = denoising
        if denoising is not None:
            # Words as they are would answer to themselves at once. Like the label book of DINO, this is thrown away.
            self.label_projection = nn.Linear(detector.config.d_model, detector.config.d_model)

    def forward(self, batch: Batch, num_objects: float | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total and the losses by name.

        Args:
            batch: pictures with labels.
            num_objects: see `Criterion`.
        """
        base, targets = self.detector.model, batch.targets
        image = base.encode_image(batch.pixel_BCHW, batch.valid_BHW)
        text = base.encode_text(batch.token_BT, batch.valid_BT)
        enhanced = base.feature_enhancer(image, text)
        image = image._replace(token_BSD=enhanced.image_BSD)
        text = text._replace(token_BTD=enhanced.text_BTD)
        queries, proposals = base.query_selection(image, text)
        selected_BQT = proposals.index_BQ[..., None].expand(-1, -1, text.valid_BT.shape[1])
        proposed = Prediction(proposals.logit_BST.gather(1, selected_BQT), proposals.box_BQ4)

        denoising, count, mask = None, queries.box_BQ4.shape[1], None
        if self.denoising is not None:
            denoising = denoising_queries(targets, text.token_BTD, self.denoising, batch.seeds)
            mask = denoising.visible(count)
            queries = _join(queries, denoising.queries, self.label_projection)
        decoded = base.decoder(queries, image, text, self.detector.box_heads, query_mask=mask)

        layers = [self.detector.predict_layer(text, queries, decoded, layer) for layer in range(len(decoded.states))]
        suffixes = [*(f"_{layer}" for layer in range(len(layers) - 1)), ""]
        predictions = {suffix: _rows(found, 0, count) for suffix, found in zip(suffixes, layers, strict=True)}
        denoised = {f"_dn{suffix}": _rows(found, count, None) for suffix, found in zip(suffixes, layers, strict=True)}
        total, losses = self.criterion(
            predictions | {"_enc": proposed},
            targets,
            text.valid_BT,
            denoised=denoised,
            denoising=denoising,
            num_objects=num_objects,
        )
        return total, losses


def _join(queries: Queries, noisy: Queries, label_projection: nn.Module) -> Queries:
    content_BND = label_projection(noisy.content_BQD).to(queries.content_BQD.dtype)
    return Queries(
        torch.cat([queries.content_BQD, content_BND], dim=1), torch.cat([queries.box_BQ4, noisy.box_BQ4], dim=1)
    )


def _rows(prediction: Prediction, start: int, stop: int | None) -> Prediction:
    return Prediction(prediction.logit_BQT[:, start:stop], prediction.box_BQ4[:, start:stop])
