"""`groundling evaluate`: figures of a model on a data set, with the protocol they were made by."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli.options import (
    MODEL_EXAMPLE,
    SEGMENTER_EXAMPLE,
    BatchSizeOption,
    BestOfThreeOption,
    DeviceOption,
    DropIslandsOption,
    DtypeOption,
    FillHolesOption,
    choose_masks,
)
from groundling.errors import ConfigError
from groundling.files import BUNDLED_MODEL, BUNDLED_SEGMENTER

if TYPE_CHECKING:
    from groundling.evaluate import EvaluationProtocol
    from groundling.segmentation import MaskOptions


class Kind(StrEnum):
    """Data sets that have a protocol."""

    coco = "coco"
    lvis = "lvis"
    odinw = "odinw"
    refcoco = "refcoco"
    flickr = "flickr"
    scenes = "scenes"


class Aggregate(StrEnum):
    """Ways from the scores of a label's tokens to its score."""

    mean = "mean"
    max = "max"


FILE_OPTIONS = {
    Kind.coco: ("images",),
    Kind.lvis: ("images",),
    Kind.odinw: ("split",),
    Kind.refcoco: ("images", "split", "instances"),
    Kind.flickr: ("images", "split"),
    Kind.scenes: ("split", "seed", "size", "count"),
}
"""Options about the data that each kind understands, beside --data."""

DATA = dict.fromkeys(Kind, "the annotation file") | {
    Kind.odinw: "the folder with a folder for each data set",
    Kind.flickr: "the folder with Sentences and Annotations",
}
"""What --data names."""

WITH_MASKS = (Kind.coco, Kind.lvis, Kind.scenes)

DEFAULT_SPLIT = {Kind.scenes: "seen"}


def evaluate(  # noqa: PLR0913  (one parameter for each option)
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="coco, lvis, odinw, refcoco, flickr or scenes.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help=f"Folder, checkpoint file or hub id such as {MODEL_EXAMPLE}; for scenes else {BUNDLED_MODEL}.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Annotation file; flickr: its folder; odinw: the folder of the data sets."),
    ] = None,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the pictures.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="Part of the data set; scenes: seen, held_out or referring; odinw: valid or test."
        ),
    ] = None,
    instances: Annotated[
        Path | None, typer.Option("--instances", help="refcoco: the COCO file with the boxes.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="scenes: of the data set.")] = None,
    size: Annotated[int | None, typer.Option("--size", min=64, help="scenes: side of a picture in pixels.")] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="scenes: number of pictures.")] = None,
    fixed: Annotated[bool, typer.Option("--fixed", help="lvis: fixed AP instead of AP.")] = False,
    aggregate: Annotated[
        Aggregate | None, typer.Option("--aggregate", help="Score of a label from those of its tokens.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=1, help="Most boxes of a picture, or of a phrase.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0.0, max=1.0, help="Boxes must score more; else none are dropped."),
    ] = None,
    nms: Annotated[
        float | None, typer.Option("--nms", min=0.0, max=1.0, help="Drop a box that overlaps a better one by more.")
    ] = None,
    chunk: Annotated[int | None, typer.Option("--chunk", min=1, help="Most names in one prompt.")] = None,
    sam: Annotated[
        str | None,
        typer.Option(
            "--sam",
            metavar="NAME",
            help="coco, lvis, scenes: judge masks too; what makes them, a folder or hub id such as"
            f" {SEGMENTER_EXAMPLE}, or {BUNDLED_SEGMENTER}.",
        ),
    ] = None,
    best_of_three: BestOfThreeOption = False,
    fill_holes: FillHolesOption = 0,
    drop_islands: DropIslandsOption = 0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where the results go; else evaluation/KIND.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first pictures.")] = None,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
    batch_size: BatchSizeOption = 1,
    jobs: Annotated[
        int, typer.Option("--jobs", min=1, help="Processes; each on its own GPU where there are some.")
    ] = 1,
) -> None:
    """Measure a model on a data set: print the protocol, then the figures, and write a report.

    A run that was killed goes on where it stopped when the same command is given again.

    Example: groundling evaluate coco --model groundling/nano --data instances.json --images photos --limit 2
    """
    if model is None and kind is Kind.scenes:
        model = BUNDLED_MODEL
    if model is None:
        raise ConfigError(f"No model is given. Name one, for example: --model {MODEL_EXAMPLE}")
    if fixed and kind is not Kind.lvis:
        raise ConfigError(f"--fixed belongs to lvis, not to {kind.value}. Leave it out.")
    files: dict[str, object] = {"images": images, "split": split, "instances": instances}
    specs = data_specs(kind, data, files | {"seed": seed, "size": size, "count": count})
    changes = {
        "aggregate": None if aggregate is None else aggregate.value,
        "top_k": top_k,
        "threshold": threshold,
        "nms_iou": nms,
        "chunk": chunk,
    }
    protocol = choose_protocol(kind, split, fixed=fixed, changes=changes)
    masks = choose_segmenter_options(kind, protocol, sam, choose_masks(best_of_three, fill_holes, drop_islands))
    folder = out or Path("evaluation") / kind.value

    from groundling.cli.evaluations import Evaluations

    number_format = None if dtype is None else dtype.value
    evaluations = Evaluations(
        model, number_format, device, protocol, batch_size=batch_size, jobs=jobs, limit=limit, masks=masks
    )
    evaluations.run(specs, folder)


def data_specs(kind: Kind, data: Path | None, options: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Return the description of each data set to evaluate, by its name; the name is empty where there is one only.

    Args:
        kind: which data set it is.
        data: what --data names.
        options: the other options about the data; None where one is not given.

    Raises:
        ConfigError: an option does not belong to the data set, or one is missing.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in FILE_OPTIONS[kind]:
            allowed = ", ".join(f"--{option}" for option in FILE_OPTIONS[kind])
            raise ConfigError(f"--{name} does not belong to {kind.value}, which takes: {allowed}.")
    if kind is Kind.scenes:
        if data is not None:
            raise ConfigError("scenes are drawn, not read: leave --data out. --split, --seed and --count choose them.")
        return {"": {"format": "scenes", "split": DEFAULT_SPLIT[kind]} | given}
    if data is None:
        raise ConfigError(f"{kind.value} needs --data, {DATA[kind]}.")
    if kind is Kind.odinw:
        from groundling.evaluate.odinw import find_sets

        return {
            name: {"format": "coco", "annotations": str(one.annotations), "images": str(one.images)}
            for name, one in find_sets(data.expanduser(), str(given.get("split", ""))).items()
        }
    spec: dict[str, object] = {"annotations": str(data)}
    spec |= {name: str(value) for name, value in given.items()}
    # one's own data may be in any format with names; it is then recognised
    is_other = kind is Kind.coco and data.suffix != ".json"
    return {"": spec if is_other else {"format": kind.value} | spec}


def choose_segmenter_options(
    kind: Kind, protocol: "EvaluationProtocol", sam: str | None, options: "MaskOptions"
) -> "tuple[str, MaskOptions] | None":
    """Return the segmenter's name and how masks are made; None where masks are not judged.

    Raises:
        ConfigError: the data set has no masks, phrases are judged, or there are options without a segmenter.
    """
    if sam is None:
        if options != type(options)():
            raise ConfigError(
                "--best-of-three, --fill-holes and --drop-islands are about masks: name a segmenter with --sam."
            )
        return None
    if kind not in WITH_MASKS or protocol.metric == "recall":
        allowed = ", ".join(one.value for one in WITH_MASKS)
        raise ConfigError(f"--sam belongs to {allowed}, which have masks, and not to phrases. Leave it out.")
    return sam, options


def choose_protocol(
    kind: Kind, split: str | None, *, fixed: bool, changes: Mapping[str, object]
) -> "EvaluationProtocol":
    """Return the usual protocol of a data set with the user's changes.

    Raises:
        ConfigError: a change does not fit.
    """
    from groundling.evaluate import PROTOCOLS

    name = kind.value
    if kind is Kind.scenes and split == "referring":
        name = "scenes_referring"
    if fixed:
        name = "lvis_fixed"
    return replace(PROTOCOLS[name], **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]
