"""`groundling segment`: pictures or a video and words in, masks out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from groundling.cli.footage import (
    FpsOption,
    RememberOption,
    StartOption,
    StopOption,
    TracksOption,
    check_outputs,
    check_span,
    name_after,
)
from groundling.cli.options import (
    DEFAULT_NMS,
    DEFAULT_OVERLAP,
    DEFAULT_THRESHOLD,
    BatchSizeOption,
    BestOfThreeOption,
    DeviceOption,
    DropGroupsOption,
    DropIslandsOption,
    DtypeOption,
    FillHolesOption,
    LabelsOption,
    ModelOption,
    NegativesOption,
    NmsAcrossLabelsOption,
    NmsOption,
    OverlapOption,
    SegmenterOption,
    TextOption,
    ThresholdOption,
    TightenOption,
    TileOption,
    TopKOption,
    VocabularyOption,
    choose_labels,
    choose_masks,
    choose_rules,
    choose_tiles,
)
from groundling.cli.pictures import check_folder, choose_outputs, choose_pictures
from groundling.errors import ConfigError
from groundling.pictures.folders import has_picture_ending

if TYPE_CHECKING:
    from groundling.pipeline.video.mask_tracking import MaskTrackOptions

SEGMENTED = ".segmented.mp4"
USUAL_EVERY = 10


def segment(  # noqa: PLR0913  (one parameter for each option)
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE", help="Pictures, folders of pictures, or one video, camera (0) or address."),
    ] = None,
    labels: LabelsOption = None,
    text: TextOption = None,
    vocabulary: VocabularyOption = None,
    negatives: NegativesOption = None,
    model: ModelOption = None,
    sam: SegmenterOption = None,
    threshold: ThresholdOption = DEFAULT_THRESHOLD,
    nms: NmsOption = DEFAULT_NMS,
    best_of_three: BestOfThreeOption = False,
    fill_holes: FillHolesOption = 0,
    drop_islands: DropIslandsOption = 0,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="PATH", help="What to draw: a picture's or video's path, or a folder."),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option("--masks", metavar="FOLDER", help="Pictures: write masks, label map and instance map as PNG."),
    ] = None,
    cutouts: Annotated[
        Path | None,
        typer.Option("--cutouts", metavar="FOLDER", help="Pictures: write each thing as a PNG of its own, cut out."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Pictures: print one JSON object each; draw only with --out.")
    ] = False,
    tighten: TightenOption = False,
    top_k: TopKOption = None,
    nms_across_labels: NmsAcrossLabelsOption = False,
    drop_groups: DropGroupsOption = False,
    tile: TileOption = None,
    overlap: OverlapOption = DEFAULT_OVERLAP,
    batch_size: BatchSizeOption = 1,
    tracks: TracksOption = None,
    every: Annotated[
        int | None, typer.Option("--every", min=1, help=f"Video: look at every so many frames; else {USUAL_EVERY}.")
    ] = None,
    remember: RememberOption = 1.0,
    fps: FpsOption = None,
    start: StartOption = 0.0,
    stop: StopOption = None,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
) -> int:
    """Find what the labels name in pictures or a video, and which pixels belong to it.

    Example: groundling segment shapes.png --labels "red circle" "blue square" --out masks.png
    """
    words = choose_labels(labels, text, vocabulary, negatives)
    cleaning = choose_masks(best_of_three, fill_holes, drop_islands)
    of_pictures = {
        "--masks": masks,
        "--cutouts": cutouts,
        "--json": as_json,
        "--tighten": tighten,
        "--top-k": top_k,
        "--nms-across-labels": nms_across_labels,
        "--drop-groups": drop_groups,
        "--tile": tile,
        "--batch-size": batch_size - 1,
    }
    of_videos = {"--tracks": tracks, "--every": every, "--fps": fps, "--start": start, "--stop": stop}
    if sources and is_video(sources, is_frames=fps is not None):
        _refuse(of_pictures, f"pictures, but {sources[0]!r} is read as a video")
        place = None if out is None else Path(out)
        if out is None and tracks is None:
            place = Path(f"{name_after(sources[0])}{SEGMENTED}")
        check_outputs(sources[0], place, tracks)
        check_span(start, stop)
        usual = USUAL_EVERY if every is None else every
        options: MaskTrackOptions = {"every": usual, "threshold": threshold, "nms_iou": nms, "remember": remember}
        options |= {"start": start, "stop": stop, "masks": cleaning}

        from groundling.cli.segmenting import Models, segment_video

        return segment_video(Models(model, sam, device, dtype), sources[0], words, options, (place, tracks), fps)
    pictures = choose_pictures(sources, labels, "segment")
    _refuse(of_videos, f"videos, but {str(pictures[0])!r} is read as a picture")
    rules = choose_rules(threshold, top_k, nms, nms_across_labels, drop_groups)
    tiles = choose_tiles(tile, overlap)
    outputs: list[Path] | list[None] = [None] * len(pictures)
    if out is not None or not (as_json or masks or cutouts):
        outputs = choose_outputs(pictures, out)
    for folder in (masks, cutouts):
        if folder is not None:
            check_folder(folder)

    from groundling.cli.search import Search
    from groundling.cli.segmenting import Models, Results, segment_pictures

    sam_models = Models(model, sam, device, dtype).load()
    search = Search(sam_models.detector, sam_models.detector.encode(words), rules, tiles)
    results = Results(outputs, masks, cutouts, as_json=as_json)
    return segment_pictures(sam_models, search.run(pictures, batch_size), results, cleaning, tighten=tighten)


def is_video(sources: Sequence[str], *, is_frames: bool) -> bool:
    """Tell whether a video is meant: one address, camera or file that is no picture, or a folder of frames.

    Args:
        sources: what the command line names.
        is_frames: whether it says how many frames a second a folder has.
    """
    if len(sources) != 1:
        return False
    name = sources[0]
    path = Path(name).expanduser()
    if "://" in name or (name.isdecimal() and not path.exists()):
        return True
    return is_frames if path.is_dir() else bool(path.suffix) and not has_picture_ending(path.name)


def _refuse(options: Mapping[str, object], belong_to: str) -> None:
    """Raise ConfigError where an option is given that has no meaning here."""
    given = next((name for name, value in options.items() if value), None)
    if given is not None:
        raise ConfigError(f"{given} is for {belong_to}.")
