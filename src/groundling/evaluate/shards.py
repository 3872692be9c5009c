"""Evaluate with several processes, each with a model of its own."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized

import torch

from groundling.data.record import Dataset
from groundling.errors import ConfigError, GroundlingError
from groundling.evaluate.found import Found
from groundling.evaluate.predict import WINDOW, Predictor
from groundling.evaluate.protocol import EvaluationProtocol
from groundling.evaluate.segmented import MaskMaker
from groundling.pipeline.detector import Detector

SMALLEST_TASK = 4
"""Pictures that a process is given at a time."""


@dataclass(frozen=True, slots=True)
class Work:
    """What every process needs; it is sent to the processes, so both functions must be importable there.

    Attributes:
        make_detector: loads the model; it is given the number of its process, from 0.
        make_dataset: opens the data set.
        protocol: what is asked and what is kept.
        batch_size: most pictures computed at a time.
        make_masks: loads the segmenter, given the number of its process; None where no masks are wanted.
    """

    make_detector: Callable[[int], Detector]
    make_dataset: Callable[[], Dataset]
    protocol: EvaluationProtocol
    batch_size: int = 1
    make_masks: Callable[[int], MaskMaker] | None = None


def find_all_in_processes(work: Work, indices: Sequence[int], jobs: int) -> Iterator[list[Found]]:
    """Find what is asked with several processes; results come as they are computed, in any order.

    Args:
        work: how each process loads its model and its data.
        indices: pictures of the data set.
        jobs: number of processes.

    Raises:
        ConfigError: the number of processes is not positive.
        GroundlingError: a process was killed; the errors of `Predictor.predict` come as they are.
    """
    if not isinstance(jobs, int) or jobs < 1:
        raise ConfigError(f"jobs must be a number of at least 1, got {jobs!r}.")
    size = SMALLEST_TASK if work.batch_size == 1 else work.batch_size * WINDOW
    tasks = [list(indices[start : start + size]) for start in range(0, len(indices), size)]
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    threads = max(1, torch.get_num_threads() // jobs)
    pool = ProcessPoolExecutor(
        max_workers=min(jobs, len(tasks)) or 1,
        mp_context=context,
        initializer=_start,
        initargs=(work, context.Value("i", 0), threads),
    )
    try:
        futures: list[Future[list[Found]]] = [pool.submit(_find, task) for task in tasks]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise GroundlingError(
            "A process of the evaluation was killed, probably because memory was full. Use fewer --jobs or a smaller "
            "--batch-size, and run the same command again: it goes on where it stopped."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(slots=True)
class _Process:
    """What a process keeps between its tasks."""

    work: Work
    number: int
    loaded: tuple[Predictor, Dataset] | None = None


_here: _Process | None = None


def _start(work: Work, counter: "Synchronized[int]", threads: int) -> None:
    global _here  # the only way in which a pool's process can keep something
    with counter.get_lock():
        number, counter.value = counter.value, counter.value + 1
    torch.set_num_threads(threads)
    _here = _Process(work, number)


def _find(indices: list[int]) -> list[Found]:
    assert _here is not None
    if _here.loaded is None:  # not in _start, whose errors would not reach the caller
        dataset = _here.work.make_dataset()
        detector = _here.work.make_detector(_here.number)
        masks = None if _here.work.make_masks is None else _here.work.make_masks(_here.number)
        _here.loaded = Predictor(detector, dataset.names, _here.work.protocol, masks), dataset
    predictor, dataset = _here.loaded
    return list(predictor.predict(dataset, indices, _here.work.batch_size))
