"""`groundling segment`: pictures or a video and words in, masks out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlparse

import typer

from groundling.cli.footage import (
    VIDEO_ENDINGS,
    VIDEO_NMS,
    FpsOption,
    RememberOption,
    StartOption,
    StopOption,
    TracksOption,
    as_output,
    check_outputs,
    check_span,
    name_after,
    refuse_videos,
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
    load_grounded_sam,
)
from groundling.cli.pictures import check_folder, choose_folders, choose_outputs, choose_pictures, refuse_too_large
from groundling.errors import ConfigError, ImageError
from groundling.pictures.folders import SEGMENTED, has_picture_ending

if TYPE_CHECKING:
    from groundling.pipeline.grounded_sam import GroundedSam
    from groundling.pipeline.stages import Labels
    from groundling.pipeline.video.mask_tracking import MaskTrackOptions
    from groundling.segmentation import MaskOptions

SEGMENTED_VIDEO = ".segmented.mp4"

PHOTO_ENDINGS = (".heic", ".heif")
"""Of pictures that Pillow reads with a plugin only."""

USUAL_EVERY = 10
"""That of `track_masks`."""


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
    nms: Annotated[
        float | None,
        typer.Option(
            "--nms",
            min=0.0,
            max=1.0,
            help=f"Drop a box that overlaps a better one of its label by more; else {DEFAULT_NMS}, videos {VIDEO_NMS}.",
        ),
    ] = None,
    best_of_three: BestOfThreeOption = False,
    fill_holes: FillHolesOption = 0,
    drop_islands: DropIslandsOption = 0,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="PATH", help="What to draw: a picture's or video's path, or a folder."),
    ] = None,
    masks: Annotated[
        str | None,
        typer.Option("--masks", metavar="FOLDER", help="Pictures: write masks, label map and instance map as PNG."),
    ] = None,
    cutouts: Annotated[
        str | None,
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
    question = _Question(
        labels=choose_labels(labels, text, vocabulary, negatives),
        threshold=threshold,
        nms=nms,
        masks=choose_masks(best_of_three, fill_holes, drop_islands),
        load=partial(load_grounded_sam, model, sam, device=device, dtype=dtype),
    )
    of_pictures = _PictureOptions(
        _folder(masks, "--masks"),
        _folder(cutouts, "--cutouts"),
        as_json,
        tighten,
        top_k,
        nms_across_labels,
        drop_groups,
        tile,
        overlap,
        batch_size,
    )
    of_videos = _VideoOptions(tracks, every, remember, fps, start, stop)
    if sources and is_video(sources, is_frames=fps is not None):
        of_pictures.refuse(f"pictures, but {sources[0]!r} is read as a video")
        return _segment_video(sources[0], question, out, of_videos)
    refuse_videos(sources or ())
    pictures = choose_pictures(sources, labels, "segment")
    of_videos.refuse(f"videos, but {str(pictures[0])!r} is read as a picture")
    return _segment_pictures(pictures, question, out, of_pictures)


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of pictures and videos alike."""

    labels: "Labels"
    threshold: float
    nms: float | None
    masks: "MaskOptions"
    load: "Callable[[], GroundedSam]"


class _Options:
    """Options that mean something for pictures only, or for videos only; the names of the fields are theirs."""

    __slots__ = ()

    def refuse(self, belong_to: str) -> None:
        """Raise ConfigError where one is given although it has no meaning."""
        for field in fields(self):  # type: ignore[arg-type]  # every kind of it is a dataclass
            if getattr(self, field.name) != field.default:
                raise ConfigError(f"--{field.name.replace('_', '-')} is for {belong_to}.")


@dataclass(frozen=True, slots=True)
class _PictureOptions(_Options):
    masks: Path | None = None
    cutouts: Path | None = None
    json: bool = False
    tighten: bool = False
    top_k: int | None = None
    nms_across_labels: bool = False
    drop_groups: bool = False
    tile: int | None = None
    overlap: float = DEFAULT_OVERLAP
    batch_size: int = 1


@dataclass(frozen=True, slots=True)
class _VideoOptions(_Options):
    tracks: Path | None = None
    every: int | None = None
    remember: float = 1.0
    fps: float | None = None
    start: float = 0.0
    stop: float | None = None


def _segment_video(source: str, question: _Question, out: str | None, its: _VideoOptions) -> int:
    place, tracks = as_output(None if out is None else Path(out)), as_output(its.tracks)
    if place is None and tracks is None:
        place = Path(f"{name_after(source)}{SEGMENTED_VIDEO}")
    check_outputs(source, place, tracks)
    check_span(its.start, its.stop)
    options: MaskTrackOptions = {
        "every": USUAL_EVERY if its.every is None else its.every,
        "threshold": question.threshold,
        "nms_iou": VIDEO_NMS if question.nms is None else question.nms,
        "remember": its.remember,
        "start": its.start,
        "stop": its.stop,
        "masks": question.masks,
    }

    from groundling.cli.segmenting import segment_video

    return segment_video(question.load, source, question.labels, options, (place, tracks), its.fps)


def _segment_pictures(pictures: Sequence[Path], question: _Question, out: str | None, its: _PictureOptions) -> int:
    nms = DEFAULT_NMS if question.nms is None else question.nms
    rules = choose_rules(question.threshold, its.top_k, nms, its.nms_across_labels, its.drop_groups)
    tiles = choose_tiles(its.tile, its.overlap)
    outputs: list[Path] | list[None] = [None] * len(pictures)
    if out is not None or not (its.json or its.masks or its.cutouts):
        outputs = choose_outputs(pictures, out, SEGMENTED)
    if its.masks is not None and its.cutouts is not None and its.masks.resolve() == its.cutouts.resolve():
        raise ImageError(f"--masks and --cutouts both name {str(its.masks)!r}. Give two folders.")
    from groundling.cli.mask_files import CUTOUTS, MASKS

    masks = _choose_thing_folders(its.masks, MASKS, pictures)
    cutouts = _choose_thing_folders(its.cutouts, CUTOUTS, pictures)
    problems = [refuse_too_large(picture) for picture in pictures]
    if problems[0] is not None and None not in problems:
        raise problems[0]

    from groundling.cli.search import Search
    from groundling.cli.segmenting import Results, search_usable, segment_pictures

    sam = question.load()
    search = Search(sam.detector, sam.detector.encode(question.labels), rules, tiles)
    outcomes = search_usable(search, pictures, problems, its.batch_size)
    results = [Results(*places) for places in zip(outputs, masks, cutouts, strict=True)]
    return segment_pictures(sam, outcomes, results, question.masks, tighten=its.tighten, as_json=its.json)


def _choose_thing_folders(folder: Path | None, made_by: str, pictures: Sequence[Path]) -> list[Path] | list[None]:
    """Choose a folder for the things of each picture, and refuse one that holds something else."""
    chosen = choose_folders(folder, pictures)
    if folder is None:
        return chosen

    from groundling.cli.mask_files import check_thing_folder

    check_folder(folder)
    for place, picture in zip(chosen, pictures, strict=True):
        if place is not None:
            check_thing_folder(place, made_by, picture, pictures)
    return chosen


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
    if "://" in name:
        return not has_picture_ending(urlparse(name).path)
    if not path.exists():  # a camera, or a name that is wrong: whose, its ending says
        return name.isdecimal() or path.suffix.lower() in VIDEO_ENDINGS
    return is_frames if path.is_dir() else bool(path.suffix) and not _may_be_picture(path)


def _may_be_picture(path: Path) -> bool:
    """Tell whether a file's ending is that of a picture; Pillow takes .mpg for one."""
    if has_picture_ending(path.name):
        return True
    import PIL.Image

    ending = path.suffix.lower()
    return ending not in VIDEO_ENDINGS and (ending in PHOTO_ENDINGS or ending in PIL.Image.registered_extensions())


def _folder(name: str | None, option: str) -> Path | None:
    if name is not None and not name.strip():
        raise ConfigError(f"{option} is blank. Name a folder, or . for the current one.")
    return None if name is None else Path(name).expanduser()
