"""`groundling doctor`: what this installation has and uses, and whether it computes what it should."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from groundling.cli.status import PROBLEM
from groundling.errors import ConfigError

if TYPE_CHECKING:
    from groundling.cli.self_check import Check


def doctor(
    check: Annotated[
        bool, typer.Option("--check", help="Also compute small examples on each device, in some seconds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, to go with a bug report.")] = False,
) -> int:
    """Show versions, devices, extras and what computes deformable attention.

    The exit status is 1 if something is wrong.

    Example: groundling doctor --check
    """
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:
        raise ConfigError(f"torch cannot be imported ({error}). Install it as https://pytorch.org says.") from error

    from groundling.cli.installation import installation_facts, installation_problems

    facts = installation_facts()
    problems = installation_problems(facts)
    checks = _run_checks(facts) if check else None
    problems += [f"{one.place}, {one.subject}: {one.detail}" for one in checks or () if not one.passed]
    if as_json:
        _print_json(facts, checks, problems)
    else:
        _print_tables(facts, checks)
        for problem in problems:
            typer.echo(f"groundling: {problem}", err=True)
    return PROBLEM if problems else 0


def _run_checks(facts: dict[str, Any]) -> "list[Check]":
    from groundling.cli.self_check import run_checks

    return list(run_checks([device["device"] for device in facts["devices"]]))


def _print_json(facts: dict[str, Any], checks: "list[Check] | None", problems: list[str]) -> None:
    import json

    described = None if checks is None else [one._asdict() for one in checks]
    typer.echo(json.dumps({**facts, "checks": described, "problems": problems}))


def _print_tables(facts: dict[str, Any], checks: "list[Check] | None") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # nothing is cut
    for name, value in _rows(facts):
        table.add_row(name, value)
    console.print(table)
    if checks is not None:
        table = Table("check", "of", "result")
        for one in checks:
            table.add_row(one.place, one.subject, f"{'ok' if one.passed else 'WRONG'}: {one.detail}")
        console.print(table)


def _rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [(name, facts[name]) for name in ("groundling", "python", "system")]
    rows.append(("packages", _versions(facts["packages"])))
    rows += [(f"extra {extra}", _versions(packages)) for extra, packages in facts["extras"].items()]
    rows += [(device["device"], _device(device)) for device in facts["devices"]]
    if not any(device["device"].startswith("cuda") for device in facts["devices"]):
        cuda = facts["torch_cuda"]
        rows.append(("cuda", "none: torch is built without CUDA" if cuda is None else f"none that CUDA {cuda} can use"))
    for used in facts["deformable_attention"]:
        words = f"{used['implementation']} on {used['device']} ({used['reason']})"
        rows.append(("deformable attention", words))
    for model in facts["bundled_models"]:
        size = model["weight_bytes"]
        rows.append(("bundled model", f"{model['name']}: " + ("missing" if size is None else f"{size / 1e6:.1f} MB")))
    return rows


def _versions(packages: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'not installed'}" for name, version in packages.items())


def _device(device: dict[str, Any]) -> str:
    parts = [device["name"]]
    if "cores" in device:
        parts += [f"{device['cores']} cores, threads used: {device['threads']}", device["vectors"]]
        parts += device["instructions"] or []
    if "memory_bytes" in device:
        parts += [f"{device['memory_bytes'] / 2**30:.1f} GiB", f"compute capability {device['compute_capability']}"]
    return ", ".join(parts)
