"""From a checkpoint's name to a segmenter. The models are those of transformers, which is imported here only."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from groundling.configuration import CONFIG_NAME, check_device, float_type
from groundling.errors import CheckpointError, MissingExtraError, missing_extra
from groundling.files import HubOptions, Location, locate, read_json
from groundling.segmentation.families import EDGETAM, FAMILIES, VIDEO_TYPES
from groundling.segmentation.preparation import Preparation, check_side
from groundling.segmentation.segmenter import Segmenter
from groundling.segmentation.weights import WEIGHTS, check_weights, reason

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

OLDEST_TRANSFORMERS = (5, 20)
"""Before it, files of SAM 2 for video are read with a wrong class, and EdgeTAM asks the hub for what it has."""

_ONE_AT_A_TIME = threading.Lock()
"""transformers changes torch and its own settings while it loads: of two models at once, both can lack weights."""

_WANTED = "a local folder, or a hub id such as 'facebook/sam2.1-hiera-tiny'"

_IMAGE_MODEL = ("vision_config", "prompt_encoder_config", "mask_decoder_config", "initializer_range", "dtype")
"""What the configuration of a video model says about the image model inside it."""


def load_segmenter(
    name: str | os.PathLike[str],
    *,
    device: "str | torch.device | None" = None,
    dtype: "str | torch.dtype | None" = None,
    **options: Unpack[HubOptions],
) -> Segmenter:
    """Load a segmenter: SAM, SAM-HQ, SAM 2 or EdgeTAM, as the `model_type` in its config.json says.

    Args:
        name: a folder, a hub id such as "facebook/sam-vit-base", or "groundling/nano-sam".
        device: where to compute, such as "cpu" or "cuda:1"; None is CUDA where there is any, else the CPU.
        dtype: number format to compute in: "float32", "float16" or "bfloat16"; None is the checkpoint's own, but
            float32 in place of float16 on a CPU, which computes float16 slowly.
        **options: how a hub id is looked up.

    Raises:
        CheckpointError: there is no such checkpoint, it is not complete or damaged, or it is of another kind.
        ConfigError: the device or dtype does not exist here, or the checkpoint's files say impossible values of how
            pictures are prepared.
        MissingExtraError: transformers is missing or too old, or EdgeTAM lacks timm.
    """
    place, number_format = check_device(device), None if dtype is None else float_type(dtype)
    library = _transformers()
    location = locate(name, wanted=_WANTED, **options)
    values = _config(location)
    family = FAMILIES[values["model_type"]]
    kept = _IMAGE_MODEL if values["model_type"] in VIDEO_TYPES else tuple(values)
    config = {key: values[key] for key in kept if key in values}
    folder = _folder(location)
    model = _load(library, folder, family.title, (family.config, family.model), config, number_format)
    side = check_side(
        f"{CONFIG_NAME} of {location.name!r}: prompt_encoder_config.image_size",
        model.config.prompt_encoder_config.image_size,
    )
    preparation = Preparation.read(location, side, is_stretched=family.is_stretched)
    return Segmenter(_placed(model, place, number_format), family, preparation, folder)


def load_video_model(segmenter: Segmenter) -> Any:
    """Load the model that follows things through a video from the checkpoint of a segmenter, on its device.

    The image encoder, which is most of the weights, is that of the segmenter and takes no memory again.

    Args:
        segmenter: made by `load_segmenter`.

    Returns:
        A `Sam2VideoModel` or an `EdgeTamVideoModel` in evaluation mode, with the segmenter's dtype.

    Raises:
        CheckpointError: the checkpoint cannot follow things, or is not complete.
        MissingExtraError: a package is missing.
    """
    values, family = _config(locate(segmenter.folder)), segmenter.family
    if values["model_type"] not in VIDEO_TYPES or family.video_model is None:
        raise CheckpointError(
            f"{str(segmenter.folder)!r} has the model_type {values['model_type']!r}, which segments pictures but "
            f"cannot follow things through a video. Use a checkpoint of {' or '.join(VIDEO_TYPES)}, such as "
            "'facebook/sam2.1-hiera-tiny'."
        )
    names = family.video_model.replace("Model", "Config"), family.video_model
    model = _load(_transformers(), segmenter.folder, family.title, names, values, segmenter.dtype)
    model.vision_encoder = segmenter.model.vision_encoder
    return model.to(segmenter.device)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise missing_extra("transformers", "sam", "A segmenter") from error
    version = transformers.__version__
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_TRANSFORMERS:
        oldest = ".".join(map(str, OLDEST_TRANSFORMERS))
        raise MissingExtraError(
            f"A segmenter needs transformers {oldest} or newer, but {version} is installed. "
            "Install it with: pip install --upgrade 'groundling[sam]'"
        )
    return transformers


def _config(location: Location) -> dict[str, Any]:
    """Read config.json and check that it is a segmenter's."""
    if location.file is not None:
        raise CheckpointError(
            f"{location.name!r} is one file, but a segmenter is a folder with {CONFIG_NAME} and {WEIGHTS[0]}. Original "
            "checkpoints of SAM must be converted; use for example 'facebook/sam-vit-base' or "
            "'facebook/sam2.1-hiera-tiny'."
        )
    values = read_json(location.require(CONFIG_NAME))
    found = values.get("model_type")
    if not isinstance(found, str) or found not in FAMILIES:
        raise CheckpointError(
            f"{location.name!r} has the model_type {found!r} in {CONFIG_NAME}, which is no segmenter that can be "
            f"loaded. Use a checkpoint of one of these: {', '.join(FAMILIES)}."
        )
    return values


def _folder(location: Location) -> Path:
    """Return the local folder that holds configuration and weights, fetched if need be.

    Raises:
        CheckpointError: a file is missing.
    """
    path = location.first_of(*(each for name in WEIGHTS for each in (name, f"{name}.index.json")))
    if path is None:
        raise CheckpointError(f"{location.name!r} has no weights: no {' or '.join(WEIGHTS)}. {location.contents()}")
    paths = [path, location.require(CONFIG_NAME)]
    if path.suffix == ".json":
        parts = read_json(path).get("weight_map")
        if not isinstance(parts, dict) or any(
            not isinstance(part, str) or part != Path(part).name for part in parts.values()
        ):
            raise CheckpointError(f"{path.name} of {location.name!r} lists no files of weights. Fetch it again.")
        paths += [location.require(part) for part in sorted(set(parts.values()))]
    if len({path.parent for path in paths}) > 1:
        raise CheckpointError(f"{location.name!r} changed while its files were fetched. Try again.")
    return path.parent


def _load(
    library: Any,
    folder: Path,
    title: str,
    names: tuple[str, str],
    values: dict[str, Any],
    number_format: "torch.dtype | None",
) -> Any:
    """Load a model from a local folder, strictly: transformers itself would give missing tensors random numbers."""
    try:
        with _ONE_AT_A_TIME, _quiet(library):
            config_class, model_class = (getattr(library, name) for name in names)
            model, report = model_class.from_pretrained(
                folder,
                config=config_class.from_dict(values),
                dtype="auto" if number_format is None else number_format,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # the report names them; the error that it would be does not
                output_loading_info=True,
            )
    except ImportError as error:
        raise _missing_package(title, error) from error
    except Exception as error:  # transformers and the libraries below it raise errors of many kinds
        raise CheckpointError(
            f"The {title} checkpoint in {str(folder)!r} cannot be loaded ({reason(error)}). "
            "It is damaged, or its config.json belongs to other weights. Fetch it again."
        ) from error
    _check_report(report, folder, title)
    check_weights(model, folder, title)
    return model.eval()


def _check_report(report: dict[str, Any], folder: Path, title: str) -> None:
    other = sorted(
        f"{name} ({list(given)} in place of {list(needed)})" for name, given, needed in report["mismatched_keys"]
    )
    missing = sorted(map(str, report["missing_keys"]))
    for names, what in ((missing, "lack"), (other, "have other shapes for")):
        if names:
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise CheckpointError(
                f"The weights in {str(folder)!r} {what} {len(names)} tensors of a {title} model: {shown}. Fetch the "
                "checkpoint again, or use the config.json that belongs to it."
            )
    if report["unexpected_keys"]:
        unknown = sorted(map(str, report["unexpected_keys"]))
        logger.warning(
            "%s has %d tensors that a %s model does not know, such as %s; they are not used.",
            folder,
            len(unknown),
            title,
            unknown[0],
        )


def _missing_package(title: str, error: ImportError) -> MissingExtraError:
    if title == EDGETAM.title:
        return MissingExtraError(
            "EdgeTAM's image backbone comes from the packages 'timm' and 'torchvision', which are not both installed. "
            "Install them with: pip install timm torchvision"
        )
    return MissingExtraError(f"{title} needs a package that is not installed: {reason(error)}.")


def _placed(model: Any, place: "torch.device", number_format: "torch.dtype | None") -> Any:
    import torch

    if number_format is None and place.type == "cpu" and model.dtype == torch.float16:
        model = model.float()
    return model.to(place)


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Keep transformers from writing progress and notes to stderr; what matters becomes an error here."""
    log = library.utils.logging
    level, has_bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if has_bars:
            log.enable_progress_bar()
