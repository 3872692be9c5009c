"""From records to batches. A picture of a step depends on the run's seed and its place in the run alone.

So it does not matter how many processes share a step, how many workers prepare it, or whether a run was interrupted.
"""

import signal
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import floor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator as RandomNumbers
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from groundling.data.augment import Augment, preset
from groundling.data.record import Dataset, Record
from groundling.data.sampling import Grounded, PromptSampling, sample_prompt
from groundling.errors import ConfigError, DatasetError, GroundlingError, PromptError
from groundling.objective.targets import stack_targets
from groundling.ops.boxes import xyxy_to_cxcywh
from groundling.processing.processor import GroundingDinoProcessor
from groundling.processing.prompt import collate_prompts
from groundling.train.objective import Batch

_DOMAIN = 0x7472_6169
"""Begins all random numbers from here after the seed, so that none of them are those of drawn scenes."""

_ORDER, _EXAMPLE, _SIDE = 0, 1, 2
"""Streams of random numbers that must not be the same."""

_UNCHANGED = Augment(preset("none"))


class Place(NamedTuple):
    """Where a picture stands in the run.

    Attributes:
        number: pictures of the run before this one.
        side: side to which it is resized; None is the image processor's own size.
    """

    number: int
    side: int | None


class Example(NamedTuple):
    """One picture ready for a batch.

    Attributes:
        pixel_CHW: normalised pixels.
        grounded: prompt and positives.
        box_N4: boxes (cx, cy, w, h) in 0..1 of the picture.
        seed: of its denoising queries.
    """

    pixel_CHW: Tensor
    grounded: Grounded
    box_N4: Tensor
    seed: int


@dataclass(frozen=True, slots=True)
class Source:
    """A data set and how often it is drawn from.

    Attributes:
        dataset: its records.
        weight: relative to the other sources.
    """

    dataset: Dataset
    weight: float = 1.0


class TrainingExamples(TorchDataset[Example]):
    """Examples by their place in the run.

    Every data set is gone through in a new random order again and again, and any stretch of the run has its share of
    each, to within a few pictures.

    Args:
        sources: data sets.
        processor: gives pixels and tokens.
        sampling: how names become prompts.
        seed: of the run.
        augment: changes pictures; None leaves them as they are.

    Raises:
        DatasetError: a data set is empty.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        processor: GroundingDinoProcessor,
        sampling: PromptSampling,
        seed: int,
        augment: Augment | None = None,
    ) -> None:
        if not sources or any(not len(source.dataset) for source in sources):
            raise DatasetError("There is nothing to learn from: a data set has no pictures. Check data.train.")
        if any(source.weight <= 0 for source in sources):
            raise ConfigError("The weight of a data set must be more than 0. Remove the data set instead.")
        self.sources, self.processor, self.sampling, self.seed = tuple(sources), processor, sampling, seed
        self.augment = augment or _UNCHANGED
        total = sum(source.weight for source in sources)
        self._shares = [source.weight / total for source in sources]

    def __getitem__(self, place: Place) -> Example:
        dataset, index = self._find(place.number)
        record, rng = dataset[index], _random(self.seed, _EXAMPLE, place.number)
        augmented = self.augment(record, rng)
        is_sized = bool(self.augment.settings.shortest_edges)
        try:
            grounded = self._ground(record, dataset.names, augmented.unknown, rng)
        except PromptError:  # without the labels that are in doubt after a cut, nothing is left to ask for
            augmented, is_sized = _UNCHANGED(record, rng), False
            grounded = self._ground_whole(record, dataset.names, rng)
        positive_KP = grounded.positive_NP[augmented.kept]
        learned_K = positive_KP.any(axis=1) & ~record.crowd_N[augmented.kept]
        box_N4 = torch.from_numpy(augmented.boxes_xyxy[learned_K]) / torch.tensor(augmented.picture.size).repeat(2)
        return Example(
            pixel_CHW=self._pixels(augmented.picture, place.side, is_sized),
            grounded=grounded._replace(positive_NP=positive_KP[learned_K]),
            box_N4=xyxy_to_cxcywh(box_N4),
            seed=int(rng.integers(2**62)),
        )

    def key(self, place: Place) -> str:
        """Return the key of the picture at a place."""
        dataset, index = self._find(place.number)
        return dataset[index].key

    def _ground(self, record: Record, names: Sequence[str], unknown: Sequence[str], rng: RandomNumbers) -> Grounded:
        return sample_prompt(record, self.processor.tokenizer, self.sampling, rng, names=names, unknown=unknown)

    def _ground_whole(self, record: Record, names: Sequence[str], rng: RandomNumbers) -> Grounded:
        try:
            return self._ground(record, names, (), rng)
        except PromptError as error:
            raise DatasetError(f"{record.key}: no prompt can be made for this picture. {error}") from error

    def _find(self, number: int) -> tuple[Dataset, int]:
        """Return the data set for a place, and the index of the record in it.

        Places are dealt out one source after the other: of those that are left, every source but the last takes the
        ones at which its share of their number passes a whole number.
        """
        left = 1.0
        for source, share in enumerate(self._shares[:-1]):
            part = share / left
            taken = floor(number * part)
            if floor((number + 1) * part) > taken:
                return self._drawn(source, taken)
            number, left = number - taken, left - share
        return self._drawn(len(self.sources) - 1, number)

    def _drawn(self, source: int, number: int) -> tuple[Dataset, int]:
        """Return the record for a place within a source: every round through a data set has its own order."""
        dataset = self.sources[source].dataset
        round_, place = divmod(number, len(dataset))
        return dataset, int(_order(self.seed, source, round_, len(dataset))[place])

    def _pixels(self, picture: object, side: int | None, is_sized: bool) -> Tensor:
        size: dict[str, Any] = {} if side is None else {"size": {"height": side, "width": side}}
        is_square = "height" in dict(self.processor.image_processor.size or {})
        if side is None and is_sized and not is_square:
            size = {"do_resize": False}  # the augmentation has chosen the size
        inputs = self.processor.image_processor(images=picture, return_tensors="pt", do_pad=False, **size)
        pixels: Tensor = inputs["pixel_values"][0]
        return pixels


@lru_cache(maxsize=16)
def _order(seed: int, source: int, round_: int, length: int) -> NDArray[np.int64]:
    return _random(seed, _ORDER, source, round_).permutation(length)


def _random(seed: int, *place: int) -> RandomNumbers:
    """Return random numbers that belong to a place alone."""
    return np.random.default_rng([seed, _DOMAIN, *place])


class Steps(Sampler[list[Place]]):
    """The places of each part of each step that belong to one process.

    Args:
        start: first step.
        stop: last step, not included.
        batch_size: pictures of a step over all processes and parts.
        accumulate: parts of a step on each process.
        process: number of this process.
        processes: how many there are.
        sides: sides to choose from for each step; none leaves the image processor's size.
        seed: of the run.

    Raises:
        ConfigError: the pictures of a step cannot be shared evenly.
    """

    def __init__(
        self,
        *,
        start: int,
        stop: int,
        batch_size: int,
        accumulate: int = 1,
        process: int = 0,
        processes: int = 1,
        sides: Sequence[int] = (),
        seed: int = 0,
    ) -> None:
        if batch_size < 1 or accumulate < 1 or batch_size % (accumulate * processes):
            raise ConfigError(
                f"optimizer.batch_size={batch_size} cannot be shared evenly by {processes} processes with "
                f"optimizer.accumulate={accumulate} parts each. Use a multiple of {max(accumulate, 1) * processes}."
            )
        self.start, self.stop, self.batch_size, self.accumulate = start, stop, batch_size, accumulate
        self.process, self.processes, self.sides, self.seed = process, processes, tuple(sides), seed

    def __len__(self) -> int:
        return max(self.stop - self.start, 0) * self.accumulate

    def __iter__(self) -> Iterator[list[Place]]:
        share = self.batch_size // (self.accumulate * self.processes)
        for step in range(self.start, self.stop):
            side = self._side(step)
            for part in range(self.accumulate):
                first = step * self.batch_size + (part * self.processes + self.process) * share
                yield [Place(number, side) for number in range(first, first + share)]

    def _side(self, step: int) -> int | None:
        if not self.sides:
            return None
        return self.sides[int(_random(self.seed, _SIDE, step).integers(len(self.sides)))]


def collate(examples: Sequence[Example]) -> Batch:
    """Stack examples; smaller pictures are padded on the right and below with zeros."""
    height = max(example.pixel_CHW.shape[1] for example in examples)
    width = max(example.pixel_CHW.shape[2] for example in examples)
    pixels = [_padded(example.pixel_CHW, height, width) for example in examples]
    is_ragged = any(example.pixel_CHW.shape[1:] != (height, width) for example in examples)
    valid = [_padded(torch.ones_like(example.pixel_CHW[0]), height, width) > 0 for example in examples]
    text = collate_prompts([example.grounded.prompt for example in examples])
    tokens = [_token_map(example.grounded, text["input_ids"].shape[1]) for example in examples]
    targets = stack_targets(
        [example.box_N4 for example in examples],
        [torch.from_numpy(example.grounded.positive_NP) for example in examples],
        tokens,
    )
    return Batch(
        pixel_BCHW=torch.stack(pixels),
        valid_BHW=torch.stack(valid) if is_ragged else None,
        token_BT=text["input_ids"],
        valid_BT=text["attention_mask"] > 0,
        targets=targets,
        seeds=tuple(example.seed for example in examples),
    )


def _padded(x: Tensor, height: int, width: int) -> Tensor:
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))


def _token_map(grounded: Grounded, num_tokens: int) -> Tensor:
    """Return which tokens spell which phrase, [P, T]."""
    map_PT = torch.zeros(len(grounded.prompt.labels), num_tokens)
    for phrase, positions in enumerate(grounded.prompt.label_tokens):
        map_PT[phrase, list(positions)] = 1.0
    return map_PT


def batches(examples: TrainingExamples, steps: Steps, workers: int) -> Generator[Batch]:
    """Prepare batches in worker processes, in the order of the steps.

    Raises:
        DatasetError: a picture cannot be used, which the message names, or a worker process has ended.
        ImageError: a picture's file is missing or broken.
    """
    prepared: DataLoader[Any] = DataLoader(
        _Careful(examples),
        batch_sampler=steps,
        collate_fn=_collate_or_error,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=_leave_signals_to_the_trainer if workers else None,
    )
    try:
        with _without_interruption():
            remaining = iter(prepared)
        for batch in remaining:
            if isinstance(batch, GroundlingError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise DatasetError(
            "A process that prepares pictures has ended unexpectedly; it may have been killed for want of memory. "
            "Run the same command again to go on; data.workers=0 prepares pictures without other processes."
        ) from error


@contextmanager
def _without_interruption() -> Iterator[None]:
    """Let processes that start within ignore Ctrl-C from their first moment; the trainer decides when they end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


class _Careful(TorchDataset["Example | GroundlingError"]):
    """Hands errors on as values: raised in a worker, one would arrive as the text of a traceback."""

    def __init__(self, examples: TrainingExamples) -> None:
        self.examples = examples

    def __getitem__(self, place: Place) -> Example | GroundlingError:
        try:
            return self.examples[place]
        except GroundlingError as error:
            return error


def _collate_or_error(examples: Sequence[Example | GroundlingError]) -> Batch | GroundlingError:
    error = next((one for one in examples if isinstance(one, GroundlingError)), None)
    return error or collate([one for one in examples if isinstance(one, Example)])


def _leave_signals_to_the_trainer(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal, but the trainer still needs the pictures of its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # not SIGTERM: by it a worker is ended when it is no longer needed
