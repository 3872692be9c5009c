"""Tables of what was measured, for a terminal or as markdown. Everything in them is computed from the JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.speed.figures import fastest, median_seconds, seconds_text, times_faster
from rich.console import Console
from rich.table import Table

NAMELESS = "-"


@dataclass(frozen=True)
class Sheet:
    """A table and what is said about it.

    Attributes:
        title: above it.
        columns: heads; the first column is text, the others are figures.
        rows: as many texts each as there are columns.
        notes: below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: tuple[str, ...] = ()


def sheets(results: Mapping[str, Any]) -> Iterator[Sheet]:
    """Yield all tables of a run."""
    for case in results["cases"]:
        yield case_sheet(case)
    for profile in results.get("profiles", ()):
        yield profile_sheet(profile)


def case_sheet(case: Mapping[str, Any]) -> Sheet:
    """Return the table of a case: a row for each contender."""
    contenders = case["contenders"]
    standard, best = fastest(contenders, "reference", "float32"), fastest(contenders, "reference")
    columns = (
        "contender",
        "median",
        "min … max",
        "speed-up, float32",
        "speed-up, best",
        "first run",
        "peak memory",
        "before it",
    )
    rows = [_contender_row(one, standard, best) for one in contenders]
    notes = [*case["notes"], *_agreement_notes(case["agreement"])]
    notes += [f"{one['name']} failed: {one['error']}" for one in contenders if one["error"]]
    if case["skipped"]:
        notes.append(f"Left out: {case['skipped']}")
    return Sheet(case["name"], columns, rows, tuple(notes))


def _contender_row(one: Mapping[str, Any], standard: float | None, best: float | None) -> tuple[str, ...]:
    seconds, memory = median_seconds(one), one["memory"] or {}
    times = one["seconds"]
    spread = f"{seconds_text(min(times))} … {seconds_text(max(times))}" if times else NAMELESS
    return (
        one["name"],
        seconds_text(seconds),
        spread,
        _ratio(times_faster(standard, seconds)),
        _ratio(times_faster(best, seconds)),
        seconds_text(one["first"]),
        _gibibytes(memory.get("peak")),
        _gibibytes(memory.get("before")),
    )


def _agreement_notes(found: list[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one line for each contender: how far it is from the reference in float32."""
    for name in dict.fromkeys(one["contender"] for one in found):
        parts = []
        for one in (one for one in found if one["contender"] == name):
            limit = "" if one["limit"] is None else f" ({'≤' if one['holds'] else 'NOT ≤'} {one['limit']:g})"
            value = "NaN" if one["value"] is None else f"{one['value']:.2g}"
            parts.append(f"{one['field']} {value}{limit}")
        yield f"{name}: {'; '.join(parts)}."


def profile_sheet(profile: Mapping[str, Any]) -> Sheet:
    """Return the table of a profile: a row for each stage, with what the machine could do beside it."""
    ceiling = profile["ceiling"]
    columns = (
        "stage",
        "ms",
        "share",
        "GFLOP",
        "GFLOP/s",
        "of ceiling",
        "MB in and out",
        "GB/s",
        "limit ms",
        "gap",
    )
    total = sum(stage["seconds"] for stage in profile["stages"])
    rows = [_stage_row(stage, ceiling, total) for stage in profile["stages"]]
    whole = {key: sum(stage[key] for stage in profile["stages"]) for key in ("seconds", "flop", "bytes")}
    rows.append(_stage_row({"name": "all", **whole}, ceiling, total))
    notes = (
        f"Ceilings measured here: {ceiling['flops'] / 1e9:.0f} GFLOP/s (large matrix product in "
        f"{profile['dtype']}), {ceiling['bytes_per_second'] / 1e9:.1f} GB/s (copy of a large array).",
        "The limit is the longer of a stage's operations at the first rate and its inputs, outputs and weights, moved "
        "once, at the second; the gap is the time over the limit. Operations are those of matrix multiplications and "
        "convolutions.",
    )
    return Sheet(f"profile: {profile['case']}, {profile['mode']} {profile['dtype']}", columns, rows, notes)


def _stage_row(stage: Mapping[str, Any], ceiling: Mapping[str, float], total: float) -> tuple[str, ...]:
    seconds, flop, moved = stage["seconds"], stage["flop"], stage["bytes"]
    limit = max(flop / ceiling["flops"], moved / ceiling["bytes_per_second"])
    rate = flop / seconds if seconds else 0.0
    return (
        stage["name"],
        f"{seconds * 1e3:.1f}",
        f"{100 * seconds / total:.1f} %" if total else NAMELESS,
        f"{flop / 1e9:.1f}",
        f"{rate / 1e9:.0f}",
        f"{100 * rate / ceiling['flops']:.0f} %",
        f"{moved / 1e6:.0f}",
        f"{moved / seconds / 1e9:.1f}" if seconds else NAMELESS,
        f"{limit * 1e3:.1f}",
        f"{seconds / limit:.1f}" if limit else NAMELESS,
    )


SPEED_UP = (
    "Speed-up: the smallest median of the reference, in float32 or in any number format, over the median. Peak memory "
    "holds the weights."
)


def heading(results: Mapping[str, Any]) -> str:
    """Return one paragraph: the command, the commit, the machine."""
    machine = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    place = f"{machine['cpu']} ({', '.join(machine['flags'])}), {machine['threads']} threads"
    if gpu := machine.get("gpu"):
        place = f"{gpu['name']}, CUDA {gpu['cuda']}, TF32 {'on' if gpu['tf32'] else 'off'}; {place}"
    changed = " with changes" if machine["dirty"] else ""
    commit = f"commit {machine['commit'][:12]}{changed}" if machine["commit"] else "no commit"
    return f"{results['date']}, {commit}. {place}. Python {machine['python']}, {versions}. {SPEED_UP}"


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print all tables."""
    console.print(heading(results), highlight=False, markup=False)
    for sheet in sheets(results):
        table = Table(title=sheet.title, title_justify="left")
        for index, column in enumerate(sheet.columns):
            table.add_column(column, justify="right" if index else "left", no_wrap=not index)
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
        for note in sheet.notes:
            console.print(f"  {note}", highlight=False, markup=False)


def markdown(results: Mapping[str, Any]) -> str:
    """Return all tables as markdown."""
    parts = [f"`{results['command']}`", heading(results)]
    for sheet in sheets(results):
        lines = [" | ".join(sheet.columns), " | ".join(["---", *["---:"] * (len(sheet.columns) - 1)])]
        lines += [" | ".join(row) for row in sheet.rows]
        parts += [f"### {sheet.title}", "\n".join(f"| {line} |" for line in lines)]
        parts += ["\n".join(f"* {note}" for note in sheet.notes)] if sheet.notes else []
    return "\n\n".join(parts) + "\n"


def _ratio(ratio: float | None) -> str:
    return NAMELESS if ratio is None else f"{ratio:.2f}"


def _gibibytes(size: int | None) -> str:
    return NAMELESS if size is None else f"{size / 2**30:.2f} GiB"
