"""The entry point: verbs, `--version`, and what a mistake looks like in the shell."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from groundling.cli.app import app as app_verb
from groundling.cli.arguments import LabelsCommand
from groundling.cli.calibrate import calibrate
from groundling.cli.convert import convert
from groundling.cli.data import data
from groundling.cli.detect import detect
from groundling.cli.doctor import doctor
from groundling.cli.evaluate import evaluate
from groundling.cli.explain import explain
from groundling.cli.info import info
from groundling.cli.label import label
from groundling.cli.scenes import scenes
from groundling.cli.segment import segment
from groundling.cli.status import INTERRUPTED, MISTAKE
from groundling.cli.track import track
from groundling.cli.train import train
from groundling.errors import GroundlingError

BROKEN_PIPE = 1

# A class of click's, which newer typer releases carry inside themselves under another name.
_UsageProblem: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="groundling",
    help="Name what you want to find in a picture, get boxes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("detect", cls=LabelsCommand)(detect)
app.command("segment", cls=LabelsCommand)(segment)
app.command("label", cls=LabelsCommand)(label)
app.command("track", cls=LabelsCommand)(track)
app.command("explain", cls=LabelsCommand)(explain)
app.command("calibrate", cls=LabelsCommand)(calibrate)
app.command("app")(app_verb)
app.command("evaluate")(evaluate)
app.command("train")(train)
app.add_typer(data)
app.add_typer(scenes)
app.command("info")(info)
app.command("convert")(convert)
app.command("doctor")(doctor)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        from groundling import __version__

        typer.echo(f"groundling {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status.

    0 is success, 1 that some of several pictures could not be used, 2 a mistake in the command or its files (one line
    on stderr), 130 an interruption. An error of groundling's own keeps its traceback.
    """
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # its retries are not worth five lines; the error says enough
    try:
        status = app(args=list(arguments), prog_name="groundling", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone. Python would complain once more when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        message = _explain(error)
        if message is None:
            raise
        typer.echo(f"groundling: {message}", err=True)
        return MISTAKE


def main() -> None:
    """Run the command line of this process."""
    # A closed stream is None to Python; what would be said there is said to no one.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.exit(run(sys.argv[1:]))


def _explain(error: Exception) -> str | None:
    """Put an error that the user can do something about into one line; None for any other error."""
    if isinstance(error, _UsageProblem):
        text = error.format_message()  # type: ignore[attr-defined]
    elif isinstance(error, GroundlingError):
        text = str(error)
    elif isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename is not None else ""
        text = f"{place}{error.strerror or error}"
    elif isinstance(error, RuntimeError) and "home directory" in str(error):  # Path.expanduser has no type of its own
        text = "A path begins with ~ and the name of no user of this computer. Write the path in full."
    elif type(error).__name__ == "OutOfMemoryError":
        text = f"The device's memory is full. Use a smaller --batch-size or --dtype bfloat16. ({error})"
    else:
        return None
    return " ".join(text.split())
