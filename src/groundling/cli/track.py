"""`groundling track`: a video and words in, boxes with ids out."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from groundling.cli.footage import (
    VIDEO_NMS,
    FpsOption,
    RememberOption,
    StartOption,
    StopOption,
    TracksOption,
    as_footage,
    as_output,
    check_outputs,
    check_span,
    name_after,
)
from groundling.cli.options import (
    DEFAULT_THRESHOLD,
    DeviceOption,
    DtypeOption,
    LabelsOption,
    ModelOption,
    NegativesOption,
    VocabularyOption,
    choose_labels,
    load_detector,
)
from groundling.cli.status import INTERRUPTED

TRACKED = ".tracked.mp4"


def track(  # noqa: PLR0913  (one parameter for each option)
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A video, a folder of frames, a camera (0) or an address (rtsp://).")
    ],
    labels: LabelsOption = None,
    vocabulary: VocabularyOption = None,
    negatives: NegativesOption = None,
    model: ModelOption = None,
    every: Annotated[
        int, typer.Option("--every", min=1, help="Look at every so many frames; boxes between are predicted.")
    ] = 1,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0.0, max=1.0, help="Boxes that score more begin a track.")
    ] = DEFAULT_THRESHOLD,
    nms: Annotated[
        float,
        typer.Option("--nms", min=0.0, max=1.0, help="Drop a box that overlaps a better one of its label by more."),
    ] = VIDEO_NMS,
    remember: RememberOption = 1.0,
    fps: FpsOption = None,
    start: StartOption = 0.0,
    stop: StopOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help=f"The video to draw, without sound; else NAME{TRACKED}."),
    ] = None,
    tracks: TracksOption = None,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
) -> int:
    """Find and follow what the labels name in a video; each thing keeps its id from frame to frame.

    Ctrl-C ends it; what is done by then is kept.

    Example: groundling track clip.mp4 --labels "red star" "blue circle" --every 5 --out tracked.mp4
    """
    words = choose_labels(labels, vocabulary=vocabulary, negatives=negatives)
    out, tracks = as_output(out), as_output(tracks)
    if out is None and tracks is None:
        out = Path(f"{name_after(source)}{TRACKED}")
    check_outputs(source, out, tracks)
    check_span(start, stop)

    from groundling.pipeline.video import open_source

    opened = open_source(as_footage(source), fps=fps)  # a mistake should not wait for the model
    with closing(opened):
        from groundling.cli.following import Following, expected_count
        from groundling.pipeline.video.tracking import track as follow

        following = Following(out, tracks, fps=opened.fps)
        detector = load_detector(model, device=device, dtype=dtype)
        frames = follow(
            detector,
            opened,
            words,
            every=every,
            threshold=threshold,
            nms_iou=nms,
            remember=remember,
            start=start,
            stop=stop,
        )
        is_interrupted = following.run(frames, total=expected_count(opened, start, stop))
    return INTERRUPTED if is_interrupted else 0
