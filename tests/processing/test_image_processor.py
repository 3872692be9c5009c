import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

from groundling.errors import CheckpointError, ConfigError, ImageError
from groundling.processing import GroundingDinoImageProcessor, GroundingDinoImageProcessorFast
from groundling.processing import resize as resize_module
from groundling.processing.resize import resize, resize_masks
from reference import pixels as naive

RNG = np.random.default_rng(1)
SMALL = {"shortest_edge": 40, "longest_edge": 60}


def picture(height: int, width: int) -> np.ndarray:
    """A smooth picture with noise: neither flat nor pure noise."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = 127 + 100 * np.stack([np.sin(x / 7), np.cos(y / 5), np.sin((x + y) / 9)], -1)
    return np.clip(smooth + RNG.normal(0, 20, smooth.shape), 0, 255).astype(np.uint8)


def test_a_ragged_batch_equals_the_written_formula() -> None:
    pictures = [picture(48, 64), picture(64, 48), picture(10, 90)]
    targets = [(40, 53), (53, 40), (7, 60)]
    batch = GroundingDinoImageProcessor(size=SMALL)(pictures, return_tensors="pt")
    expected = [
        naive.normalise(naive.resize(torch.from_numpy(each).permute(2, 0, 1), target))
        for each, target in zip(pictures, targets, strict=True)
    ]
    pixel_values, pixel_mask = naive.pad(expected)
    assert list(batch) == ["pixel_mask", "pixel_values"]
    assert torch.equal(batch.pixel_values, pixel_values)
    assert torch.equal(batch.pixel_mask, pixel_mask)
    assert batch.pixel_values.is_contiguous()


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.int16, torch.int32, torch.int64, torch.uint8], ids=str
)
def test_every_dtype_equals_the_written_formula(dtype) -> None:
    image = torch.from_numpy(picture(30, 50)).permute(2, 0, 1).to(dtype)
    result = GroundingDinoImageProcessor(size=(21, 33))(image).pixel_values[0]
    assert torch.equal(result, naive.normalise(naive.resize(image, (21, 33))))


def test_booleans_become_true_where_any_light_falls() -> None:
    image = torch.zeros(1, 4, 4, dtype=torch.bool)
    image[0, 0, 0] = True
    assert resize(image, (2, 2)).tolist() == [[[True, False], [False, False]]]
    assert resize(torch.zeros(1, 4, 4, dtype=torch.bool), (2, 2)).any().item() is False


@pytest.mark.parametrize(("resample", "levels"), [(0, 0), (2, 1), (3, 8)])
@pytest.mark.parametrize("size", [(20, 31), (90, 130)], ids=["down", "up"])
def test_8_bit_without_the_native_kernel_differs_by_few_levels(monkeypatch, resample, levels, size) -> None:
    image = torch.from_numpy(picture(48, 64)).permute(2, 0, 1)
    native = resize(image, size, resample)
    monkeypatch.setattr(resize_module, "has_native_uint8_kernel", lambda: False)
    portable = resize(image, size, resample)
    exact = resize(image.float(), size, resample).clamp(0, 255).round()
    assert portable.dtype == torch.uint8
    assert torch.equal(portable.float(), exact)
    assert (native.int() - portable.int()).abs().max() <= levels


@pytest.mark.parametrize("size", [(20, 31), (90, 130), (48, 31), (20, 64)], ids=str)
@pytest.mark.parametrize("resample", [2, 3])
def test_how_a_picture_lies_in_memory_changes_nothing(resample, size) -> None:
    channels_last = torch.from_numpy(picture(48, 64)).permute(2, 0, 1)
    planes = channels_last.contiguous()
    grey = planes[:1].expand(3, -1, -1)
    assert torch.equal(resize(channels_last, size, resample), resize(planes, size, resample))
    assert torch.equal(resize(grey, size, resample), resize(grey.contiguous(), size, resample))


def test_unknown_filters_are_refused() -> None:
    with pytest.raises(ConfigError, match="resample=5 is not supported"):
        resize(torch.zeros(1, 4, 4), (2, 2), 5)


def test_masks_are_resized_to_the_nearest_pixel() -> None:
    mask = torch.tensor([[[1, 0], [0, 1]]], dtype=torch.uint8)
    large = resize_masks(mask, (4, 4))
    assert large.dtype == torch.bool
    assert torch.equal(large[0], torch.kron(mask[0], torch.ones(2, 2)).bool())
    assert resize_masks(mask[:0], (4, 4)).shape == (0, 4, 4)


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (33, 50), (100, 10), (40, 40), (1, 1)], ids=str)
def test_pixels_are_within_one_grey_level_of_the_pil_reference(shape) -> None:
    image = Image.fromarray(picture(*shape))
    ours = GroundingDinoImageProcessor(size=SMALL)(image, return_tensors="pt")
    theirs = GroundingDinoImageProcessorPil(size=SMALL)(image, return_tensors="pt")
    level = 1 / (255 * torch.tensor(naive.STD)[:, None, None])
    assert ours.pixel_values.shape == theirs.pixel_values.shape
    assert bool(((ours.pixel_values - theirs.pixel_values).abs() <= level * 1.001).all())
    assert torch.equal(ours.pixel_mask, theirs.pixel_mask)


@pytest.mark.parametrize(
    ("options", "dtype", "expected"),
    [
        ({"do_rescale": False, "do_normalize": False}, torch.uint8, lambda x: x),
        ({"do_normalize": False}, torch.float32, lambda x: x * (1 / 255)),
        ({"do_rescale": False, "image_mean": (1, 2, 3), "image_std": (4, 4, 4)}, torch.float32, None),
    ],
)
def test_steps_can_be_switched_off(options, dtype, expected) -> None:
    image = torch.from_numpy(picture(5, 6)).permute(2, 0, 1)
    result = GroundingDinoImageProcessor()(image, do_resize=False, **options).pixel_values[0]
    wanted = (image.float() - torch.tensor([1.0, 2, 3])[:, None, None]) / 4 if expected is None else expected(image)
    assert result.dtype == dtype
    assert torch.equal(result, wanted)


def test_double_precision_survives_rescaling_alone() -> None:
    image = torch.rand(3, 4, 5, dtype=torch.float64)
    result = GroundingDinoImageProcessor()(image, do_resize=False, do_normalize=False).pixel_values
    assert result.dtype == torch.float64


def test_padding_options() -> None:
    processor = GroundingDinoImageProcessor(do_resize=False)
    image = picture(5, 6)
    padded = processor(image, pad_size={"height": 8, "width": 9})
    assert padded.pixel_values.shape == (1, 3, 8, 9)
    assert padded.pixel_mask.sum() == 30
    assert padded.pixel_values[0, :, 5:].abs().max() == 0
    assert processor(image, pad_size=12).pixel_values.shape == (1, 3, 12, 12)
    assert list(processor(image, do_pad=False)) == ["pixel_values"]
    with pytest.raises(ImageError, match="Padding dimensions are negative: picture 0 is 5x6"):
        processor(image, pad_size=(4, 9))
    with pytest.raises(ImageError, match=r"Picture 1 is 7x6 and picture 0 is 5x6.*Use do_pad=True"):
        processor([image, picture(7, 6)], do_pad=False)


def test_a_size_means_the_same_in_the_constructor_and_in_a_call() -> None:
    image = picture(30, 50)
    for size in (20, (10, 12), {"shortest_edge": 20, "longest_edge": 30}):
        built = GroundingDinoImageProcessor(size=size)(image).pixel_values
        called = GroundingDinoImageProcessor()(image, size=size).pixel_values
        assert torch.equal(built, called)


def test_tensor_types() -> None:
    processor = GroundingDinoImageProcessor(size=SMALL)
    image = picture(30, 50)
    assert isinstance(processor(image).pixel_values, torch.Tensor)
    assert isinstance(processor(image, return_tensors="np").pixel_values, np.ndarray)
    with pytest.raises(ValueError, match="return_tensors='zz'"):
        processor(image, return_tensors="zz")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"sise": 8}, TypeError, "unexpected keyword argument 'sise'. Did you mean 'size'"),
        ({"zzz": 8}, TypeError, "unexpected keyword argument 'zzz'. It takes: "),
        ({"max_size": 8}, TypeError, "unexpected keyword argument 'max_size'"),
        ({"do_resize": 1}, ConfigError, "do_resize must be True or False, got 1"),
        ({"rescale_factor": None}, ConfigError, "needs a rescale_factor"),
        ({"rescale_factor": 0}, ConfigError, "rescale_factor must be a positive number"),
        ({"image_mean": None}, ConfigError, "needs image_mean and image_std"),
        ({"image_mean": "red"}, ConfigError, "image_mean must be a list of numbers"),
        ({"image_std": [1, 0, 1]}, ConfigError, "image_std must be positive"),
        ({"size": None}, ConfigError, "needs size and resample"),
        ({"size": {"shortest_edge": 8}}, ConfigError, "cannot be resized by size"),
        ({"resample": "bilinear"}, ConfigError, "resample must be an integer"),
        ({"pad_size": {"shortest_edge": 8}}, ConfigError, "pad_size must have 'height' and 'width'"),
        ({"format": "zz"}, ValueError, "'zz' is not a valid AnnotationFormat"),
    ],
    ids=str,
)
def test_bad_options(options, error, message) -> None:
    with pytest.raises(error, match=message):
        GroundingDinoImageProcessor()(picture(4, 4), **options)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="empty"),
        {"size": 42},
        {"size": 42, "max_size": 84},
        {"size": {"shortest_edge": 5, "longest_edge": 7}, "max_size": 9},
        {"size": (3, 4)},
        {"do_normalize": False},
        {"do_normalize": False, "do_convert_annotations": True},
        {"pad_and_return_pixel_mask": False},
        {"pad_and_return_pixel_mask": False, "do_pad": True},
        {"pad_size": (3, 4), "crop_size": 5, "do_convert_rgb": True, "resample": 3},
        {"image_mean": [0.5, 0.5, 0.5], "format": "coco_panoptic", "rescale_factor": 0.5},
    ],
    ids=str,
)
def test_options_are_stored_and_written_as_the_reference_does(options) -> None:
    ours, theirs = GroundingDinoImageProcessor(**options), GroundingDinoImageProcessorPil(**options)
    assert ours.to_json_string() == theirs.to_json_string()
    assert ours.do_pad == theirs.do_pad
    assert ours.size == dict(theirs.size)
    assert ours.image_mean == theirs.image_mean


def test_files_go_both_ways(tmp_path: Path) -> None:
    ours = GroundingDinoImageProcessor(size=SMALL, do_pad=False, image_mean=[0.1, 0.2, 0.3])
    ours.save_pretrained(tmp_path / "ours")
    theirs = GroundingDinoImageProcessorPil.from_pretrained(tmp_path / "ours")
    assert theirs.to_json_string() == ours.to_json_string()
    theirs.save_pretrained(tmp_path / "theirs")
    written = [(tmp_path / name / "preprocessor_config.json").read_bytes() for name in ("ours", "theirs")]
    assert written[0] == written[1]
    for place in (tmp_path / "theirs", str(tmp_path / "theirs"), tmp_path / "theirs" / "preprocessor_config.json"):
        assert GroundingDinoImageProcessor.from_pretrained(place).to_dict() == ours.to_dict()


def test_the_nested_file_wins(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 11, "feature_extractor_type": "Old"}))
    loaded = GroundingDinoImageProcessor.from_pretrained(tmp_path)
    assert loaded.size == {"shortest_edge": 11, "longest_edge": 1333}
    assert not hasattr(loaded, "feature_extractor_type")
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "X"}))
    assert GroundingDinoImageProcessor.from_pretrained(tmp_path).size.shortest_edge == 11
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": {"size": 22}}))
    assert GroundingDinoImageProcessor.from_pretrained(tmp_path).size.shortest_edge == 22
    assert GroundingDinoImageProcessor.from_pretrained(tmp_path / "processor_config.json").size.shortest_edge == 22


def test_loading_options(tmp_path: Path) -> None:
    GroundingDinoImageProcessor().save_pretrained(tmp_path)
    assert GroundingDinoImageProcessor.from_pretrained(tmp_path, size=42, local_files_only=True).size == {
        "shortest_edge": 42,
        "longest_edge": 1333,
    }
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'sizes'\. Did you mean 'size'"):
        GroundingDinoImageProcessor.from_pretrained(tmp_path, sizes=42)
    kept = GroundingDinoImageProcessor.from_dict({"size": 30, "foo": 4})
    assert (kept.foo, kept.to_dict()["foo"]) == (4, 4)  # type: ignore[attr-defined]


def test_a_folder_without_an_image_processor_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no image processor: neither 'preprocessor_config\.json' nor"):
        GroundingDinoImageProcessor.from_pretrained(tmp_path)


def test_the_fast_name_is_the_same_class_and_it_pickles() -> None:
    assert GroundingDinoImageProcessorFast is GroundingDinoImageProcessor
    twin = pickle.loads(pickle.dumps(GroundingDinoImageProcessor(size=7)))
    assert twin.to_dict() == GroundingDinoImageProcessor(size=7).to_dict()
    assert GroundingDinoImageProcessor.model_input_names == ["pixel_values", "pixel_mask"]
    assert repr(twin).startswith('GroundingDinoImageProcessor {\n  "do_convert_annotations": true')


def test_an_unclear_channel_axis_is_logged(caplog) -> None:
    with caplog.at_level(logging.WARNING, "groundling"):
        GroundingDinoImageProcessor(size=(4, 4))(np.zeros((3, 5, 3), np.uint8))
    assert "its first axis is taken as channels" in caplog.text
