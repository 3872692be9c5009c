"""The smoke test of a training set-up: can a few pictures be learned by heart?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from groundling.train.settings import RunSettings

STEPS = 300
LEARNED = 0.9
"""What is known by heart has at least this AP50, or this accuracy where phrases are learned."""

FIGURES = ("AP50", "accuracy@0.5")


class Verdict(NamedTuple):
    """Whether pictures were learned by heart.

    Attributes:
        learned: whether they were.
        text: the figure, and where they were not, what to look at.
    """

    learned: bool
    text: str


def smoke_test_settings(
    settings: RunSettings, pictures: int, output: str, *, keep_steps: bool, processes: int = 1
) -> RunSettings:
    """Return the settings for learning a few pictures by heart: nothing changes from step to step but the weights.

    Args:
        settings: of the run that is tried out.
        pictures: how many are learned.
        output: folder of this run.
        keep_steps: do as many steps as the settings say, instead of a few hundred.
        processes: that share each step.
    """
    optimizer = settings.optimizer
    steps = optimizer.steps if keep_steps else STEPS
    parts = optimizer.accumulate * processes
    batch_size = min(optimizer.batch_size, -(-pictures // parts) * parts)
    return replace(
        settings,
        output=output,
        ema=0.0,
        blend=1.0,
        data=replace(settings.data, train=settings.data.train[:1], replay=(), augment="none", sides=()),
        prompt=replace(settings.prompt, all_negatives=1.0),
        optimizer=replace(
            optimizer,
            steps=steps,
            batch_size=batch_size,
            schedule="constant",
            warmup=min(optimizer.warmup, steps // 10),
        ),
        report=replace(settings.report, metrics=max(1, min(settings.report.metrics, steps // 10)), validate=0),
        validate=(),
    )


def judge(figures: Mapping[str, float], losses: Sequence[float], settings: RunSettings, pictures: int) -> Verdict:
    """Say whether pictures were learned by heart, and if not, what to look at first.

    Args:
        figures: of the pictures that were learned, by name, 0..1.
        losses: of the run, the first ones first.
        settings: of the run.
        pictures: how many were learned.
    """
    name = next((name for name in FIGURES if name in figures), None)
    these = "the one picture" if pictures == 1 else f"the {pictures} pictures"
    if name is None:
        return Verdict(False, f"There is nothing to find in {these}: no box has a label. Use more, or other ones.")
    score = f"{name} is {100 * figures[name]:.1f} on {these} that it learned from"
    if figures[name] >= LEARNED:
        return Verdict(True, f"Learned by heart: {score}.")
    course = (
        f"; the loss went from {losses[0]:.3g} to {losses[-1]:.3g} in {settings.optimizer.steps} steps"
        if losses
        else ""
    )
    return Verdict(
        False, f"Not learned by heart: {score}, less than {100 * LEARNED:g}{course}. {_advice(losses, settings)}"
    )


def _advice(losses: Sequence[float], settings: RunSettings) -> str:
    rate = settings.optimizer.learning_rate
    hints = []
    if len(losses) >= 4 and losses[-1] < 0.9 * losses[len(losses) // 2]:
        hints.append(
            f"the loss still falls, so give it more steps (--set optimizer.steps={4 * settings.optimizer.steps})"
        )
    else:
        hints.append(f"the learning rate (--set optimizer.learning_rate={10 * rate:g} or {rate / 10:g})")
    if settings.model.freeze or settings.lora.rank:
        hints.append("whether enough is trained (model.freeze, lora.rank)")
    hints.append("boxes and names (groundling data check)")
    hints.append("what the model sees (--set report.pictures=50 --output DIR, then DIR/pictures)")
    return "Look at: " + "; ".join(hints) + "."
