"""Measure int8 linear layers on a CPU: single products, the whole Swin-T, and the precision of the bundled model.

    python -m benchmarks.int8 [--rounds 5]

Activations are quantised as they come, by oneDNN's product, which torch has but does not document: the fastest way that
was found. Needs the `test` and `eval` extras.
"""

import argparse
import statistics
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed.agreement import relative_difference
from benchmarks.speed.contenders import Models, Settings
from benchmarks.speed.measure import alternate, warm_up
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from groundling import Detector
from groundling.data.scenes.records import SceneRecords
from groundling.evaluate import PROTOCOLS, evaluate
from groundling.files import BUNDLED_MODEL
from groundling.model.layers import Linear
from groundling.ops.boxes import cxcywh_to_xyxy, iou_and_union

SHAPES = ((2048, 256, 2048), (2048, 2048, 256), (17821, 256, 256), (53400, 96, 384), (3350, 384, 1536))
"""Rows, inputs and outputs of large products of Swin-T at 800 x 1066."""

IMAGE_LAYERS = ("image_backbone", "image_self_attention")
"""Where there are thousands of tokens. Elsewhere quantising costs more than it saves, and boxes suffer."""


class Int8Linear(nn.Module):
    """A product of 8-bit numbers: one scale for all inputs, one for the weights of each output."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight_OI = layer.weight.detach().float()
        self.bias = None if layer.bias is None else layer.bias.detach().float()
        self.scale_O = (weight_OI.abs().amax(dim=1) / 127).clamp_min(1e-12)
        self.zero_O = torch.zeros(len(weight_OI), dtype=torch.int32)
        self.packed = torch.ops.onednn.qlinear_prepack((weight_OI / self.scale_O[:, None]).round().to(torch.int8), None)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to the last axis."""
        low, high = (bound.item() for bound in torch.aminmax(x))
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / 255, 1e-12)
        zero = round(-low / scale)
        rounded = torch.quantize_per_tensor(x.float(), scale, zero, torch.quint8).int_repr()
        rest: tuple[Any, ...] = (self.packed, self.scale_O, self.zero_O, self.bias, 1.0, 0, x.dtype, "none", [], "")
        output: Tensor = torch.ops.onednn.qlinear_pointwise(rounded, scale, zero, *rest)
        return output


def quantised(model: Any, parts: tuple[str, ...]) -> Any:
    """Replace the linear layers in those parts of a model and return the model."""
    for name, module in list(model.named_modules()):
        if type(module) is Linear and any(part in name for part in parts):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, Int8Linear(module))
    return model


def variants(load: Callable[[str], Any]) -> dict[str, Any]:
    """Return a model, which `load` loads in a number format, in all variants."""
    return {
        "float32": load("float32"),
        "bfloat16": load("bfloat16"),
        "int8, rest bfloat16": quantised(load("bfloat16"), ("",)),
        "int8 for image tokens, rest bfloat16": quantised(load("bfloat16"), IMAGE_LAYERS),
    }


def median_seconds(runs: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median of each over alternating rounds."""
    timings = {name: warm_up(run, "cpu")[0] for name, run in runs.items()}
    alternate(runs, timings, rounds, "cpu", lambda line: None)
    return {name: statistics.median(timing.seconds) for name, timing in timings.items()}


def products(rounds: int) -> Table:
    """Measure single products, in GFLOP/s."""
    table = Table("rows x inputs -> outputs", "float32", "bfloat16", "int8, from and to bfloat16", title="GFLOP/s")
    for rows, width, outputs in SHAPES:
        layer, x = Linear(width, outputs), torch.randn(rows, width)
        runs = {"float32": partial(layer, x)}
        layer, x = Linear(width, outputs, dtype=torch.bfloat16), x.bfloat16()
        runs |= {"bfloat16": partial(layer, x), "int8": partial(Int8Linear(layer), x)}
        rates = (2e-9 * rows * width * outputs / seconds for seconds in median_seconds(runs, rounds).values())
        table.add_row(f"{rows} x {width} -> {outputs}", *(f"{rate:.0f}" for rate in rates))
    return table


def full_size(rounds: int, folder: Path) -> Table:
    """Measure Swin-T at 800 x 1066 with 9 tokens and compare with float32, decoding from the same proposals."""
    from random_models import predict_from

    def load(dtype: str) -> Any:
        return Models(Settings("cpu", (), ("eager",), (), ("ours",), folder)).ours("swin_t", "eager", dtype)

    loaded = variants(load)
    torch.manual_seed(0)
    ids = torch.tensor([[101, 1037, 4937, 1012, 1037, 6556, 2491, 1012, 102]])
    inputs = {"pixel_values": torch.randn(1, 3, 800, 1066), "input_ids": ids}
    expected = loaded["float32"](**inputs)
    median = median_seconds({name: partial(model, **inputs) for name, model in loaded.items()}, rounds)
    table = Table(
        "Swin-T", "median", "of bfloat16", "boxes with IoU >= 0.9", "enhanced image tokens, relative difference"
    )
    for name, model in loaded.items():
        decoded = predict_from(model, inputs, expected.init_reference_points)
        iou_BQ, _ = iou_and_union(cxcywh_to_xyxy(expected.pred_boxes), cxcywh_to_xyxy(decoded.box_BQ4))
        tokens = (one.encoder_last_hidden_state_vision for one in (expected, model(**inputs)))
        shares = (median[name] / median["bfloat16"], (iou_BQ >= 0.9).float().mean(), relative_difference(*tokens))
        table.add_row(name, f"{median[name]:.2f} s", *(f"{share:.1%}" for share in shares))
    return table


def bundled() -> Table:
    """Measure the average precision of the bundled model on drawn scenes."""
    detector = Detector.from_pretrained(BUNDLED_MODEL)
    records = SceneRecords(split="seen", seed=1, size=192, count=200)
    table = Table("groundling/nano", "AP", "AP50", "AP75")
    for name, model in variants(lambda dtype: Detector.from_pretrained(BUNDLED_MODEL, dtype=dtype).model).items():
        figures = evaluate(Detector(model, detector.processor), records, PROTOCOLS["scenes"], batch_size=4)
        table.add_row(name, *(f"{figures[figure]:.1%}" for figure in ("AP", "AP50", "AP75")))
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    warnings.filterwarnings("ignore")  # torch says that its quantised tensors are deprecated
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for table in (products(rounds), full_size(rounds, Path(folder)), bundled()):
            Console().print(table)


if __name__ == "__main__":
    main()
