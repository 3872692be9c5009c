import json
import pickle
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, BertTokenizer
from transformers import GroundingDinoProcessor as ReferenceProcessor
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

from groundling.errors import CheckpointError, DatasetError, PromptError
from groundling.processing import GroundingDinoImageProcessor, GroundingDinoProcessor, GroundingDinoTokenizer
from groundling.processing.processor import prepare_text
from groundling.processing.tokenizer import BUNDLED_VOCABULARY

SMALL = {"shortest_edge": 40, "longest_edge": 60}
IMAGE = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)


def make(**settings) -> GroundingDinoProcessor:
    return GroundingDinoProcessor(GroundingDinoImageProcessor(size=SMALL), GroundingDinoTokenizer.default(**settings))


def make_reference(**settings) -> ReferenceProcessor:
    tokenizer = BertTokenizer(vocab=str(BUNDLED_VOCABULARY), **settings)
    return ReferenceProcessor(GroundingDinoImageProcessorPil(size=SMALL), tokenizer)


OURS, THEIRS = make(), make_reference()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param([], id="empty"),
        pytest.param([[]], id="empty lists"),
        "",
        [""],
        "a cat.",
        "A Cat and  a DOG",
        ["a cat"],
        ["  A  Cat ", "dOG\n"],
        ["a cat", "a remote control"],
        [["a cat"], ["a dog", "A bird"]],
        ["a cat. a dog.", "a car."],
        ["a cat.", "a dog"],
        ["st. bernard", "cat"],
        ("a cat", "a dog"),
        [("a cat",), ["a dog"]],
    ],
    ids=repr,
)
def test_texts_become_the_same_ids_as_in_the_reference(text) -> None:
    ours, theirs = OURS(text=text), THEIRS(text=text)
    assert {**ours} == {**theirs}
    assert list(ours) == list(theirs) == ["input_ids", "token_type_ids", "attention_mask"]


def test_labels_become_the_text_that_the_model_was_trained_on() -> None:
    assert prepare_text(["  A  Cat ", "dOG\n"]) == "a  cat. dog."


def test_common_options_reach_both_parts() -> None:
    batch = OURS(IMAGE, "a cat.", common_kwargs={"return_tensors": "np"})
    assert [type(value) for value in batch.values()] == [np.ndarray] * 5


def test_a_tuple_of_texts_is_taken_like_a_list() -> None:
    assert prepare_text(("a cat. a dog.", "a car.")) == ["a cat. a dog.", "a car."]


@pytest.mark.parametrize("text", [3, ["a", 3], [["a"], "b"], [["a."], ["b"]], {"a": 1}], ids=repr)
def test_other_kinds_of_text_are_refused(text) -> None:
    with pytest.raises(PromptError, match="`text` must be a string or list of strings"):
        OURS(text=text)


@pytest.mark.parametrize(
    ("call", "keys"),
    [
        ({"images": IMAGE}, ["pixel_mask", "pixel_values"]),
        (
            {"images": IMAGE, "text": "a cat."},
            ["input_ids", "token_type_ids", "attention_mask", "pixel_mask", "pixel_values"],
        ),
    ],
)
def test_keys_and_shapes_equal_the_reference(call, keys) -> None:
    ours, theirs = OURS(**call, return_tensors="pt"), THEIRS(**call, return_tensors="pt")
    assert list(ours) == list(theirs) == keys
    for key in keys:
        assert (ours[key].shape, ours[key].dtype) == (theirs[key].shape, theirs[key].dtype)


def test_labels_with_several_images_stay_one_prompt() -> None:
    batch = OURS([IMAGE, IMAGE], ["a cat", "a dog"], return_tensors="pt")
    assert (batch.input_ids.shape[0], batch.pixel_values.shape[0]) == (1, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": True, "return_tensors": "pt"},
        {"text_kwargs": {"padding": "max_length", "max_length": 9}},
        {"common_kwargs": {"return_tensors": "np"}, "padding": True},
        {"return_token_type_ids": False, "padding": True},
        {"images_kwargs": {"size": {"height": 5, "width": 6}}, "padding": True},
        {"do_resize": False, "text_kwargs": {"padding": True}, "return_tensors": "pt"},
    ],
    ids=str,
)
def test_options_reach_their_part_as_in_the_reference(options) -> None:
    call = {"images": [IMAGE, IMAGE], "text": ["a cat.", "a remote control."]}
    ours, theirs = OURS(**call, **options), THEIRS(**call, **options)
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert np.shape(ours[key]) == np.shape(value)
        if key not in ("pixel_values",):
            np.testing.assert_array_equal(np.asarray(ours[key]), np.asarray(value))


def test_settings_of_the_tokenizer_are_call_defaults() -> None:
    ours, theirs = (build(padding="max_length", max_length=12) for build in (make, make_reference))
    assert {**ours(text="a cat.")} == {**theirs(text="a cat.")}
    assert len(ours(text="a cat.")["input_ids"]) == 12
    assert len(ours(text="a cat.", padding=False)["input_ids"]) == 5


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        pytest.param({}, PromptError, "You need to provide at least one input", id="empty"),
        ({"text": "a", "paddin": True}, TypeError, "'paddin'. Did you mean 'padding'"),
        ({"text": "a", "text_kwargs": {"foo": 1}}, TypeError, "text_kwargs of .* unexpected keyword argument 'foo'"),
        ({"images": IMAGE, "images_kwargs": {"padding": 1}}, TypeError, "images_kwargs of .* argument 'padding'"),
        ({"text": "a", "common_kwargs": {"foo": 1}}, TypeError, "common_kwargs of .* argument 'foo'"),
        (
            {"text": "a", "padding": True, "text_kwargs": {"padding": True}},
            ValueError,
            "Keyword argument padding was passed two times",
        ),
        ({"text": "a", "videos": [1]}, TypeError, "videos and audio are not supported"),
        ({"text": "a", "annotations": {}}, TypeError, "annotations without images"),
        ({"images": IMAGE, "annotations": {}}, DatasetError, "Invalid COCO detection annotations"),
        ({"text": ["a.", "a b."], "return_tensors": "pt"}, PromptError, "padding=True"),
    ],
)
def test_bad_calls(call, error, message) -> None:
    with pytest.raises(error, match=message):
        OURS(**call)


def test_annotations_go_through_the_processor() -> None:
    annotation = {"image_id": 1, "annotations": [{"bbox": [5, 5, 10, 10], "area": 100, "category_id": 3}]}
    batch = OURS(IMAGE, "a cat.", annotations=annotation, return_tensors="pt")
    direct = OURS.image_processor(IMAGE, annotation, return_tensors="pt")
    assert list(batch) == [
        "input_ids",
        "token_type_ids",
        "attention_mask",
        "pixel_mask",
        "pixel_values",
        "labels",
    ]
    assert torch.equal(batch.labels[0].boxes, direct.labels[0].boxes)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "missing 2 required positional arguments"),
        (
            (GroundingDinoTokenizer.default(), GroundingDinoImageProcessor()),
            "Received a GroundingDinoTokenizer for arg",
        ),
        ((GroundingDinoImageProcessor(), None), "Received a NoneType for argument tokenizer"),
    ],
)
def test_both_parts_are_needed(args, message) -> None:
    with pytest.raises(TypeError, match=message):
        GroundingDinoProcessor(*args)


def test_files_go_both_ways(tmp_path: Path) -> None:
    OURS.save_pretrained(tmp_path / "ours")
    THEIRS.save_pretrained(tmp_path / "theirs")
    for name in ("processor_config.json",):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {
        path.name for path in (tmp_path / "theirs").iterdir()
    }
    for place in ("ours", "theirs"):
        for load in (AutoProcessor.from_pretrained, GroundingDinoProcessor.from_pretrained):
            loaded = load(tmp_path / place)
            assert dict(loaded.image_processor.size) == SMALL
            assert loaded(text="A cat. 猫")["input_ids"] == OURS(text="A cat. 猫")["input_ids"]


def test_the_older_layout_is_read(tmp_path: Path) -> None:
    THEIRS.image_processor.save_pretrained(tmp_path)
    THEIRS.tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "preprocessor_config.json").exists()
    loaded = GroundingDinoProcessor.from_pretrained(tmp_path, size=42, do_lower_case=False, local_files_only=True)
    assert loaded.image_processor.size.shortest_edge == 42
    assert loaded(text="A cat.")["input_ids"] == [101, 100, 4937, 1012, 102]
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'do_lower'\. Did you mean 'do_lower_case'"):
        GroundingDinoProcessor.from_pretrained(tmp_path, do_lower=False)


def test_a_checkpoint_without_a_tokenizer_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no image processor"):
        GroundingDinoProcessor.from_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match=r"has no tokenizer.*GroundingDinoTokenizer.default\(\)"):
        GroundingDinoProcessor.from_pretrained(tmp_path)


def test_it_pickles() -> None:
    twin = pickle.loads(pickle.dumps(OURS))
    assert twin(text="a cat.")["input_ids"] == [101, 1037, 4937, 1012, 102]
    assert repr(twin).startswith("GroundingDinoProcessor:\n- image_processor: GroundingDinoImageProcessor {")
    assert OURS.model_input_names == THEIRS.model_input_names


TEXTS = ["a cat. a remote control.", "tofu. a dog."]
NUM_COLUMNS = 16


def random_outputs(seed: int, dtype=torch.float32) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(seed)
    input_ids = OURS(text=TEXTS, padding=True, return_tensors="pt").input_ids
    logits = torch.randn(2, 30, NUM_COLUMNS, generator=generator) * 2
    logits[:, :, input_ids.shape[1] :] = -torch.inf
    boxes = torch.rand(2, 30, 4, generator=generator)
    return SimpleNamespace(logits=logits.to(dtype), pred_boxes=boxes.to(dtype), input_ids=input_ids)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(
    "sizes",
    [None, [(480, 640), (20, 30)], torch.tensor([[480, 640], [20, 30]]), torch.tensor([[42.4, 11.5], [47.1, 25.5]])],
    ids=["fractions", "list", "integers", "floats"],
)
@pytest.mark.parametrize(("threshold", "text_threshold"), [(0.25, 0.25), (0.9, 0.3), (0.5, 0.99)])
def test_grounded_results_equal_the_reference(dtype, sizes, threshold, text_threshold) -> None:
    outputs = random_outputs(0, dtype)
    call = {"threshold": threshold, "text_threshold": text_threshold, "target_sizes": sizes}
    ours = OURS.post_process_grounded_object_detection(outputs, **call)
    theirs = THEIRS.post_process_grounded_object_detection(outputs, **call)
    assert sum(len(each["scores"]) for each in ours) > 0
    for mine, other in zip(ours, theirs, strict=True):
        assert list(mine) == list(other) == ["scores", "boxes", "text_labels", "labels"]
        assert mine["text_labels"] == other["text_labels"]
        for key in ("scores", "boxes"):
            assert mine[key].dtype == other[key].dtype
            assert torch.equal(mine[key], other[key])


def test_the_prompts_ids_can_be_given_and_positions_keep_their_order() -> None:
    outputs = random_outputs(1)
    expected = OURS.post_process_grounded_object_detection(outputs, None, 0.3, 0.4, [(4, 4), (5, 5)])
    ids, outputs.input_ids = outputs.input_ids, None
    for given in (ids, ids.tolist()):
        found = OURS.post_process_grounded_object_detection(outputs, given, 0.3, 0.4, ((4, 4), (5, 5)), "ignored")
        for mine, other in zip(found, expected, strict=True):
            assert mine["text_labels"] == other["text_labels"]
            assert torch.equal(mine["boxes"], other["boxes"])
    with pytest.raises(TypeError, match="There are no input_ids"):
        OURS.post_process_grounded_object_detection(outputs)
    with pytest.raises(ValueError, match="2 images in the outputs, but only 1 rows"):
        OURS.post_process_grounded_object_detection(outputs, ids[:1])


def test_nothing_found_gives_lists_of_length_0() -> None:
    for result in OURS.post_process_grounded_object_detection(random_outputs(2), threshold=1.0):
        assert (len(result["scores"]), result["boxes"].shape, result["text_labels"]) == (0, (0, 4), [])


def test_a_kept_box_without_words_has_an_empty_label() -> None:
    outputs = random_outputs(3)
    result = OURS.post_process_grounded_object_detection(outputs, threshold=0.2, text_threshold=1.0)[0]
    assert set(result["text_labels"]) == {""}


def test_the_older_name_of_the_threshold_still_works() -> None:
    outputs = random_outputs(4)
    expected = OURS.post_process_grounded_object_detection(outputs, threshold=0.95)
    with pytest.warns(DeprecationWarning, match="`box_threshold` is the older name of `threshold`"):
        found = OURS.post_process_grounded_object_detection(outputs, outputs.input_ids, box_threshold=0.95)
    assert [len(each["scores"]) for each in found] == [len(each["scores"]) for each in expected]
    assert len(found[0]["scores"]) < 30


def test_reading_labels_warns_and_looking_at_the_rest_does_not() -> None:
    result = OURS.post_process_grounded_object_detection(random_outputs(5))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = result["text_labels"]
        assert dict(result.items())["labels"] is words
    with pytest.warns(FutureWarning, match="Use `text_labels`"):
        assert result["labels"] is words
    with pytest.warns(FutureWarning, match="Use `text_labels`"):
        assert result.get("labels") is words
    assert result.get("nothing", 3) == 3


def test_text_is_decoded_through_the_processor() -> None:
    assert OURS.decode([1037, 4937]) == "a cat"
    assert OURS.batch_decode([[1037], [4937]], skip_special_tokens=True) == ["a", "cat"]
