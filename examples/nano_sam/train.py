"""Train the small segmenter that comes with the package, from nothing, on drawn scenes: box in, mask out.

    python examples/nano_sam/train.py --out runs/nano-sam

It needs `groundling[sam]`. The same command goes on where a stopped run was; with more --steps it goes on with one that
is done. OUT/model is the result in float16; progress is in OUT/metrics.jsonl.
"""

# Shapes: B picture, K box of a picture, M mask proposal of a box, S side of the model's input

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import SamConfig, SamImageProcessorPil, SamModel

from groundling.data.scenes import make_scene
from groundling.data.writers.folder import atomic_folder
from groundling.files import atomic_path, write_text

HERE = Path(__file__).parent
BATCH, BOXES = 8, 4
PEAK_RATE, WARM_UP, WEIGHT_DECAY, MOST_NORM = 6e-4, 100, 0.05, 1.0
AVERAGING = 0.99
SMALLEST_PICTURE, LARGEST_PICTURE = 160, 257
SMALLEST_PART = 0.6
"""A third of the pictures are cut to at least this part of their width or height: the model shall know padding."""
LEAST_PIXELS = 20
JITTER = 0.05
"""Boxes of a detector are not exact: half of the corners are moved by about this part of the box's sides."""
ENTROPY_WEIGHT, DICE_WEIGHT, QUALITY_WEIGHT = 2.0, 1.0, 0.2
GROWN = 0.2
SAVED_EVERY, MEASURED_EVERY = 100, 500
MEASURED_SCENES, MEASURED_SEED = 50, 2
STATE, METRICS = "state.pt", "metrics.jsonl"
RESULT = ("config.json", "model.safetensors", "preprocessor_config.json")


class Batch(NamedTuple):
    """What the model sees, and what it should say.

    Attributes:
        pixel_BCSS: normalised, zero below and right of the picture.
        box_BK4: corners in pixels of the model's input.
        mask_BKSS: what the boxes are around, 0 or 1.
        valid_BSS: 1 on the picture.
    """

    pixel_BCSS: Tensor
    box_BK4: Tensor
    mask_BKSS: Tensor
    valid_BSS: Tensor


def fresh_model() -> SamModel:
    """Make a model with random weights as torch draws them, as the paper's authors did.

    transformers draws weights that are to be replaced by loaded ones: so small that training hardly begins, and
    positions that vary so quickly that no box can be told from another near it.
    """
    model = SamModel(SamConfig.from_pretrained(HERE))
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            module.reset_parameters()
    nn.init.normal_(model.vision_encoder.pos_embed, std=0.02)
    positions = torch.randn_like(model.shared_image_embedding.positional_embedding)
    for part in (model.shared_image_embedding, model.prompt_encoder.shared_embedding):
        part.positional_embedding.data.copy_(positions)
    return model


def make_batch(processor: SamImageProcessorPil, step: int, seed: int) -> Batch:
    """Draw the pictures of a step; the same step always gets the same."""
    return Batch(
        *map(torch.stack, zip(*(_example(processor, step * BATCH + n, seed) for n in range(BATCH)), strict=True))
    )


def _example(processor: SamImageProcessorPil, number: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rng = np.random.default_rng([seed, number])
    size = int(rng.integers(SMALLEST_PICTURE, LARGEST_PICTURE))
    scene = make_scene(seed, number, size=size)
    pixels, masks = np.asarray(scene.image), scene.masks
    if rng.random() < 1 / 3:
        part = int(size * rng.uniform(SMALLEST_PART, 1))
        start = int(rng.integers(0, size - part + 1))
        kept, whole = slice(start, start + part), slice(None)
        cut = (kept, whole) if rng.random() < 0.5 else (whole, kept)
        masks_cut = masks[:, *cut]
        if (masks_cut.sum(axis=(1, 2)) >= LEAST_PIXELS).any():
            pixels, masks = pixels[cut], masks_cut
    masks = masks[masks.sum(axis=(1, 2)) >= LEAST_PIXELS]
    inputs = processor(images=pixels, return_tensors="pt")
    side = inputs["pixel_values"].shape[-1]
    height, width = (int(number) for number in inputs["reshaped_input_sizes"][0])
    chosen = masks[rng.permutation(np.resize(rng.permutation(len(masks)), BOXES))]
    scale = max(height, width) / max(pixels.shape[:2])
    boxes = np.stack([_jittered(_tight_box(mask), rng) for mask in chosen]) * scale
    target = torch.zeros(BOXES, side, side)
    resized = F.interpolate(torch.from_numpy(chosen[None].astype(np.float32)), (height, width), mode="bilinear")[0]
    target[:, :height, :width] = (resized > 0.5).float()
    valid = torch.zeros(side, side)
    valid[:height, :width] = 1
    return inputs["pixel_values"][0], torch.from_numpy(boxes.astype(np.float32)), target, valid


def _tight_box(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def _jittered(box: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    sides = np.tile(box[2:] - box[:2], 2)
    moved: NDArray[np.float64] = box + rng.normal(0, JITTER, 4) * sides * (rng.random(4) < 0.5)
    return moved


def losses(model: SamModel, batch: Batch, *, several: bool) -> tuple[Tensor, Tensor]:
    """Cross-entropy and dice loss of the masks with the squared error of the predicted IoU, and the mean IoU.

    The targets are the shares of the model's coarse pixels that the masks cover, so that an edge can be right to a part
    of a pixel. Half of the cross-entropy is that around the box, or a small thing would hardly count. A box leaves no
    doubt about what is meant, so all of several proposals are taught the same mask.
    """
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(pixel_values=batch.pixel_BCSS, input_boxes=batch.box_BK4, multimask_output=several)
    logit = outputs.pred_masks.float()  # [B, K, M, side, side]
    side = logit.shape[-1]
    target = F.adaptive_avg_pool2d(batch.mask_BKSS, (side, side))[:, :, None].expand_as(logit)
    valid = F.adaptive_avg_pool2d(batch.valid_BSS[:, None], (side, side))[:, :, None]
    near = _inside(batch.box_BK4 * (side / batch.valid_BSS.shape[-1]), side)[:, :, None] * valid
    weight = 0.5 * near / near.sum(dim=(-2, -1), keepdim=True) + 0.5 * valid / valid.sum(dim=(-2, -1), keepdim=True)
    surprise = (F.binary_cross_entropy_with_logits(logit, target, reduction="none") * weight).sum(dim=(-2, -1))
    share = logit.sigmoid() * valid
    both = (share * target).sum(dim=(-2, -1))
    dice = 1 - (2 * both + 1) / ((share * share).sum(dim=(-2, -1)) + (target * target).sum(dim=(-2, -1)) + 1)
    with torch.no_grad():
        iou = _iou((logit > 0) & (valid > 0), target > 0.5)
    quality = (outputs.iou_scores.float() - iou) ** 2
    total = ENTROPY_WEIGHT * surprise.mean() + DICE_WEIGHT * dice.mean() + QUALITY_WEIGHT * quality.mean()
    return total, iou.mean()


def _inside(box_BK4: Tensor, side: int) -> Tensor:
    """Return [B, K, side, side]: 1 in the boxes, grown by GROWN of their sides each way."""
    place = torch.arange(side) + 0.5
    grown = (box_BK4[..., 2:] - box_BK4[..., :2]) * GROWN + 1
    low, high = (box_BK4[..., :2] - grown)[..., None], (box_BK4[..., 2:] + grown)[..., None]
    within = ((place > low) & (place < high)).float()  # [B, K, 2, side]
    return within[:, :, 1, :, None] * within[:, :, 0, None, :]


def _iou(one: Tensor, other: Tensor) -> Tensor:
    either = (one | other).sum(dim=(-2, -1))
    return (one & other).sum(dim=(-2, -1)) / either.clamp(min=1)


@torch.inference_mode()
def mean_iou(model: SamModel, processor: SamImageProcessorPil) -> float:
    """Mean IoU of the masks of true boxes in scenes that training never draws."""
    model.eval()
    found = []
    for number in range(MEASURED_SCENES):
        scene = make_scene(MEASURED_SEED, number, split="seen", size=192)
        inputs = processor(images=np.asarray(scene.image), return_tensors="pt")
        scale = inputs["pixel_values"].shape[-1] / 192
        boxes = torch.from_numpy(scene.boxes_xyxy)[None] * scale
        outputs = model(pixel_values=inputs["pixel_values"], input_boxes=boxes, multimask_output=False)
        logit = F.interpolate(outputs.pred_masks[0], (192, 192), mode="bilinear", align_corners=False)[:, 0]
        found.append(_iou(logit > 0, torch.from_numpy(scene.masks)))
    model.train()
    return float(torch.cat(found).mean())


def rate(step: int, steps: int) -> float:
    """Return the learning rate of a step: it rises in a line, then falls as a cosine."""
    if step < WARM_UP:
        return PEAK_RATE * (step + 1) / WARM_UP
    return PEAK_RATE * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / max(1, steps - WARM_UP)))


def train(out: Path, steps: int, seed: int) -> None:
    """Train up to `steps` steps, from the last state in `out` if there is one."""
    torch.manual_seed(seed)
    processor = SamImageProcessorPil.from_pretrained(HERE)
    model = fresh_model().train()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING))
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    out.mkdir(parents=True, exist_ok=True)
    parts = {"model": model, "averaged": averaged, "optimizer": optimizer}
    begin = go_on(out, parts, steps, seed)
    started = time.monotonic()
    for step in range(begin, steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps)
        loss, iou = losses(model, make_batch(processor, step, seed), several=step % 2 == 1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MOST_NORM)
        optimizer.step()
        averaged.update_parameters(model)
        done = step + 1
        if done % 20 == 0 or done == steps:
            line: dict[str, float] = {"step": done, "loss": round(loss.item(), 4), "iou": round(iou.item(), 4)}
            line["seconds_a_step"] = round((time.monotonic() - started) / (done - begin), 2)
            if done % MEASURED_EVERY == 0 or done == steps:
                line["mean_iou"] = round(mean_iou(averaged.module, processor), 4)
            with (out / METRICS).open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(line) + "\n")
            print(line, flush=True)
        if done % SAVED_EVERY == 0 or done == steps:
            states = {name: part.state_dict() for name, part in parts.items()}
            with atomic_path(out / STATE) as temporary:
                torch.save({"step": done, "steps": steps, "seed": seed, **states}, temporary)
    with atomic_folder(out / "model", replaceable=RESULT) as folder:
        averaged.module.eval().half().save_pretrained(folder)
        processor.save_pretrained(folder)


def go_on(out: Path, parts: dict[str, Any], steps: int, seed: int) -> int:
    """Load the last state in `out` into a model and what belongs to it, and return how many steps it has done.

    Lines of the metrics that belong to later steps are dropped, because these are done again.
    """
    begin = 0
    if (out / STATE).exists():
        state = torch.load(out / STATE, weights_only=True)
        begin = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
        for name, now in (("steps", steps), ("seed", seed)):
            before = state.get(name, now)
            if before != now:
                print(f"goes on at step {begin} with {name} {now}; it was {before}", flush=True)
    if (out / METRICS).exists():
        lines = (out / METRICS).read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]  # a crash may have cut off the last one
        write_text(out / METRICS, "".join(line for line in whole if json.loads(line)["step"] <= begin))
    return begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/nano-sam"), help="folder of the run, new or from before")
    parser.add_argument(
        "--steps",
        type=int,
        default=4700,
        help="in all. A run that goes on with another number takes the learning rate of a run of that number from "
        "there on: after more steps it first rises again, and the result is not that of one unbroken run",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of weights and scenes; of a run that goes on, of the scenes from there on"
    )
    given = parser.parse_args()
    train(given.out, given.steps, given.seed)


if __name__ == "__main__":
    main()
