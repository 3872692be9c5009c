"""Put a training run together: data sets, their check, model, validations, what is printed."""

import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from groundling.cli.overfit import judge, smoke_test_settings
from groundling.cli.report import PIPE_WIDTH
from groundling.cli.status import MISTAKE, PROBLEM
from groundling.cli.validations import Validation, open_validations, usual_protocol, validation_table
from groundling.data.check import inspect_dataset
from groundling.data.first import FirstRecords
from groundling.errors import ConfigError, DatasetError, GroundlingError, MissingExtraError, missing_extra
from groundling.train.curves import draw_run
from groundling.train.examples import Source, TrainingExamples
from groundling.train.metrics import read_metrics
from groundling.train.pictures import Showcase
from groundling.train.processes import is_main_process
from groundling.train.run_folder import check_run_folder
from groundling.train.settings import RunSettings
from groundling.train.sources import WEIGHT, open_examples
from groundling.train.start import Start, load_start
from groundling.train.states import FOLDER, has_states
from groundling.train.trainer import Trainer

PICTURES = "pictures"


def train_model(settings: RunSettings, output: Path | None, *, check: bool) -> int:
    """Train as settings say and return the exit status.

    Args:
        settings: of the run.
        output: folder of the run, in place of the settings' own.
        check: look for mistakes in the data sets before a new run begins.

    Raises:
        GroundlingError: something that the run needs is missing or wrong.
    """
    with _said_once():
        settings = _with_output(settings, output)
        _check_extras(settings)
        check_run_folder(settings)
        voice = Voice(Path(settings.output))
        if check and is_main_process() and not has_states(Path(settings.output)):
            _check_data(settings, voice)
        start = load_start(settings)
        examples = open_examples(settings, start.processor)
        validations = open_validations(settings.validate)
        drawing = _showcase(settings, examples, validations)
        trainer = Trainer(settings, start, examples, validations, drawing=drawing, listener=voice.listen)
    _print_summary(settings, start, examples, trainer, voice)
    try:
        trainer.train()
    except KeyboardInterrupt:
        voice.say(f"stopped after step {_last_step(Path(settings.output)):,}; the same command goes on from there")
        raise
    if is_main_process():
        _print_end(settings, examples)
    return 0


def learn_by_heart(settings: RunSettings, pictures: int, output: Path | None, *, check: bool, keep_steps: bool) -> int:
    """Train on a few pictures only, evaluate on the same ones and return 0 if they were learned, else 1.

    Args:
        settings: of the run that is tried out.
        pictures: the first so many of the first data set are learned.
        output: where everything is kept; None keeps nothing.
        check: look for mistakes in the data sets first.
        keep_steps: do as many steps as the settings say, instead of a few hundred.

    Raises:
        GroundlingError: something that the run needs is missing or wrong.
    """
    with tempfile.TemporaryDirectory(prefix="groundling-overfit-") as folder:
        with _said_once():
            processes = int(os.environ.get("WORLD_SIZE", "1"))
            settings = smoke_test_settings(
                settings, pictures, str(output or folder), keep_steps=keep_steps, processes=processes
            )
            _check_extras(settings, evaluates=True)
            check_run_folder(settings)
            voice = Voice(Path(settings.output))
            if check and is_main_process():
                _check_data(settings, voice)
            start = load_start(settings)
            dataset = open_examples(settings, start.processor).sources[0].dataset
            few = FirstRecords(dataset, pictures)
            examples = TrainingExamples([Source(few)], start.processor, settings.prompt, settings.seed)
            drawing = _showcase(settings, examples, {})
            trainer = Trainer(settings, start, examples, drawing=drawing, listener=voice.listen)
        _print_summary(settings, start, examples, trainer, voice)
        trainer.train()
        if not is_main_process():
            return 0
        protocol = usual_protocol(_specification(settings.data.train[0]), dataset)
        figures = Validation(dataset, protocol, len(few))(trainer.detector())
        losses = [line["loss"] for line in read_metrics(Path(settings.output)) if "loss" in line]
    verdict = judge(figures, losses, settings, len(few))
    typer.echo(verdict.text)
    return 0 if verdict.learned else PROBLEM


class Voice:
    """Says on stderr how a run goes, in the main process only.

    Args:
        run: folder of the run.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._drawn = -1  # the step that the curves show
        self._has_told = False
        self._console = Console(
            stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH, markup=False, highlight=False
        )

    def say(self, what: str | Table) -> None:
        """Print something."""
        if is_main_process():
            self._console.print(what, soft_wrap=isinstance(what, str))

    def listen(self, step: int, values: Mapping[str, float]) -> None:
        """Take in that a state was saved or a validation was done: draw the curves, and print what was measured.

        Args:
            step: steps done.
            values: figures of a validation; empty where there was none.
        """
        if values:
            self.say(validation_table(step, values, self._run))
        if step == self._drawn:
            return
        self._drawn = step
        try:
            draw_run(self._run)
        except MissingExtraError as error:
            if not self._has_told:
                self.say(f"groundling: {error}")
            self._has_told = True


@contextmanager
def _said_once() -> Iterator[None]:
    """Let only the main process explain a mistake that all processes find."""
    try:
        yield
    except GroundlingError as error:
        if is_main_process():
            raise
        raise typer.Exit(MISTAKE) from error


def _with_output(settings: RunSettings, output: Path | None) -> RunSettings:
    if output is not None:
        settings = replace(settings, output=str(output))
    if not settings.output:
        raise ConfigError('No folder for the run is named. Write output = "runs/first" into the file, or use --output.')
    return settings


def _check_extras(settings: RunSettings, *, evaluates: bool = False) -> None:
    """Check that what a run will need after hours is there now."""
    needed = [("accelerate", "accelerate", "train", "Training"), ("tensorboard", "tensorboard", "train", "Training")]
    if settings.lora.rank:
        needed.append(("peft", "peft", "lora", "LoRA"))
    if settings.validate or evaluates:
        needed.append(("faster-coco-eval", "faster_coco_eval", "eval", "A validation"))
    for package, module, extra, purpose in needed:
        if find_spec(module) is None:
            raise missing_extra(package, extra, purpose)


def _specification(data: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in data.items() if key != WEIGHT}


def _check_data(settings: RunSettings, voice: Voice) -> None:
    """Look through the annotations and the headers of the pictures of everything that is on disk.

    Raises:
        DatasetError: something is wrong; the message names the first place and says how to see all of them.
    """
    data = [*settings.data.train, *settings.data.replay, *(one.data for one in settings.validate)]
    for place, spec in enumerate(_specification(one) for one in data):
        if spec.get("format") == "scenes" or spec in [_specification(one) for one in data[:place]]:
            continue
        report = inspect_dataset(spec, decode=False)
        errors = [problem for problem in report.problems if problem.kind.is_error]
        command = _check_command(spec)
        if errors:
            others = f" ({len(errors) - 1:,} more errors: {command})" if len(errors) > 1 else ""
            raise DatasetError(f"{errors[0]}{others} Training has not begun; --no-check skips this check.")
        if report.problems:
            voice.say(f"{spec.get('annotations')}: {len(report.problems):,} warnings; to read them: {command}")


def _check_command(spec: Mapping[str, object]) -> str:
    """Return the command that lists everything that is wrong with a data set."""
    options = {f"--{key.replace('_', '-')}": str(value) for key, value in spec.items() if key != "annotations"}
    words = [word for option in options.items() for word in option]
    return shlex.join(["groundling", "data", "check", str(spec.get("annotations", "")), *words])


def _showcase(
    settings: RunSettings, examples: TrainingExamples, validations: Mapping[str, Validation]
) -> Showcase | None:
    if not settings.report.pictures:
        return None
    first = next(iter(validations.values()), None)
    dataset = examples.sources[0].dataset if first is None else first.dataset
    return Showcase(dataset, settings.prompt, Path(settings.output) / PICTURES)


def _print_summary(
    settings: RunSettings, start: Start, examples: TrainingExamples, trainer: Trainer, voice: Voice
) -> None:
    parameters = list(start.detector.parameters())
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    frozen = sum(parameter.numel() for parameter in parameters) - trained
    optimizer, accelerator = settings.optimizer, trainer.accelerator
    done = _last_step(Path(settings.output))
    parts = f", in {optimizer.accumulate} parts" if optimizer.accumulate > 1 else ""
    table = Table(show_header=False, box=None)
    for title, text in (
        ("model", f"{settings.model.start}{' with fresh weights' if settings.model.fresh else ''}"),
        ("parameters", f"{trained:,} trained, {frozen:,} frozen"),
        ("learns from", _sources(settings, examples)),
        ("validations", _validations(settings)),
        ("steps", f"{optimizer.steps:,} of {optimizer.batch_size} pictures{parts}"),
        ("learning rate", f"{optimizer.learning_rate:g}, {optimizer.schedule}"),
        ("precision", settings.precision),
        ("device", f"{accelerator.device}, processes: {accelerator.num_processes}"),
        ("output", f"{settings.output}{f', goes on after step {done:,}' if done else ''}"),
    ):
        table.add_row(title, text)
    voice.say(table)


def _sources(settings: RunSettings, examples: TrainingExamples) -> str:
    counts = [f"{len(source.dataset):,}" for source in examples.sources]
    new = len(settings.data.train)
    share = f", replay of {' + '.join(counts[new:])} ({settings.data.replay_share:.0%})" if counts[new:] else ""
    return f"{' + '.join(counts[:new])} pictures{share}"


def _validations(settings: RunSettings) -> str:
    if not settings.validate:
        return "none"
    names = ", ".join(f"{one.name} ({one.pictures:,} pictures)" for one in settings.validate)
    every = settings.report.validate
    return f"{names}, {f'every {every:,} steps' if every else 'never: set report.validate'}"


def _last_step(run: Path) -> int:
    """Return the step of the last state of a run; 0 where there is none."""
    return max((int(path.stem.partition("-")[2]) for path in (run / FOLDER).glob("step-*.pt")), default=0)


def _print_end(settings: RunSettings, examples: TrainingExamples) -> None:
    model = Path(settings.output) / "model"
    record = examples.sources[0].dataset[0]
    labels = record.labels[:2] or ("LABEL",)
    command = shlex.join(["groundling", "detect", "PICTURE.jpg", "--model", str(model), "--labels", *labels])
    typer.echo(f"wrote {model}")
    typer.echo(f"use it: {command}")
