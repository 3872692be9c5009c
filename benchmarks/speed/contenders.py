"""Who takes part: ours and the reference, in several modes and number formats, all with the same weights."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from groundling import GroundingDinoForObjectDetection
from groundling.configuration.presets import PRESETS

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

SEED = 0


def recorded(model: GroundingDinoForObjectDetection) -> GroundingDinoForObjectDetection:
    """Change a model on CUDA as `Detector(compile=True)` does, its documented forward too."""
    from groundling.pipeline.cuda_graphs import STAGES, replay_graphs

    replay_graphs(model, stages=(*STAGES, "forward"))
    return model


OUR_MODES: dict[str, Callable[[GroundingDinoForObjectDetection], Any]] = {
    "eager": lambda model: model,
    "graphs": recorded,
}
"""How our model may run: from a loaded model to what is called like it. A model is loaded for each mode, so a mode may
change it."""


class Autocast(nn.Module):
    """A model in half precision that keeps its weights, and what needs it, in float32.

    It is for processors on which parts of torch do not compute well in half precision.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.compute_dtype: torch.dtype = model.dtype
        self.model = model.float()
        self.dtype = torch.float32

    def forward(self, **inputs: Any) -> Any:
        """Call the model."""
        device = next(self.model.parameters()).device.type
        with torch.autocast(device, self.compute_dtype, enabled=self.compute_dtype != torch.float32):
            return self.model(**inputs)


REFERENCE_MODES: dict[str, Callable[[Any], Any]] = {
    "eager": lambda model: model,
    "autocast": Autocast,
    "compile": lambda model: torch.compile(model),
}
"""How the reference may run."""


@dataclass(frozen=True)
class Settings:
    """What holds for all cases of a run.

    Attributes:
        device: "cpu" or "cuda".
        dtypes: number formats that take part.
        our_modes: names of `OUR_MODES`.
        reference_modes: names of `REFERENCE_MODES`.
        sides: "ours", "reference" or both.
        folder: where weights and pictures are kept while the run lasts, or longer.
    """

    device: str
    dtypes: tuple[str, ...]
    our_modes: tuple[str, ...]
    reference_modes: tuple[str, ...]
    sides: tuple[str, ...]
    folder: Path


@dataclass(frozen=True)
class Contender:
    """One of those that are measured in turn.

    Attributes:
        side: "ours", "reference" or "floor", what neither can be faster than.
        mode: how it runs.
        dtype: number format.
        build: loads what it needs and returns what is timed.
    """

    side: str
    mode: str
    dtype: str
    build: Callable[[], Callable[[], Any]]

    @property
    def name(self) -> str:
        """What tables and JSON call it."""
        return f"{self.side} {self.mode} {self.dtype}"


@dataclass(frozen=True)
class Agreement:
    """How far a contender's result is from the reference's in float32.

    Attributes:
        contender: its name.
        field: what was compared.
        value: the difference.
        limit: the largest that is right; None where the figure is only reported.
    """

    contender: str
    field: str
    value: float
    limit: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the difference is within its limit; NaN is not."""
        return self.limit is None or self.value <= self.limit


def reference_library() -> Any:
    """Return the reference, silenced, and untyped as most of it is."""
    import transformers

    library: Any = transformers
    library.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    return library


def no_check(outputs: Mapping[str, Any]) -> list[Agreement]:
    """Compare nothing."""
    del outputs
    return []


@dataclass(frozen=True)
class Workload:
    """What a case's kind makes of it.

    Attributes:
        contenders: who is measured.
        check: from the contenders' results, by name, to how far they agree.
        notes: what a reader of the table must know.
    """

    contenders: list[Contender]
    check: Callable[[Mapping[str, Any]], list[Agreement]] = no_check
    notes: tuple[str, ...] = ()


@dataclass
class Models:
    """Loads models of one set of random weights for each preset, and keeps them until `clear`."""

    settings: Settings
    loaded: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def weights(self, preset: str) -> Path:
        """Return a folder with the preset's weights, as the reference saved them; made where there is none."""
        folder = self.settings.folder / f"{preset}-seed{SEED}"
        if not folder.exists():
            from random_models import spread_weights

            transformers = reference_library()
            torch.manual_seed(SEED)
            config = transformers.GroundingDinoConfig(**PRESETS[preset]().to_dict())
            model = spread_weights(transformers.GroundingDinoForObjectDetection(config))
            unfinished = folder.with_name(folder.name + ".partial")
            model.save_pretrained(unfinished)
            unfinished.replace(folder)
        return folder

    def reference(self, preset: str, mode: str, dtype: str) -> Any:
        """Return the reference's model in evaluation mode."""

        def load() -> Any:
            kind = reference_library().GroundingDinoForObjectDetection
            model = kind.from_pretrained(self.weights(preset), dtype=getattr(torch, dtype))
            return REFERENCE_MODES[mode](model.to(self.settings.device).eval())

        return self._once(("reference", preset, mode, dtype), load)

    def ours(self, preset: str, mode: str, dtype: str) -> Any:
        """Return our model in evaluation mode."""

        def load() -> Any:
            kind = GroundingDinoForObjectDetection
            model = kind.from_pretrained(self.weights(preset), dtype=getattr(torch, dtype))
            return OUR_MODES[mode](model.to(self.settings.device).eval())

        return self._once(("ours", preset, mode, dtype), load)

    def of(self, side: str, preset: str, mode: str, dtype: str) -> Any:
        """Return the model of a side."""
        return (self.ours if side == "ours" else self.reference)(preset, mode, dtype)

    def clear(self) -> None:
        """Forget all models."""
        self.loaded.clear()

    def _once(self, key: tuple[str, ...], load: Callable[[], Any]) -> Any:
        if key not in self.loaded:
            self.loaded[key] = load()
        return self.loaded[key]


def line_up(settings: Settings, dtypes: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield (side, mode, dtype) of all that take part, the reference first.

    Autocast to float32 would be eager once more and is left out.

    Args:
        settings: what was asked for.
        dtypes: number formats in which the case makes sense; empty for all.
    """
    modes = {"reference": settings.reference_modes, "ours": settings.our_modes}
    for dtype in settings.dtypes:
        for side in modes:
            for mode in modes[side]:
                repeated = (mode, dtype) == ("autocast", "float32")
                if side in settings.sides and (not dtypes or dtype in dtypes) and not repeated:
                    yield side, mode, dtype
