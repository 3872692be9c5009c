"""The command line of the benchmark.

    python -m benchmarks.speed --quick                          a few minutes
    python -m benchmarks.speed --case 'forward-swin_t-*' --memory --json out.json
    python -m benchmarks.speed --case forward-swin_t-800x1066-9tokens-batch1 --profile
    python -m benchmarks.speed --device cuda --memory --json gpu.json
    python -m benchmarks.speed --render out.json --markdown     tables from figures, nothing is measured

Runs groundling and the reference (transformers) in alternating rounds in one process, with the same random weights,
picture, prompt and threads, compares their results first, and prints a table for each case. Run it from the root of the
repository; it needs the `test` extra. Set the threads with --threads. The reference is measured eagerly, in half
precision with all weights converted and under autocast. On a CPU its compiled form takes minutes to begin and has to be
asked for: --reference-modes eager autocast compile. Half precision is not safe on every CPU: where the notes under a
table say NaN, that contender computed nothing of use.
"""

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.speed.cases import CASES, GROUPS, CaseError, choose_cases
from rich.console import Console

DONE, PROBLEM, MISTAKE, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses: all is well; a contender failed or results differ; the command cannot be used; interrupted."""


FILE_WIDTH = 160
"""Columns of a table that does not go to a terminal."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = made.add_argument_group("what is measured").add_argument
    add("--list", action="store_true", help="list cases and groups, and stop")
    add("--case", nargs="+", default=[], metavar="NAME", help="names or patterns")
    add("--group", nargs="+", default=[], metavar="GROUP", help=f"{', '.join(GROUPS)} (default: all)")
    add("--quick", action="append_const", const="quick", dest="group", help="the same as --group quick")
    add("--rounds", type=int, default=5, help="times each contender is measured (default: 5)")
    add("--memory", action="store_true", help="also the peak memory, in a process of its own for each contender")
    add("--profile", action="store_true", help="instead: where the time of our model goes, stage by stage")
    add = made.add_argument_group("who takes part, and how").add_argument
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--dtypes", nargs="+", choices=["float32", "float16", "bfloat16"], help="default: all that the device suits")
    add("--our-modes", nargs="+", metavar="MODE")
    add("--reference-modes", nargs="+", metavar="MODE", help="default: eager autocast; with CUDA also compile")
    add("--only", choices=["ours", "reference"], help="leave the other side out; then nothing is compared")
    add("--threads", type=int, help="threads of torch (default: its own choice)")
    add("--tf32", action="store_true", help="let both sides compute float32 in TF32 on CUDA (default: neither)")
    add("--folder", type=Path, help="keep weights and pictures here for the next run (default: a temporary folder)")
    add = made.add_argument_group("what comes out").add_argument
    add("--json", type=Path, metavar="FILE", help="write all figures, after each case")
    add("--render", type=Path, nargs="+", metavar="FILE", help="measure nothing: tables of such files")
    add("--markdown", action="store_true", help="tables as markdown")
    add("--memory-of", help=argparse.SUPPRESS)  # run by --memory itself
    return made


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (CaseError, OSError, ModuleNotFoundError) as error:
        print(f"benchmarks.speed: {_explained(error)}", file=sys.stderr)  # noqa: T201
        return MISTAKE


def _explained(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"The package {error.name!r} is not installed. Install it with: pip install -e '.[test]'"
    return " ".join(str(error).split())


def _run(arguments: Sequence[str]) -> int:
    made = parser()
    options = made.parse_args(arguments)
    if options.list:
        _list(Console())
        return DONE
    if options.render:
        for file in options.render:
            try:
                _print(_read(file), as_markdown=options.markdown)
            except (KeyError, TypeError) as error:
                raise CaseError(
                    f"{file} was not written by this benchmark ({error}). Give a file of --json."
                ) from error
        return DONE
    if options.rounds < 1:
        made.error(f"argument --rounds: must be at least 1, got {options.rounds}")
    if options.threads is not None and options.threads < 1:
        made.error(f"argument --threads: must be at least 1, got {options.threads}")
    if options.json and (options.json.is_dir() or not options.json.parent.is_dir()):
        made.error(f"argument --json: {options.json} must be a file in a folder that exists")
    cases = choose_cases(options.case, options.group, options.device)

    from benchmarks.speed.session import Session  # only now: torch and transformers take seconds

    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        command = shlex.join(["python", "-m", "benchmarks.speed", *arguments])
        session = Session(options, folder, command)
        if options.memory_of:
            print(json.dumps(session.memory_of(cases[0], options.memory_of)))  # noqa: T201
            return DONE
        session.measure(cases)
    _print(session.results, as_markdown=options.markdown)
    return DONE if session.is_well else PROBLEM


def _list(console: Console) -> None:
    for name, meaning in GROUPS.items():
        console.print(f"group {name}: {meaning}", highlight=False)
    for case in CASES.values():
        console.print(f"{case.name}  ({', '.join(sorted(case.groups))}; {', '.join(case.devices)})", highlight=False)


def _read(file: Path) -> dict[str, object]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CaseError(f"{file} is not JSON: {error}.") from error
    if not isinstance(found, dict) or not {"machine", "cases"} <= found.keys():
        raise CaseError(f"{file} was not written by this benchmark. Give a file of --json.")
    return found


def _print(results: dict[str, object], *, as_markdown: bool) -> None:
    from benchmarks.speed.report import markdown, show

    if as_markdown:
        sys.stdout.write(markdown(results))
    else:
        show(results, Console(width=None if sys.stdout.isatty() else FILE_WIDTH))
