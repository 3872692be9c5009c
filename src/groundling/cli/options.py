"""Options that several verbs share, and what becomes of them."""

import os
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.errors import ConfigError, PromptError
from groundling.files import BUNDLED_MODEL, BUNDLED_SEGMENTER

if TYPE_CHECKING:
    from groundling.pipeline.detector import Detector
    from groundling.pipeline.grounded_sam import GroundedSam
    from groundling.pipeline.tiles import Tiles
    from groundling.postprocess.select import SelectionRules
    from groundling.segmentation import MaskOptions
    from groundling.structures.vocabulary import Vocabulary

DEFAULT_THRESHOLD = 0.3
"""That of `SelectionRules`, which would import torch to show a help."""

DEFAULT_NMS = 0.7
"""That of `SelectionRules` too."""

DEFAULT_OVERLAP = 0.2
"""That of `Tiles`."""

MODEL_EXAMPLE = "IDEA-Research/grounding-dino-tiny"
SEGMENTER_EXAMPLE = "facebook/sam2.1-hiera-tiny"


class Dtype(StrEnum):
    """Number formats that a model can compute in."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


LabelsOption = Annotated[
    list[str] | None,
    typer.Option("--labels", metavar="LABEL...", help="What to find: all words up to the next option or --."),
]
TextOption = Annotated[
    str | None, typer.Option("--text", help='The labels as one classic prompt: "a cat. a remote control."')
]
VocabularyOption = Annotated[
    Path | None,
    typer.Option(
        "--vocabulary",
        metavar="FILE",
        help="Labels in a file: one a line, or JSON with synonyms, negatives and thresholds, which outdo --threshold.",
    ),
]
NegativesOption = Annotated[
    list[str] | None,
    typer.Option("--negatives", metavar="WORD...", help="What is more like one of these words is not found."),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help=f"Folder, checkpoint file or hub id such as {MODEL_EXAMPLE}; else {BUNDLED_MODEL}."),
]
ThresholdOption = Annotated[
    float, typer.Option("--threshold", min=0.0, max=1.0, help="Keep boxes that score more than this.")
]
TopKOption = Annotated[int | None, typer.Option("--top-k", min=1, help="Keep at most this many boxes a picture.")]
NmsAcrossLabelsOption = Annotated[
    bool, typer.Option("--nms-across-labels", help="For --nms a better box of another label counts too.")
]
DropGroupsOption = Annotated[
    bool, typer.Option("--drop-groups", help="Drop boxes around several others of their label.")
]
NmsOption = Annotated[
    float,
    typer.Option(
        "--nms", min=0.0, max=1.0, help="Drop a box that overlaps a better one of its label by more; 1 keeps all."
    ),
]
TileOption = Annotated[
    int | None, typer.Option("--tile", metavar="PIXELS", help="Search tiles of this side too, for large pictures.")
]
OverlapOption = Annotated[float, typer.Option("--overlap", help="Share of a tile that the next one covers too.")]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", min=1, help="Pictures computed at a time.")]
DtypeOption = Annotated[Dtype | None, typer.Option("--dtype", help="Number format to compute in.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1 or mps; else CUDA if any.")]
SegmenterOption = Annotated[
    str | None,
    typer.Option(
        "--sam",
        metavar="NAME",
        help=f"What makes masks: folder or hub id such as {SEGMENTER_EXAMPLE}; {BUNDLED_SEGMENTER} goes with"
        f" {BUNDLED_MODEL}.",
    ),
]
BestOfThreeOption = Annotated[
    bool, typer.Option("--best-of-three", help="Make three masks of each box and keep the one said to be best.")
]
FillHolesOption = Annotated[
    int, typer.Option("--fill-holes", min=0, metavar="PIXELS", help="Fill holes of at most so many pixels.")
]
DropIslandsOption = Annotated[
    int, typer.Option("--drop-islands", min=0, metavar="PIXELS", help="Drop parts of fewer pixels; the largest stays.")
]
TightenOption = Annotated[bool, typer.Option("--tighten", help="Make each box tight around its mask.")]
CompileOption = Annotated[
    bool, typer.Option("--compile", help="On CUDA, record graphs: faster for many pictures of the same few sizes.")
]


def choose_labels(
    labels: Sequence[str] | None,
    text: str | None = None,
    vocabulary: Path | None = None,
    negatives: Sequence[str] | None = None,
) -> "list[str] | str | Vocabulary":
    """Return what is to be found, however it was said.

    Raises:
        PromptError: it was said in two ways, or not at all.
    """
    if text is not None and negatives:
        raise PromptError("--negatives go with --labels or --vocabulary, not with --text.")
    ways = {"--labels": bool(labels), "--text": text is not None, "--vocabulary": vocabulary is not None}
    used = [name for name, is_used in ways.items() if is_used]
    if len(used) > 1:
        raise PromptError(f"{' and '.join(used)} both say what to find. Use one of them.")
    if not used:
        raise PromptError('Nothing to find is named. Use for example: --labels "a cat" "a remote control"')
    if vocabulary is not None or negatives:
        from groundling.structures.vocabulary import Vocabulary

        chosen = Vocabulary(tuple(_words(labels))) if vocabulary is None else Vocabulary.read(vocabulary)
        return replace(chosen, negatives=(*chosen.negatives, *_words(negatives)))
    if text is not None:
        return _as_utf_8(text)
    return _words(labels)


def choose_vocabulary(
    labels: Sequence[str] | None, vocabulary: Path | None, negatives: Sequence[str] | None = None
) -> "Vocabulary":
    """Return what is to be found as a vocabulary.

    Raises:
        PromptError: it was said in two ways, or not at all, or a label comes twice.
    """
    from groundling.structures.vocabulary import Vocabulary

    chosen = choose_labels(labels, vocabulary=vocabulary, negatives=negatives)
    return chosen if isinstance(chosen, Vocabulary) else Vocabulary(tuple(chosen))


def choose_rules(
    threshold: float, top_k: int | None, nms: float, nms_across_labels: bool, drop_groups: bool
) -> "SelectionRules":
    """Return which boxes are kept."""
    from groundling.postprocess.select import SelectionRules

    return SelectionRules(threshold, top_k, nms, nms_across_labels, drop_groups)


def choose_tiles(tile: int | None, overlap: float) -> "Tiles | None":
    """Return how pictures are divided, or None where they are not.

    Raises:
        ConfigError: a number is outside its range.
    """
    if tile is None:
        if overlap != DEFAULT_OVERLAP:
            raise ConfigError(f"--overlap {overlap:g} belongs to --tile. Say how large tiles are, such as --tile 800.")
        return None
    from groundling.pipeline.tiles import Tiles

    return Tiles(tile, overlap)


def load_detector(
    model: str | None, *, device: str | None = None, dtype: Dtype | None = None, compile: bool = False
) -> "Detector":
    """Load a model; where none is named, the bundled one, which says on stderr what it is.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: the device or the number format cannot be used.
    """
    from groundling.pipeline.detector import ABOUT_BUNDLED_MODEL, Detector

    if model is None:
        typer.echo(ABOUT_BUNDLED_MODEL, err=True)
    name = BUNDLED_MODEL if model is None else model
    number_format = None if dtype is None else dtype.value
    return Detector.from_pretrained(name, device=device, dtype=number_format, compile=compile)


def choose_masks(best_of_three: bool, fill_holes: int, drop_islands: int) -> "MaskOptions":
    """Return how masks are made and cleaned.

    Raises:
        ConfigError: a number is outside its range.
    """
    from groundling.segmentation import MaskOptions

    return MaskOptions(best_of_three=best_of_three, fill_holes=fill_holes, drop_islands=drop_islands)


def load_grounded_sam(
    model: str | None, sam: str | None, *, device: str | None = None, dtype: Dtype | None = None, compile: bool = False
) -> "GroundedSam":
    """Load a detector and what makes its masks; for the bundled detector that is the bundled one unless named.

    Raises:
        CheckpointError: there is no such model.
        ConfigError: a detector is named without a segmenter, or the device or the number format cannot be used.
        MissingExtraError: transformers is not installed.
    """
    from groundling.pipeline.grounded_sam import GroundedSam, choose_segmenter
    from groundling.segmentation import load_segmenter

    name = choose_segmenter(BUNDLED_MODEL if model is None else model, sam)
    segmenter = load_segmenter(name, device=device, dtype=None if dtype is None else dtype.value)
    return GroundedSam(load_detector(model, device=device, dtype=dtype, compile=compile), segmenter)


def _words(given: Sequence[str] | None) -> list[str]:
    return [_as_utf_8(word) for word in given or ()]


def _as_utf_8(word: str) -> str:
    """Undo what Python does to an argument with letters that the locale lacks."""
    if not any("\ud800" <= letter <= "\udfff" for letter in word):
        return word
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeError as error:
        raise PromptError(f"{word!a} is not UTF-8 text, so it cannot be looked for.") from error
