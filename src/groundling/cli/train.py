"""`groundling train`: from a file of settings to a trained model."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    run_file: Annotated[Path, typer.Argument(metavar="RUN.toml", help="The settings of the run.")],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="A.B=VALUE", help="Replace one setting, such as optimizer.steps=100; repeatable."
        ),
    ] = None,
    overfit: Annotated[
        int | None,
        typer.Option("--overfit", metavar="N", min=1, help="Smoke test: can the first N pictures be learned by heart?"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "--out", metavar="FOLDER", help="Folder of the run; replaces `output` in the file."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Look for mistakes in the data sets before the first step.")
    ] = True,
) -> int:
    """Train a model as a file says; the same command again goes on where a run stopped.

    Example: groundling train run.toml --set optimizer.steps=20 --output runs/short
    """
    from groundling.cli.training import learn_by_heart, train_model
    from groundling.train.settings import read_run

    given = list(changes or [])
    settings = read_run(run_file, given)
    if overfit is None:
        return train_model(settings, output, check=check)
    has_steps = any(change.partition("=")[0].strip() == "optimizer.steps" for change in given)
    return learn_by_heart(settings, overfit, output, check=check, keep_steps=has_steps)
