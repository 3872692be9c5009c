"""One run of the benchmark: cases one after the other, and the figures so far."""

import argparse
import importlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed.cases import Case, CaseError
from benchmarks.speed.contenders import OUR_MODES, REFERENCE_MODES, Contender, Models, Settings, Workload
from benchmarks.speed.kinds import KINDS
from benchmarks.speed.machine import describe_machine, free_gibibytes
from benchmarks.speed.measure import Timing, alternate, warm_up
from benchmarks.speed.memory import MeasureError, measure_apart, measure_here

from groundling.files import write_json

DTYPES = {"cpu": ("float32", "bfloat16"), "cuda": ("float32", "float16", "bfloat16")}
"""Number formats that a device computes well."""

DEFAULT_OUR_MODES = {"cpu": ("eager",), "cuda": ("eager", "graphs")}

DEFAULT_REFERENCE_MODES = {"cpu": ("eager", "autocast"), "cuda": ("eager", "autocast", "compile")}


class Session:
    """Measures cases and collects what was found.

    Args:
        options: the parsed command line.
        folder: for weights and pictures.
        command: the command line as text, for the record.

    Raises:
        CaseError: there is no such mode or device.
        ModuleNotFoundError: the reference is not installed.
    """

    def __init__(self, options: argparse.Namespace, folder: Path, command: str) -> None:
        self.options = options
        self.device: str = options.device
        self._set_up_torch()
        importlib.import_module("transformers")  # the weights come from the reference, whoever is measured
        self.settings = Settings(
            device=self.device,
            dtypes=tuple(options.dtypes or DTYPES[self.device]),
            our_modes=_known("our", options.our_modes or DEFAULT_OUR_MODES[self.device], OUR_MODES),
            reference_modes=_known(
                "reference", options.reference_modes or DEFAULT_REFERENCE_MODES[self.device], REFERENCE_MODES
            ),
            sides=(options.only,) if options.only else ("reference", "ours"),
            folder=folder,
        )
        self.models = Models(self.settings)
        self.is_well = True
        self.results: dict[str, Any] = {
            "command": command,
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": describe_machine(self.device, options.tf32),
            "rounds": options.rounds,
            "cases": [],
            "profiles": [],
        }

    def _set_up_torch(self) -> None:
        if self.device == "cuda" and not torch.cuda.is_available():
            raise CaseError("There is no CUDA device that torch can use. Use --device cpu.")
        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        torch.backends.cuda.matmul.allow_tf32 = self.options.tf32
        torch.backends.cudnn.allow_tf32 = self.options.tf32

    def measure(self, cases: Sequence[Case]) -> None:
        """Measure all cases; the file of `--json` is written after each."""
        for case in cases:
            self.tell(case.name)
            if self.options.profile:
                self._profile(case)
            else:
                self.results["cases"].append(self._measured(case))
            self.models.clear()
            if self.options.json:
                write_json(self.options.json, self.results)

    def memory_of(self, case: Case, contender: str) -> dict[str, int]:
        """Return bytes before and at the peak of one contender, measured in this process.

        Raises:
            CaseError: the case has no such contender.
        """
        for one in KINDS[case.kind](case, self.models).contenders:
            if one.name == contender:
                return measure_here(one, self.device)
        raise CaseError(f"{case.name} has no contender {contender!r}.")

    def tell(self, line: str) -> None:
        """Say on stderr what happens."""
        print(line, file=sys.stderr, flush=True)  # noqa: T201

    def _profile(self, case: Case) -> None:
        from benchmarks.speed.profile import profile_case

        for mode in self.settings.our_modes:
            for dtype in self.settings.dtypes:
                self.results["profiles"].append(profile_case(case, self.models, mode, dtype, self.options.rounds))

    def _measured(self, case: Case) -> dict[str, Any]:
        record: dict[str, Any] = {
            "name": case.name,
            "kind": case.kind,
            "notes": [],
            "contenders": [],
            "agreement": [],
            "skipped": None,
        }
        free = free_gibibytes(self.device)
        if free is not None and free < case.gibibytes:
            record["skipped"] = f"it needs about {case.gibibytes:.1f} GiB of memory, {free:.1f} GiB are free."
            return record
        workload = KINDS[case.kind](case, self.models)
        record["notes"] = list(workload.notes)
        timings, errors = self._timings(workload, record)
        for one in workload.contenders:
            record["contenders"].append(self._row(case, one, timings.get(one.name), errors.get(one.name)))
        return record

    def _timings(self, workload: Workload, record: dict[str, Any]) -> tuple[dict[str, Timing], dict[str, str]]:
        """Warm up, compare, and only then measure."""
        runs: dict[str, Callable[[], Any]] = {}
        timings: dict[str, Timing] = {}
        outputs: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for one in workload.contenders:
            try:
                run = one.build()
                timings[one.name], outputs[one.name] = warm_up(run, self.device)
                runs[one.name] = run
            except Exception as error:  # the others are still worth measuring
                errors[one.name] = f"{type(error).__name__}: {' '.join(str(error).split()):.200}"
                self.is_well = False
            else:
                self.tell(f"first run: {one.name}: {timings[one.name].first:.4g} s")
        for agreement in workload.check(outputs):
            value = agreement.value if math.isfinite(agreement.value) else None  # JSON knows no NaN
            record["agreement"].append(asdict(agreement) | {"value": value, "holds": agreement.holds})
            if not agreement.holds:
                self.is_well = False
                self.tell(f"NOT THE SAME: {agreement}")
        outputs.clear()
        alternate(runs, timings, self.options.rounds, self.device, self.tell)
        return timings, errors

    def _row(self, case: Case, one: Contender, timing: Timing | None, error: str | None) -> dict[str, Any]:
        row: dict[str, Any] = {"name": one.name, "side": one.side, "mode": one.mode, "dtype": one.dtype}
        row |= {"first": None, "repeats": None, "seconds": [], "memory": None, "error": error}
        if timing is None:
            return row
        row |= asdict(timing)
        if self.options.memory and case.kind not in ("import", "first_box"):
            try:
                row["memory"] = measure_apart(self._same_options(case), one.name)
                self.tell(f"peak memory: {one.name}: {row['memory']['peak'] / 2**30:.2f} GiB")
            except MeasureError as problem:
                row["error"] = f"memory: {problem}"
        return row

    def _same_options(self, case: Case) -> list[str]:
        """Return the options with which a fresh process makes the same contenders of a case."""
        settings = self.settings
        options = ["--case", case.name, "--device", settings.device, "--folder", str(settings.folder.resolve())]
        options += ["--dtypes", *settings.dtypes, "--our-modes", *settings.our_modes]
        options += ["--reference-modes", *settings.reference_modes, "--threads", str(torch.get_num_threads())]
        return [*options, *(["--tf32"] if self.options.tf32 else [])]


def _known(side: str, names: Sequence[str], modes: dict[str, Any]) -> tuple[str, ...]:
    for name in names:
        if name not in modes:
            raise CaseError(f"There is no mode {name!r} for --{side}-modes. Modes: {', '.join(modes)}.")
    return tuple(names)
