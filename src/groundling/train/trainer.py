"""The loop: batches, losses, gradients, weights; and everything that makes it resumable."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from groundling.errors import ConfigError, missing_extra
from groundling.files import write_json
from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.pipeline.detector import Detector
from groundling.train.examples import Steps, TrainingExamples, batches
from groundling.train.metrics import Metrics
from groundling.train.objective import Batch, TrainingObjective
from groundling.train.optimizer import averaged, build_optimizer, set_rate
from groundling.train.settings import RunSettings
from groundling.train.start import Start
from groundling.train.states import load_state, save_state

PRECISIONS = {"float32": "no", "bf16": "bf16"}
_STEP_SEEDS = 2**31
"""Steps are numbered within each seed by so many."""

Validation = Callable[[Detector], Mapping[str, float]]
"""Evaluates a detector; returns metrics by name."""


class Trainer:
    """Trains a detector.

    Args:
        settings: of the run.
        start: the model to train and its processor.
        examples: what to learn from.
        validations: by name, what is evaluated now and then; the first is the target.

    Raises:
        ConfigError: settings contradict each other or the folder holds another run.
        MissingExtraError: accelerate or TensorBoard is not installed.
    """

    def __init__(
        self,
        settings: RunSettings,
        start: Start,
        examples: TrainingExamples,
        validations: Mapping[str, Validation] | None = None,
    ) -> None:
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise missing_extra("accelerate", "train", "Training") from error
        if settings.precision not in PRECISIONS:
            raise ConfigError(f"precision={settings.precision!r} is unknown. Use one of {', '.join(PRECISIONS)}.")
        self.settings, self.start, self.examples = settings, start, examples
        self.validations = dict(validations or {})
        self.run = Path(settings.output)
        self.accelerator = Accelerator(mixed_precision=PRECISIONS[settings.precision])
        denoising = settings.denoising if settings.denoising.budget >= 2 else None
        objective = self._plain = TrainingObjective(start.detector, denoising)
        self.ema = averaged(start.detector, settings.ema).to(self.accelerator.device) if settings.ema else None
        optimizer = build_optimizer(objective, settings.optimizer)
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)
        self.step = 0

    def train(self) -> None:
        """Train from the last state of the run's folder, or from the start, to the last step."""
        self._resume()
        lead = self.accelerator.is_main_process
        metrics = Metrics(self.run, self.step) if lead else None
        options, total = self.settings.report, self.settings.optimizer.steps
        with self._progress(total) as progress:
            task = progress.add_task("training", total=total, completed=self.step)
            prepared = self._batches()
            while self.step < total:
                values = self._train_step([next(prepared) for _ in range(self.settings.optimizer.accumulate)])
                self.step += 1
                last = self.step == total
                if metrics is not None and (_is_due(self.step, options.metrics) or last):
                    metrics.write(self.step, values)
                if _is_due(self.step, options.checkpoint) or last:
                    self._save()
                if metrics is not None and self.validations and (_is_due(self.step, options.validate) or last):
                    metrics.write(self.step, self._validate())
                progress.update(task, completed=self.step, description=f"loss {values['loss']:.3f}")
        if metrics is not None:
            metrics.close()
        self.accelerator.end_training()

    def detector(self) -> Detector:
        """Return the detector as it would be saved now: averaged weights where there are any."""
        model = self.start.detector if self.ema is None else self.ema.module
        assert isinstance(model, GroundingDinoForObjectDetection)
        return Detector(model, self.start.processor)

    def _batches(self) -> Iterator[Batch]:
        optimizer = self.settings.optimizer
        steps = Steps(
            start=self.step,
            stop=optimizer.steps,
            batch_size=optimizer.batch_size,
            accumulate=optimizer.accumulate,
            process=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            sides=self.settings.data.sides,
            seed=self.settings.seed,
        )
        return batches(self.examples, steps, self.settings.data.workers)

    def _train_step(self, parts: list[Batch]) -> dict[str, float]:
        """Do one step and return its losses, averaged over the processes."""
        accelerator, settings = self.accelerator, self.settings
        self.objective.train()
        # Losses are divided by the objects of the whole step, so that it does not matter how it is shared.
        objects = torch.tensor(float(sum(part.targets.num_objects for part in parts)), device=accelerator.device)
        mean_objects = float(accelerator.reduce(objects, "mean"))
        torch.manual_seed(
            (settings.seed * _STEP_SEEDS + self.step) * accelerator.num_processes + accelerator.process_index
        )
        rate = set_rate(self.optimizer, self.step, settings.optimizer)
        sums: dict[str, Tensor] = {}
        for index, part in enumerate(parts):
            is_last = index == len(parts) - 1
            with nullcontext() if is_last else accelerator.no_sync(self.objective):
                total, losses = self.objective(part.to(accelerator.device), mean_objects)
                accelerator.backward(total)
            for name, value in {"loss": total, **losses}.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach()
        norm = accelerator.clip_grad_norm_(self.objective.parameters(), settings.optimizer.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update_parameters(self.start.detector)
        values = {name: float(accelerator.reduce(value, "mean")) for name, value in sums.items()}
        return values | {"gradient_norm": float(norm), "learning_rate": rate}

    def _resume(self) -> None:
        state = load_state(self.run)
        if state is None:
            return
        self._plain.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.step = int(state["step"])

    def _save(self) -> None:
        """Write the state to resume from and the model to use."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            state = {"objective": self._plain.state_dict(), "optimizer": self.optimizer.state_dict()}
            if self.ema is not None:
                state["ema"] = self.ema.state_dict()
            save_state(self.run, self.step, state)
            detector = self.detector()
            detector.model.save_pretrained(self.run / "model")
            detector.processor.save_pretrained(self.run / "model")
            write_json(self.run / "model" / "training.json", {"steps": self.step, "seed": self.settings.seed})

    def _validate(self) -> dict[str, float]:
        detector = self.detector()
        return {
            f"{name}/{metric}": value
            for name, validation in self.validations.items()
            for metric, value in validation(detector).items()
        }

    def _progress(self, total: int) -> Progress:
        console = Console(stderr=True)
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not (console.is_terminal and self.accelerator.is_main_process),
        )


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
