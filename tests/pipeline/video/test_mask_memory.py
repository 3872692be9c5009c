"""A thing's memory: what is forgotten changes nothing, things do not touch each other, a picture is encoded once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from groundling.errors import CheckpointError, GroundlingError
from groundling.segmentation import MaskOptions, load_segmenter
from groundling.segmentation.video_model import SeenMask, ThingMemory, VideoSegmenter, with_memory
from pipeline.video.tiny_memory import KINDS, held_bytes, pictures, remembering, tiny_model

LEFT, RIGHT = np.array([5, 5, 30, 30], np.float32), np.array([40, 10, 70, 40], np.float32)


@contextmanager
def recorded(model: Any) -> Iterator[list[torch.Tensor]]:
    """Collect the logits of all masks that a model makes."""
    logits: list[torch.Tensor] = []
    handle = model.register_forward_hook(lambda _module, _inputs, output: logits.append(output.pred_masks.clone()))
    yield logits
    handle.remove()


@contextmanager
def pointers_read(model: Any) -> Iterator[list[list[int]]]:
    """Collect how many frames ago the object pointers are from that a model reads in each frame."""
    ages: list[list[int]] = []
    read = model._get_object_pointers

    def noted(*arguments: Any) -> Any:
        result = read(*arguments)
        ages.append(result[0])
        return result

    model._get_object_pointers = noted
    yield ages
    del model._get_object_pointers


def followed(
    segmenter: VideoSegmenter, frames: Sequence[NDArray[np.uint8]], box: NDArray[np.float32], first: int = 0
) -> tuple[list[SeenMask], ThingMemory]:
    """A thing that is shown in one frame and followed to the end."""
    memory, seen = segmenter.begin(segmenter.open(frames[first], first), box)
    rest = [segmenter.follow(segmenter.open(frames[n], n), memory) for n in range(first + 1, len(frames))]
    return [seen, *rest], memory


def unpruned_logits(
    segmenter: VideoSegmenter, frames: Sequence[NDArray[np.uint8]], box: NDArray[np.float32]
) -> tuple[list[torch.Tensor], Any]:
    """The same by a session of transformers that keeps everything."""
    session = getattr(transformers, type(segmenter.model).__name__.replace("Model", "InferenceSession"))(
        dtype=segmenter.model.dtype
    )
    corners = segmenter.preparation.boxes(box[None], (80, 48)).reshape(1, 1, 2, 2)
    inputs = {"point_coords": corners, "point_labels": torch.tensor([[[2, 3]]], dtype=torch.int32)}
    session.add_point_inputs(session.obj_id_to_idx(7), 0, inputs)
    session.obj_with_new_inputs = [7]
    with recorded(segmenter.model) as logits:
        for frame in frames:
            segmenter.model(session, frame=segmenter.preparation.pixels([frame]))
    return logits, session


@pytest.mark.parametrize("kind", ["sam2_video", pytest.param("edgetam_video", marks=pytest.mark.slow)])
def test_what_is_forgotten_changes_nothing(kind: str) -> None:
    segmenter, frames = remembering(tiny_model(kind, confidence=0.5)), pictures(22)
    # Logits alone would not tell: these weights make little of a pointer.
    with pointers_read(segmenter.model) as expected_ages:
        expected, session = unpruned_logits(segmenter, frames, LEFT)
    with recorded(segmenter.model) as logits, pointers_read(segmenter.model) as ages:
        masks, memory = followed(segmenter, frames, LEFT)
    assert len(logits) == len(expected) == 22
    assert all(torch.equal(one, other) for one, other in zip(logits, expected, strict=True))
    assert ages == expected_ages
    assert len(ages[-1]) == segmenter.model.config.max_object_pointers_in_encoder
    assert len({one.mask.tobytes() for one in masks}) > 5  # the masks change, so the comparison says something
    assert held_bytes(vars(memory.session)) < held_bytes(vars(session)) / 10


def test_the_frame_of_the_box_is_read_however_old_it_is() -> None:
    """Otherwise the comparison above could not tell whether it is kept."""
    segmenter, frames = remembering(tiny_model("sam2_video", confidence=5)), pictures(18)
    with recorded(segmenter.model) as left:
        followed(segmenter, frames, LEFT)
    with recorded(segmenter.model) as right:
        followed(segmenter, frames, RIGHT)
    assert not torch.equal(left[-1], right[-1])


def test_memory_does_not_grow() -> None:
    segmenter, frames = remembering(tiny_model("sam2_video")), pictures(28)
    memory, _ = segmenter.begin(segmenter.open(frames[0], 0), LEFT)
    sizes = []
    for number in range(1, 28):
        segmenter.follow(segmenter.open(frames[number], number), memory)
        sizes.append(held_bytes(vars(memory.session)))
    assert sizes[1] < sizes[18]
    assert len(set(sizes[18:])) == 1


def test_a_thing_is_followed_as_if_no_other_had_been_there() -> None:
    segmenter, frames = remembering(tiny_model("sam2_video", confidence=0.5)), pictures(16)
    with recorded(segmenter.model) as alone:
        followed(segmenter, frames, RIGHT, first=2)
    beside: list[torch.Tensor] = []
    other: ThingMemory | None = None
    for number, frame in enumerate(frames):
        picture = segmenter.open(frame, number)
        if number in (0, 6):  # the other begins before and again while the thing is followed, and is dropped at 12
            other, _ = segmenter.begin(picture, LEFT)
        elif other is not None:
            segmenter.follow(picture, other)
        if number == 12:
            other = None
        with recorded(segmenter.model) as logits:
            if number == 2:
                memory, _ = segmenter.begin(picture, RIGHT)
            elif number > 2:
                segmenter.follow(picture, memory)
        beside += logits
    assert len(alone) == len(beside) == 14
    assert all(torch.equal(one, two) for one, two in zip(alone, beside, strict=True))


def test_a_picture_is_encoded_once_and_only_if_something_is_looked_for() -> None:
    model = tiny_model("sam2_video")
    segmenter, calls = remembering(model), []
    model.vision_encoder.register_forward_hook(lambda *_: calls.append(1))
    frames = pictures(2)
    picture = segmenter.open(frames[0], 0)
    assert calls == []
    memories = [segmenter.begin(picture, box)[0] for box in (LEFT, RIGHT)]
    assert len(calls) == 1
    picture = segmenter.open(frames[1], 1)
    for memory in memories:
        segmenter.follow(picture, memory)
    assert len(calls) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(kind: str, dtype: torch.dtype) -> None:
    segmenter = remembering(tiny_model(kind, confidence=5).to(dtype))
    masks, memory = followed(segmenter, pictures(4), LEFT)
    assert memory.session.dtype == dtype
    assert [one.mask.shape for one in masks] == [(48, 80)] * 4
    assert all(0 <= one.score <= 1 for one in masks)


def test_a_thing_that_is_not_seen_has_an_empty_mask() -> None:
    masks, _ = followed(remembering(tiny_model("sam2_video", confidence=-50)), pictures(3), LEFT)
    assert [one.mask.any() for one in masks] == [False] * 3


def test_the_score_is_the_guess_for_the_mask_that_was_chosen() -> None:
    model = tiny_model("sam2_video", confidence=5)
    segmenter, guesses = remembering(model), []
    model.mask_decoder.register_forward_hook(lambda _module, _inputs, outputs: guesses.append(outputs[1].flatten()))
    masks, _ = followed(segmenter, pictures(3), LEFT)
    assert [len(guess) for guess in guesses] == [1, 3, 3]
    assert [one.score for one in masks] == [float(guess.max()) for guess in guesses]


def test_masks_are_cleaned_and_the_memory_is_not() -> None:
    segmenter, frames = remembering(tiny_model("sam2_video", confidence=5)), pictures(2)
    plain, _ = segmenter.begin(segmenter.open(frames[0], 0), LEFT)
    memory, cleaned = segmenter.begin(segmenter.open(frames[0], 0), LEFT, MaskOptions(drop_islands=10**6))
    assert 0 < cleaned.mask.sum() < segmenter.begin(segmenter.open(frames[0], 0), LEFT)[1].mask.sum()
    picture = segmenter.open(frames[1], 1)
    assert np.array_equal(segmenter.follow(picture, plain).mask, segmenter.follow(picture, memory).mask)


def test_what_is_no_number_is_told() -> None:
    model = tiny_model("sam2_video")
    with torch.no_grad():
        model.mask_decoder.iou_prediction_head.proj_out.bias.fill_(float("nan"))
    with pytest.raises(GroundlingError, match=r"not a number .NaN.*bfloat16"):
        followed(remembering(model), pictures(1), LEFT)


def test_the_memory_is_loaded_beside_its_segmenter(tmp_path: Path) -> None:
    model = tiny_model("sam2_video", confidence=0.5)
    model.save_pretrained(tmp_path)
    segmenter = load_segmenter(tmp_path, device="cpu")
    loaded = with_memory(segmenter)
    assert loaded is not None
    assert loaded.model.vision_encoder is segmenter.model.vision_encoder
    frames = pictures(4)
    ours, _ = followed(loaded, frames, LEFT)
    expected, _ = followed(remembering(model), frames, LEFT)
    for one, two in zip(ours, expected, strict=True):  # weights lie elsewhere in memory, which changes the rounding
        assert one.score == pytest.approx(two.score, abs=1e-3)
        assert (one.mask != two.mask).mean() < 0.01


def test_a_segmenter_without_a_memory_has_none() -> None:
    assert with_memory(load_segmenter("groundling/nano-sam", device="cpu")) is None


def test_a_memory_that_is_damaged_is_told(tmp_path: Path) -> None:
    tiny_model("sam2_video").save_pretrained(tmp_path)
    segmenter = load_segmenter(tmp_path, device="cpu")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        with_memory(segmenter)
