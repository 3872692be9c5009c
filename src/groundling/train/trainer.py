"""The loop: batches, losses, gradients, weights; and everything that makes it resumable."""

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor

from groundling.errors import CheckpointError, ConfigError, missing_extra
from groundling.files import write_json
from groundling.interruption import Interruption
from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.pipeline.detector import Detector
from groundling.train.adapters import add_adapters, blended, has_adapters, merged_state, plain_copy, save_adapter
from groundling.train.examples import Steps, TrainingExamples, batches
from groundling.train.metrics import Metrics
from groundling.train.objective import Batch, TrainingObjective
from groundling.train.optimizer import averaged, build_optimizer, set_rate
from groundling.train.recompute import recompute_layers
from groundling.train.run_folder import check_run_folder, write_settings
from groundling.train.settings import MOST_SEEDS, RunSettings
from groundling.train.start import Start
from groundling.train.states import load_state, save_state

MODEL_FOLDER = "model"
ADAPTER_FOLDER = "adapter"

LONGEST_WAIT = timedelta(hours=12)
"""The other processes wait so long while the first one validates."""

MOST_KEYS = 16
"""Pictures that an error names."""

logger = logging.getLogger(__name__)

Validation = Callable[[Detector], Mapping[str, float]]
"""Evaluates a detector; returns metrics by name."""

Drawing = Callable[[Detector, int], NDArray[np.uint8]]
"""Draws what a detector finds after so many steps; returns a picture [H, W, 3] in 0..255."""

Listener = Callable[[int, Mapping[str, float]], None]
"""Hears of the metrics of all validations after so many steps, and, with no metrics, that a state was saved."""


class Trainer:
    """Trains a detector.

    Args:
        settings: of the run.
        start: the model to train and its processor. The model is changed in place; with `lora.rank` it gets adapters.
        examples: what to learn from.
        validations: by name, what is evaluated now and then, and before the first step; the first is the target.
        drawing: draws predictions now and then.
        listener: is told how it goes, in the first process only.

    Raises:
        ConfigError: settings contradict each other, or the folder cannot be written to or holds another run.
        MissingExtraError: accelerate, TensorBoard or peft is not installed.
    """

    def __init__(
        self,
        settings: RunSettings,
        start: Start,
        examples: TrainingExamples,
        validations: Mapping[str, Validation] | None = None,
        *,
        drawing: Drawing | None = None,
        listener: Listener | None = None,
    ) -> None:
        try:
            from accelerate import Accelerator, InitProcessGroupKwargs
        except ImportError as error:
            raise missing_extra("accelerate", "train", "Training") from error
        check_run_folder(settings)
        _check_prompts(examples, start)
        self.settings, self.start, self.examples = settings, start, examples
        self.validations, self._drawing, self._listener = dict(validations or {}), drawing, listener
        self.run = Path(settings.output)
        # The precision is ours to choose at each step: accelerate fixes its own for the life of the process.
        self.accelerator = Accelerator(
            mixed_precision="no",
            cpu=not torch.accelerator.is_available(),  # else torchrun's processes would not find each other on a CPU
            kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
        )
        self._first = _copied(start.detector.state_dict()) if settings.blend < 1 else None
        torch.manual_seed(settings.seed)
        if settings.lora.rank:
            add_adapters(start.detector, settings.lora)
        if settings.model.gradient_checkpointing:
            recompute_layers(start.detector)
        denoising = settings.denoising if settings.denoising.budget >= 2 else None
        objective = self._plain = TrainingObjective(start.detector, denoising)
        self.ema = averaged(start.detector, settings.ema).to(self.accelerator.device) if settings.ema else None
        optimizer = build_optimizer(objective, settings.optimizer)
        self.objective, self.optimizer = self.accelerator.prepare(objective, optimizer)
        self.step = 0
        self._steps(0)  # says at once whether a step can be shared evenly

    def train(self) -> None:
        """Train from the last state of the run's folder, or from the start, to the last step.

        Raises:
            ConfigError: a loss is not a number.
            CheckpointError: a state cannot be read or written.
            DatasetError: a picture cannot be used; the message names it.
            KeyboardInterrupt: somebody asked to stop by SIGINT or SIGTERM; the state is saved.
        """
        self._resume()
        total, workers = self.settings.optimizer.steps, self.settings.data.workers
        with ExitStack() as stack:
            metrics = stack.enter_context(Metrics(self.run, self.step)) if self.accelerator.is_main_process else None
            if metrics is not None:
                write_settings(self.settings)
            if self.step >= total:
                logger.warning(
                    "The run in %s has its %d steps already. Raise optimizer.steps to go on.", self.run, total
                )
                self._save_model()  # what is released may have changed
            elif self.step == 0 and self.settings.report.validate:
                self._validate(metrics)
            interruption = stack.enter_context(Interruption())
            progress = stack.enter_context(self._progress())
            task = progress.add_task("training", total=total, completed=self.step)
            prepared = stack.enter_context(closing(batches(self.examples, self._steps(total), workers)))
            while self.step < total:
                values = self._train_step([next(prepared) for _ in range(self.settings.optimizer.accumulate)])
                self.step += 1
                is_interrupted = self._any(interruption.requested)
                self._report(metrics, values, is_interrupted)
                progress.update(task, completed=self.step, description=f"loss {values['loss']:.3f}")
                if is_interrupted and self.step < total:
                    logger.info("Stopped after step %d. The same run goes on from there.", self.step)
                    raise KeyboardInterrupt
        self.accelerator.end_training()

    def detector(self) -> Detector:
        """Return the detector as it would be saved now.

        Its weights are the averaged ones where there are any, with adapters merged, blended with the start. It may be
        the model that is trained itself.
        """
        model = self._model()
        if not has_adapters(model) and self._first is None:
            return Detector(model, self.start.processor)
        state = merged_state(model)
        if self._first is not None:
            first = self._first
            state = {name: blended(first[name], tensor, self.settings.blend) for name, tensor in state.items()}
        return Detector(plain_copy(model, state), self.start.processor)

    def _model(self) -> GroundingDinoForObjectDetection:
        model = self.start.detector if self.ema is None else self.ema.module
        assert isinstance(model, GroundingDinoForObjectDetection)
        return model

    def _steps(self, stop: int) -> Steps:
        optimizer = self.settings.optimizer
        return Steps(
            start=self.step,
            stop=stop,
            batch_size=optimizer.batch_size,
            accumulate=optimizer.accumulate,
            process=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            sides=self.settings.data.sides,
            seed=self.settings.seed,
        )

    def _train_step(self, parts: list[Batch]) -> dict[str, float]:
        """Do one step and return its losses, averaged over the processes."""
        accelerator, settings = self.accelerator, self.settings
        self.objective.train()
        # Losses are divided by the objects of the whole step, so that it does not matter how it is shared.
        objects = torch.tensor(float(sum(part.targets.num_objects for part in parts)), device=accelerator.device)
        mean_objects = max(float(accelerator.reduce(objects, "sum")), 1.0) / accelerator.num_processes
        seed = (settings.seed * MOST_SEEDS + self.step) * accelerator.num_processes + accelerator.process_index
        torch.manual_seed(seed % 2**63)
        rate = set_rate(self.optimizer, self.step, settings.optimizer)
        totals, sums = [], dict[str, Tensor]()
        for index, part in enumerate(parts):
            is_last = index == len(parts) - 1
            with nullcontext() if is_last else accelerator.no_sync(self.objective):
                with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
                    total, losses = self.objective(part.to(accelerator.device), mean_objects)
                accelerator.backward(total)
            totals.append(total.detach())
            for name, value in {"loss": total, **losses}.items():
                share = 1 / len(parts) if name.startswith("cardinality") else 1.0
                sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() * share
        norm = float(accelerator.clip_grad_norm_(self.objective.parameters(), settings.optimizer.clip))
        means = accelerator.reduce(torch.stack([value.float() for value in sums.values()]), "mean").tolist()
        values = dict(zip(sums, means, strict=True))
        if not math.isfinite(norm + values["loss"]):  # the same on all processes, so all of them stop
            raise ConfigError(self._diverged(values["loss"], norm, totals))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema is not None:
            self.ema.update_parameters(self.start.detector)
        return values | {"gradient_norm": norm, "learning_rate": rate}

    def _diverged(self, loss: float, norm: float, totals: list[Tensor]) -> str:
        """Say what is wrong with a step, with the pictures of those of its parts whose own loss is not a number."""
        places = zip(self._steps(self.step + 1), totals, strict=True)
        found = [place for part, total in places if not total.isfinite() for place in part]
        keys = [self.examples.key(place) for place in found[:MOST_KEYS]] + ["..."] * (len(found) > MOST_KEYS)
        return (
            f"Step {self.step + 1} is not used: its loss is {loss:g} and the norm of its gradients {norm:g}."
            f"{' Its pictures are ' + ', '.join(keys) + '.' if keys else ''} Lower optimizer.learning_rate or "
            "lengthen optimizer.warmup, and check the pictures with `groundling data check`. "
            f"What is saved in {self.run} is from before this step."
        )

    def _any(self, said: bool) -> bool:
        """Say whether any process says so."""
        if self.accelerator.num_processes == 1:
            return said
        return float(self.accelerator.reduce(torch.tensor(float(said), device=self.accelerator.device), "sum")) > 0

    def _resume(self) -> None:
        state = load_state(self.run)
        if state is None:
            return
        try:
            self._plain.load_state_dict(state["objective"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.ema is not None:
                self.ema.load_state_dict(state["ema"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"The state in {self.run} is not one of this model and these settings "
                f"({str(error).splitlines()[0]}). Name another output folder to start anew."
            ) from error
        self.step = int(state["step"])

    def _report(self, metrics: Metrics | None, values: Mapping[str, float], is_interrupted: bool) -> None:
        """Write what is due after a step. The state comes last: what a resumed run finds is complete."""
        options, is_last = self.settings.report, self.step == self.settings.optimizer.steps
        if metrics is not None and (_is_due(self.step, options.metrics) or is_last):
            metrics.write(self.step, values)
        if _is_due(self.step, options.validate) or (is_last and options.validate):
            self._validate(metrics)
        if metrics is not None and self._drawing is not None and _is_due(self.step, options.pictures):
            metrics.picture(self.step, "pictures", self._drawing(self.detector(), self.step))
        if _is_due(self.step, options.checkpoint) or is_last or is_interrupted:
            self._save()

    def _save(self) -> None:
        """Write the state to resume from and the model to use."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            state: dict[str, Any] = {
                "objective": self._plain.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            }
            if self.ema is not None:
                state["ema"] = self.ema.state_dict()
            save_state(self.run, self.step, state)
        self._save_model()
        if self._listener is not None and self.accelerator.is_main_process:
            self._listener(self.step, {})

    def _save_model(self) -> None:
        if not self.accelerator.is_main_process:
            return
        detector, folder = self.detector(), self.run / MODEL_FOLDER
        detector.model.save_pretrained(folder)
        detector.processor.save_pretrained(folder)
        write_json(folder / "training.json", {"steps": self.step, "seed": self.settings.seed})
        model = self._model()
        if has_adapters(model):
            save_adapter(model, self.run / ADAPTER_FOLDER, start=self._first, blend=self.settings.blend)

    def _validate(self, metrics: Metrics | None) -> None:
        """Write the metrics of all validations; only the first process does."""
        if metrics is None or not self.validations:
            return
        detector = self.detector()
        found = {
            f"{name}/{metric}": value
            for name, validation in self.validations.items()
            for metric, value in validation(detector).items()
        }
        metrics.write(self.step, found)
        if self._listener is not None:
            self._listener(self.step, found)

    def _progress(self) -> Progress:
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


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def _check_prompts(examples: TrainingExamples, start: Start) -> None:
    limit = start.detector.config.max_text_len
    if examples.sampling.max_tokens > limit:
        raise ConfigError(
            f"prompt.max_tokens={examples.sampling.max_tokens} is more than the {limit} tokens that the model reads. "
            f"Set prompt.max_tokens={limit} or less."
        )
