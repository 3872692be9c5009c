"""What a labelling depends on: results of another job must not be mixed with these."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from groundling.data.readers.files import clean_name
from groundling.errors import DatasetError, PromptError
from groundling.labelling.pictures import PictureList
from groundling.labelling.settings import LabelSettings
from groundling.pipeline.detector import Detector
from groundling.pipeline.fingerprints import settings_fingerprint, weights_fingerprint
from groundling.segmentation import Segmenter
from groundling.structures.vocabulary import Vocabulary

VERSION = 1
"""Of the files that describe a job and its findings."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that changes what is found; the format, the device and the size of batches do not.

    Attributes:
        content: plain values by their names; names are what messages call them.
    """

    content: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        detector: Detector,
        segmenter: Segmenter | None,
        pictures: PictureList,
        vocabulary: Vocabulary,
        settings: LabelSettings,
    ) -> "Job":
        """Describe a job. Models are told apart by their weights, not by their names."""
        content = {
            "version": VERSION,
            "pictures": str(pictures.source),
            "recursive": pictures.recursive,
            **vocabulary.to_dict(),
            "model": _detector(detector),
            **{f"selection {name}": value for name, value in asdict(settings.rules).items()},
            "tiles": None if settings.tiles is None else asdict(settings.tiles),
            "segmenter (--sam)": None if segmenter is None else _segmenter(segmenter),
            **({} if segmenter is None else _masks(settings)),
        }
        return cls(json.loads(json.dumps(content)))  # tuples become lists, as in the file

    def check_same(self, begun: Mapping[str, Any], place: str) -> None:
        """Refuse to go on with what another job began.

        Args:
            begun: the content of the job that began.
            place: what it has made, for the message.

        Raises:
            DatasetError: the jobs differ.
        """
        for name in dict.fromkeys((*self.content, *begun)):
            now, before = self.content.get(name), begun.get(name)
            if now != before:
                raise DatasetError(
                    f"{place} was made with other settings: {name} was {_shown(before)} and is now {_shown(now)}. "
                    "Use the same settings to go on, name another folder, or begin anew with overwrite (--overwrite)."
                )


def writable_names(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the labels as data sets can hold them: without needless white space.

    Raises:
        PromptError: two labels become one, or one holds what no file can.
    """
    names: dict[str, str] = {}
    for label in vocabulary.labels:
        name = clean_name(label)
        if name is None:
            raise PromptError(f"The label {label!a:.80} holds signs that annotations cannot hold. Rename it.")
        if name in names:
            raise PromptError(f"The labels {names[name]!r} and {label!r} are the same in a data set. Rename one.")
        names[name] = label
    return tuple(names)


def _detector(detector: Detector) -> str:
    model = detector.model
    return _identity(model, model.config.to_dict(), detector.processor.image_processor.to_dict())


def _segmenter(segmenter: Segmenter) -> str:
    return _identity(segmenter.model, segmenter.model.config.to_dict(), asdict(segmenter.preparation))


def _identity(model: nn.Module, config: Mapping[str, Any], preparation: Mapping[str, Any]) -> str:
    return f"{weights_fingerprint(model.state_dict().items())}-{settings_fingerprint(config, preparation)}"


def _masks(settings: LabelSettings) -> dict[str, Any]:
    """Return what changes masks beside the segmenter; `chunk` changes nothing."""
    options = {f"masks {name}": value for name, value in asdict(settings.masks).items() if name != "chunk"}
    return options | {"masks tighten": settings.tighten}


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:40]}…{text[-59:]}"  # paths differ at their ends
