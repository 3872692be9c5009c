"""Where the time of our model goes, beside what the machine can do."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from benchmarks.speed.cases import Case, CaseError
from benchmarks.speed.contenders import Models
from benchmarks.speed.forward import model_inputs
from benchmarks.speed.measure import synchronize, timed
from benchmarks.speed.stages import REST, Account, Traffic, hooked
from torch.utils.flop_counter import FlopCounterMode

SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
"""Of square matrices that are large enough for a device to reach its best rate."""

COPIED_BYTES = 256 * 2**20
TRIALS = 5


def profile_case(case: Case, models: Models, mode: str, dtype: str, rounds: int) -> dict[str, Any]:
    """Return seconds (median of the rounds), operations and bytes of each stage of a forward of ours.

    Raises:
        CaseError: the case is not a forward of the model.
    """
    if case.kind != "forward":
        raise CaseError(f"--profile looks into cases of the model alone, not into {case.name}. Name a forward-… case.")
    device = models.settings.device
    ceiling = measure_ceiling(device, dtype)
    model, inputs = models.ours(case.preset, mode, dtype), model_inputs(case, device)
    model.requires_grad_(False)  # the counter of operations would otherwise look for gradients

    def run() -> None:
        with torch.inference_mode():
            model(**inputs)

    run()
    flop, moved = _count(model, run)
    times = [_time(model, run, device) for _ in range(rounds)]
    stages = [
        {
            "name": stage,
            "seconds": median(one.get(stage, 0.0) for one in times),
            "flop": flop.get(stage, 0.0),
            "bytes": moved.get(stage, 0),
        }
        for stage in sorted(times[0], key=_order(list(times[0])))
    ]
    return {"case": case.name, "mode": mode, "dtype": dtype, "ceiling": ceiling, "rounds": rounds, "stages": stages}


def _order(seen: list[str]) -> Callable[[str], tuple[int, int]]:
    """Sort the parts of a stage together, in the order in which the stages began, and the rest last."""
    groups = list(dict.fromkeys(name.split(":")[0] for name in seen))
    return lambda name: (len(groups) if name == REST else groups.index(name.split(":")[0]), seen.index(name))


def _time(model: Any, run: Callable[[], None], device: str) -> dict[str, float]:
    def read() -> float:
        synchronize(device)
        return time.perf_counter()

    account = Account(read)
    with hooked(model, account):
        run()
    return account.close()


def _count(model: Any, run: Callable[[], None]) -> tuple[dict[str, float], dict[str, int]]:
    traffic = Traffic()
    with FlopCounterMode(display=False) as counter:
        account = Account(lambda: float(counter.get_total_flops()))
        with hooked(model, account, traffic):
            run()
    return account.close(), dict(traffic.bytes)


@torch.inference_mode()
def measure_ceiling(device: str, dtype: str) -> dict[str, float]:
    """Return the best rate of a large matrix product (operations/s) and of a copy (bytes read and written/s).

    torch may hand a product to one library and the same product, written as a 1 x 1 convolution, to a faster one.
    """
    number_format = getattr(torch, dtype)
    flops = 0.0
    for side in SIDES[device]:
        a, b = (torch.randn(side, side, device=device).to(number_format) for _ in range(2))
        pixels, kernels = a[None, :, None].permute(0, 3, 1, 2), b[:, :, None, None]
        for product in (partial(torch.matmul, a, b), partial(torch.conv2d, pixels, kernels)):
            flops = max(flops, 2 * side**3 / _best(product, device))
    source = torch.ones(COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return {"flops": flops, "bytes_per_second": 2 * COPIED_BYTES / _best(partial(target.copy_, source), device)}


def _best(run: Callable[[], Any], device: str) -> float:
    run()
    return min(timed(run, device)[0] for _ in range(TRIALS))
