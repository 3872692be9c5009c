"""The data sets of a run, each with its weight."""

from collections.abc import Mapping, Sequence
from typing import Any

from groundling.data.augment import Augment, preset
from groundling.data.open import open_dataset
from groundling.data.record import Dataset
from groundling.errors import ConfigError
from groundling.processing.processor import GroundingDinoProcessor
from groundling.train.examples import Source, TrainingExamples
from groundling.train.settings import RunSettings

WEIGHT = "weight"


def open_examples(settings: RunSettings, processor: GroundingDinoProcessor) -> TrainingExamples:
    """Open all that a run learns from: data sets, prompts and augmentation as the settings say.

    Args:
        settings: of the run.
        processor: of the model that is trained.

    Raises:
        ConfigError: no data set is named, or a specification is wrong.
        DatasetError: annotations are missing or wrong.
    """
    size = dict(processor.image_processor.size or {})
    edges = {name: size[name] for name in ("shortest_edge", "longest_edge") if name in size}
    if "height" in size:
        edges = {
            "shortest_edge": min(size["height"], size["width"]),
            "longest_edge": max(size["height"], size["width"]),
        }
    augment = Augment(preset(settings.data.augment, **edges))
    return TrainingExamples(open_sources(settings), processor, settings.prompt, settings.seed, augment)


def open_sources(settings: RunSettings) -> list[Source]:
    """Open `data.train` and `data.replay` with weights that give replay its share of the pictures.

    Within each of the two, data sets share by their own `weight`, which is 1 where none is named.

    Args:
        settings: of the run.

    Raises:
        ConfigError: no data set is named, or a specification is wrong.
        DatasetError: annotations are missing or wrong.
    """
    data = settings.data
    if not data.train:
        raise ConfigError("data.train is missing. Name at least one data set, as a [[data.train]] table.")
    replay = _opened(data.replay, "data.replay") if data.replay_share else []
    return [
        *_scaled(_opened(data.train, "data.train"), 1.0 - data.replay_share if replay else 1.0),
        *_scaled(replay, data.replay_share),
    ]


def _opened(specifications: Sequence[Mapping[str, Any]], place: str) -> list[tuple[Dataset, float]]:
    opened = []
    for index, specification in enumerate(specifications):
        weight = specification.get(WEIGHT, 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
            raise ConfigError(
                f"{place}[{index}].{WEIGHT}={weight!r} must be a number above 0. Remove the data set instead."
            )
        opened.append((open_dataset({key: value for key, value in specification.items() if key != WEIGHT}), weight))
    return opened


def _scaled(opened: Sequence[tuple[Dataset, float]], share: float) -> list[Source]:
    total = sum(weight for _, weight in opened)
    return [Source(dataset, share * weight / total) for dataset, weight in opened]
