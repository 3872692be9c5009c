"""The data sets of a run, each with its weight."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from groundling.data.augment import Augment, AugmentSettings, preset
from groundling.data.open import open_dataset
from groundling.data.record import Dataset
from groundling.errors import ConfigError
from groundling.processing.processor import GroundingDinoProcessor
from groundling.train.examples import Source, TrainingExamples
from groundling.train.processes import is_main_process
from groundling.train.settings import RunSettings
from groundling.train.usable import LeftOut, describe, keep_usable

WEIGHT = "weight"

logger = logging.getLogger(__name__)


def open_examples(settings: RunSettings, processor: GroundingDinoProcessor) -> TrainingExamples:
    """Open all that a run learns from: data sets, prompts and augmentation as the settings say.

    Pictures for which no prompt can be made are left out, and one warning counts them.

    Args:
        settings: of the run.
        processor: of the model that is trained.

    Raises:
        ConfigError: no data set is named, or a specification is wrong.
        DatasetError: annotations are missing or wrong, or no prompt can be made for any picture of a data set.
    """
    sources = _usable(open_sources(settings), processor, settings.prompt.max_tokens)
    augment = Augment(_augmentation(settings, processor))
    return TrainingExamples(sources, processor, settings.prompt, settings.seed, augment)


def _augmentation(settings: RunSettings, processor: GroundingDinoProcessor) -> AugmentSettings:
    """Return the preset for the size of the pictures that the model sees, with the colours as the settings say."""
    size = dict(processor.image_processor.size or {})
    edges = {name: size[name] for name in ("shortest_edge", "longest_edge") if name in size}
    if "height" in size:
        edges = {
            "shortest_edge": min(size["height"], size["width"]),
            "longest_edge": max(size["height"], size["width"]),
        }
    colors = asdict(settings.data.augmentation)
    return replace(preset(colors.pop("preset"), **edges), **colors)


def _usable(sources: Sequence[Source], processor: GroundingDinoProcessor, max_tokens: int) -> list[Source]:
    kept, left_out = [], LeftOut()
    for source in sources:
        dataset, places_of = keep_usable(source.dataset, processor.tokenizer, max_tokens)
        kept.append(Source(dataset, source.weight))
        for cause, places in places_of.items():
            left_out.setdefault(cause, []).extend(places)
    if left_out and is_main_process():
        logger.warning("%s", describe(left_out, sum(len(source.dataset) for source in sources)))
    return kept


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
