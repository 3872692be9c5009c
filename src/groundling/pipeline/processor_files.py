"""The files beside the weights, which say how pictures are prepared and how text is tokenised."""

import shutil
from pathlib import Path

from groundling.files import Location, atomic_path
from groundling.processing.image_processor import GroundingDinoImageProcessor, read_image_processor
from groundling.processing.processor import GroundingDinoProcessor
from groundling.processing.tokenizer import GroundingDinoTokenizer

IMAGE_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
VOCABULARY_FILES = ("tokenizer.json", "vocab.txt")
TOKENIZER_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


def has_image_processor(location: Location) -> bool:
    """Say whether a checkpoint comes with an image processor."""
    return location.first_of(*IMAGE_PROCESSOR_FILES) is not None


def load_processor(location: Location) -> GroundingDinoProcessor:
    """Read a checkpoint's processor.

    A checkpoint that is one file of weights may come without: then it takes the settings and the vocabulary that all
    published checkpoints have. A folder or a hub repository must be complete.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    is_weights = location.file is not None and location.file.suffix != ".json"
    if is_weights and not has_image_processor(location):
        image_processor = GroundingDinoImageProcessor()
    else:
        image_processor = GroundingDinoImageProcessor.from_dict(read_image_processor(location))
    if is_weights and location.first_of(*VOCABULARY_FILES) is None:
        return GroundingDinoProcessor(image_processor, GroundingDinoTokenizer.default())
    return GroundingDinoProcessor(image_processor, GroundingDinoTokenizer.from_location(location))


def copy_processor_files(location: Location, folder: Path) -> None:
    """Put a checkpoint's processor and tokenizer files into a folder, and the published ones where it has none.

    Raises:
        OSError: a file cannot be read or written.
    """
    if not _copy(location, folder, IMAGE_PROCESSOR_FILES):
        GroundingDinoImageProcessor().save_pretrained(folder)
    if _copy(location, folder, VOCABULARY_FILES):
        _copy(location, folder, TOKENIZER_SETTINGS)
    else:
        GroundingDinoTokenizer.default().save_pretrained(folder)


def _copy(location: Location, folder: Path, names: tuple[str, ...]) -> bool:
    found = [path for name in names if (path := location.find(name)) is not None]
    for path in found:
        target = folder / path.name
        if target.exists() and target.samefile(path):
            continue
        with atomic_path(target) as temporary:
            shutil.copyfile(path, temporary)
    return bool(found)
