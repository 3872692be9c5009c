"""Video: frames from files, folders, cameras and addresses; boxes with ids that stay from frame to frame."""

from groundling.pipeline.video.frames import Frame, Source
from groundling.pipeline.video.sources import open_source
from groundling.pipeline.video.tracking import TrackedFrame, TrackOptions, track

__all__ = ["Frame", "Source", "TrackOptions", "TrackedFrame", "open_source", "track"]
