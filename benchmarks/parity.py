"""Measure how far groundling is from the reference (transformers) with the same weights.

    python benchmarks/parity.py [--configurations 20] [--full-size]

Prints, for each output field, the largest absolute difference over random small configurations of both families, and
with --full-size over one Swin-T run at 800 x 1066. Needs the `test` extra.
"""

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from random_models import FAMILIES, predict_from, random_inputs, random_pair, spread_weights

PROBABILITIES = ("logits", "enc_outputs_class", "encoder_logits")


def differences(name: str, reference: Any, ours: Any) -> Iterator[tuple[str, float]]:
    """Yield the field and the largest difference of each tensor in it; logits are compared as probabilities."""
    if isinstance(reference, Tensor):
        if name in PROBABILITIES:
            reference, ours = reference.sigmoid(), ours.sigmoid()
        finite = reference.isfinite()
        assert torch.equal(finite, ours.isfinite()), name
        yield name, (reference - ours)[finite].abs().max().item()
    else:
        for left, right in zip(reference, ours, strict=True):
            yield from differences(name, left, right)


def small_configurations(count: int) -> dict[str, dict[str, float]]:
    """Return the largest difference of each field over `count` configurations of each family."""
    worst: dict[str, dict[str, float]] = {family: defaultdict(float) for family in FAMILIES}
    for family, seed in ((family, seed) for family in FAMILIES for seed in range(count)):
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            reference, ours = random_pair(family, seed, Path(folder))
            inputs = random_inputs(seed)
            expected = reference(**inputs, output_attentions=True, output_hidden_states=True)
            actual = ours(**inputs, output_attentions=True, output_hidden_states=True)
        for field in expected:
            for name, difference in differences(field, expected[field], actual[field]):
                worst[family][name] = max(worst[family][name], difference)
    return worst


def full_size() -> tuple[dict[str, float], int]:
    """Return the differences of one Swin-T run, decoded from the same proposals, and how many swapped their rank."""
    torch.manual_seed(0)
    kinds = FAMILIES["grounding-dino"]
    reference = spread_weights(kinds.reference_model(kinds.reference_config())).eval()
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        ours = kinds.model.from_pretrained(folder)
    inputs = {
        "pixel_values": torch.randn(1, 3, 800, 1066),
        "input_ids": torch.tensor([[101, 1037, 4937, 1012, 1037, 6556, 2491, 1012, 102]]),
    }
    with torch.no_grad():
        expected, actual = reference(**inputs), ours(**inputs)
        decoded = predict_from(ours, inputs, expected.init_reference_points)
    swapped = (actual.init_reference_points - expected.init_reference_points).abs().amax(-1)[0] > 1e-5
    worst: dict[str, float] = {}
    for field in ("enc_outputs_class", "encoder_last_hidden_state_vision", "encoder_last_hidden_state_text"):
        worst.update(differences(field, expected[field], actual[field]))
    worst.update(differences("logits", expected.logits[..., : decoded.logit_BQT.shape[-1]], decoded.logit_BQT))
    worst.update(differences("pred_boxes", expected.pred_boxes, decoded.box_BQ4))
    return worst, int(swapped.sum())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=20)
    parser.add_argument("--full-size", action="store_true")
    arguments = parser.parse_args()
    console = Console()
    worst = small_configurations(arguments.configurations)
    table = Table("field", *FAMILIES, title=f"largest difference, {arguments.configurations} configurations each")
    for field in worst["grounding-dino"]:
        table.add_row(field, *(f"{worst[family][field]:.1e}" for family in FAMILIES))
    console.print(table)
    if arguments.full_size:
        worst_full, swapped = full_size()
        table = Table("field", "Swin-T, 800 x 1066", title=f"{swapped} of 900 proposals swapped ranks")
        for field, difference in worst_full.items():
            table.add_row(field, f"{difference:.1e}")
        console.print(table)


if __name__ == "__main__":
    main()
