"""Segmenters with a memory (SAM 2, EdgeTAM): shown a thing once by its box, they find its pixels in later frames.

Ravi et al. 2024, "SAM 2: Segment Anything in Images and Videos" (arXiv 2408.00714).

transformers keeps the memory in a session that grows with every frame and out of which no thing can be taken. So each
thing has a session of its own here: giving it up frees its memory, and it is never touched by what happens to others
(in one session, the memory of all things is computed in another way in a frame in which one of them begins). The
picture is encoded once all the same, because the sessions of a frame share its features. After each frame, what no
later frame reads is taken out of the session.
"""

import math
import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from groundling.configuration import CONFIG_NAME
from groundling.errors import GroundlingError
from groundling.files import read_json
from groundling.segmentation.cleaning import clean
from groundling.segmentation.families import VIDEO_TYPES
from groundling.segmentation.loading import load_video_model
from groundling.segmentation.options import USUAL_MASKS, MaskOptions
from groundling.segmentation.preparation import Preparation
from groundling.segmentation.segmenter import Segmenter

_THING = 0
"""Index and id of the only thing in a session."""

_CORNERS = (2, 3)
"""The prompt encoder's labels of the points at the left top and right bottom of a box."""


class SeenMask(NamedTuple):
    """Where a thing is in one frame.

    Attributes:
        mask: its pixels, bool [H, W]; all false where it is not seen.
        score: how good the model thinks the mask is (its guess of the IoU), 0 to 1.
    """

    mask: NDArray[np.bool_]
    score: float


class VideoPicture:
    """One frame, encoded when the first thing is looked for in it.

    Attributes:
        index: its number; those of a video follow each other without gaps.
        pixel_values: float [1, 3, S, S].
        image_wh: width and height of the frame in pixels.
        features: where sessions keep and find what the image encoder made of it.
    """

    def __init__(self, index: int, pixel_values: Tensor, image_wh: tuple[int, int], features: Any) -> None:
        self.index = index
        self.pixel_values = pixel_values
        self.image_wh = image_wh
        self.features = features


class ThingMemory:
    """What a model remembers of one thing.

    Attributes:
        session: transformers' session, with this thing only.
    """

    def __init__(self, session: Any) -> None:
        self.session = session

    def release(self, index: int, *, maps: int, pointers: int) -> None:
        """Forget what no frame after `index` reads.

        The frame of the box stays: every later frame reads it. Of the others, memory maps are read in the `maps` - 1
        frames after, and object pointers in the `pointers` - 1 frames after.
        """
        session = self.session
        session.cache = None  # the features of the picture
        session.processed_frames.clear()
        for inputs in (session.point_inputs_per_obj, session.mask_inputs_per_obj, session.frames_tracked_per_obj):
            inputs[_THING].clear()
        outputs = session.output_dict_per_obj[_THING]
        carried = outputs["non_cond_frame_outputs"]
        for old in [frame for frame in carried if index + 1 - frame >= max(maps, pointers)]:
            del carried[old]
        for frame, output in (*outputs["cond_frame_outputs"].items(), *carried.items()):
            unread = ["pred_masks", "high_res_masks"]
            if frame in carried and index + 1 - frame >= maps:
                unread += ["maskmem_features", "maskmem_pos_enc"]
            for name in unread:
                output.pop(name, None)


class VideoSegmenter:
    """Finds things again that it was shown by their boxes, frame after frame. `with_memory` makes it.

    It holds nothing but the model: what is remembered of a thing is the caller's, so one serves several videos and
    threads at once.

    Args:
        model: transformers' `Sam2VideoModel` or `EdgeTamVideoModel`; it is switched to evaluation mode, its device and
            dtype are used.
        preparation: how frames become what the model sees.
    """

    def __init__(self, model: Any, preparation: Preparation) -> None:
        self.model = model.eval()
        self.preparation = preparation
        self._quality = threading.local()
        # The model chooses among masks by its guess of their IoU, and does not return it.
        model.mask_decoder.register_forward_hook(self._note_quality)

    def open(self, image: NDArray[np.uint8], index: int) -> VideoPicture:
        """Prepare a frame.

        Args:
            image: RGB, uint8 [H, W, 3].
            index: number of the frame, 0 or more; those of a video follow each other without gaps.
        """
        pixels = self.preparation.pixels([image]).to(self.model.device, self.model.dtype)
        return VideoPicture(index, pixels, (image.shape[1], image.shape[0]), self._session().cache)

    def begin(
        self, picture: VideoPicture, box_xyxy: NDArray[np.float32], options: MaskOptions = USUAL_MASKS
    ) -> tuple[ThingMemory, SeenMask]:
        """Look at the thing in a box, so that `follow` finds it in the next frames.

        Args:
            picture: the frame.
            box_xyxy: left, top, right, bottom in pixels of the frame, inside it and with an area, float32 [4].
            options: how its mask is cleaned.

        Raises:
            GroundlingError: the model's output is not a number.
        """
        corners = self.preparation.boxes(box_xyxy[None], picture.image_wh).reshape(1, 1, 2, 2)
        labels = torch.tensor(_CORNERS, dtype=torch.int32).reshape(1, 1, 2)
        session = self._session()
        index = session.obj_id_to_idx(_THING)
        session.add_point_inputs(index, picture.index, {"point_coords": corners, "point_labels": labels})
        session.obj_with_new_inputs = [_THING]
        memory = ThingMemory(session)
        return memory, self.follow(picture, memory, options)

    def follow(self, picture: VideoPicture, memory: ThingMemory, options: MaskOptions = USUAL_MASKS) -> SeenMask:
        """Find a thing in the frame after the last one in which it was looked for.

        Args:
            picture: the frame.
            memory: that of the thing; it takes the frame in.
            options: how its mask is cleaned; the memory keeps it as it was.

        Raises:
            GroundlingError: the model's output is not a number.
        """
        memory.session.cache = picture.features
        seen = self.model(memory.session, frame=picture.pixel_values, frame_idx=picture.index)
        config = self.model.config
        memory.release(picture.index, maps=config.num_maskmem, pointers=config.max_object_pointers_in_encoder)
        if not math.isfinite(self._quality.value):
            raise GroundlingError(
                "The output of the segmenter's memory is not a number (NaN), so there are no masks. With dtype float16 "
                "a value was too large: use bfloat16 or float32. Otherwise the checkpoint is damaged."
            )
        logits = self.preparation.restored(seen.pred_masks[0].float(), picture.image_wh)
        mask = (logits[0] > 0).cpu().numpy()
        cleaned = clean(mask, fill_holes=options.fill_holes, drop_islands=options.drop_islands)
        return SeenMask(cleaned, self._quality.value)

    def _session(self) -> Any:
        import transformers

        kind = getattr(transformers, type(self.model).__name__.replace("Model", "InferenceSession"))
        device, dtype = self.model.device, self.model.dtype
        return kind(inference_device=device, inference_state_device=device, video_storage_device=device, dtype=dtype)

    def _note_quality(self, module: torch.nn.Module, inputs: object, outputs: tuple[Tensor, ...]) -> None:
        """Keep the guess for the mask that is chosen: of several, the best by this guess."""
        self._quality.value = float(outputs[1].max().clamp(0, 1))


def with_memory(segmenter: Segmenter) -> VideoSegmenter | None:
    """Load what follows things through videos from the files of a segmenter, or return None where those hold no memory.

    Args:
        segmenter: made by `load_segmenter`.

    Raises:
        CheckpointError: the files of the memory are damaged.
    """
    if read_json(segmenter.folder / CONFIG_NAME).get("model_type") not in VIDEO_TYPES:
        return None
    return VideoSegmenter(load_video_model(segmenter), segmenter.preparation)
