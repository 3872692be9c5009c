"""Where a checkpoint's files are, and how files are written: a folder, one file or the hub, and never half a file."""

from groundling.files.location import BUNDLED_MODEL, BUNDLED_SEGMENTER, HubOptions, Location, locate, split_hub_options
from groundling.files.writing import atomic_path, read_json, sync_folder, sync_tree, write_json, write_text

__all__ = [
    "BUNDLED_MODEL",
    "BUNDLED_SEGMENTER",
    "HubOptions",
    "Location",
    "atomic_path",
    "locate",
    "read_json",
    "split_hub_options",
    "sync_folder",
    "sync_tree",
    "write_json",
    "write_text",
]
