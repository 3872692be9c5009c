"""The examples of the documented Grounding DINO page, with the import changed and a tiny stand-in for the hub id."""

import sys
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

from contracts.conftest import PUBLISHED, Run
from groundling import (
    AutoModel,
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoModel,
    GroundingDinoProcessor,
    MMGroundingDinoForObjectDetection,
)
from random_models import random_pair


@pytest.fixture
def image(desk: Path) -> Image.Image:
    with Image.open(desk / "000000039769.jpg") as picture:
        return picture.copy()


def test_zero_shot_detection(hub_cache: Path, image: Image.Image) -> None:
    processor = AutoProcessor.from_pretrained(PUBLISHED, cache_dir=hub_cache)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(PUBLISHED, cache_dir=hub_cache, device_map="auto")
    assert type(processor) is GroundingDinoProcessor
    assert type(model) is GroundingDinoForObjectDetection
    text_labels = [["a cat", "a remote control"]]
    inputs = processor(images=image, text=text_labels, return_tensors="pt").to(model.device)
    with torch.no_grad():
        outputs = model(**inputs)
    results = processor.post_process_grounded_object_detection(
        outputs, threshold=0.1, text_threshold=0.1, target_sizes=[(image.height, image.width)]
    )
    result = results[0]
    assert len(results) == 1
    assert len(result["boxes"]) == len(result["scores"]) == len(result["text_labels"]) > 0
    for box, score, label in zip(result["boxes"], result["scores"], result["text_labels"], strict=True):
        assert box.shape == (4,)
        assert 0.1 < score <= 1
        assert isinstance(label, str)


def test_the_older_threshold_name(hub_cache: Path, image: Image.Image) -> None:
    processor = AutoProcessor.from_pretrained(PUBLISHED, cache_dir=hub_cache)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(PUBLISHED, cache_dir=hub_cache).to("cpu")
    text = ["a cat", "a remote control"]
    inputs = processor(images=image, text=text, return_tensors="pt").to("cpu")
    with torch.no_grad():
        outputs = model(**inputs)
    sizes = [(image.height, image.width)]
    with pytest.warns(DeprecationWarning, match="box_threshold"):
        older = processor.post_process_grounded_object_detection(
            outputs, inputs.input_ids, box_threshold=0.4, text_threshold=0.3, target_sizes=sizes
        )
    newer = processor.post_process_grounded_object_detection(
        outputs, threshold=0.4, text_threshold=0.3, target_sizes=sizes
    )
    assert torch.equal(older[0]["boxes"], newer[0]["boxes"])
    assert older[0]["text_labels"] == newer[0]["text_labels"]
    with pytest.warns(FutureWarning, match="text_labels"):
        assert older[0]["labels"] == newer[0]["text_labels"]


def test_the_base_models_example(hub_cache: Path, image: Image.Image) -> None:
    processor = AutoProcessor.from_pretrained(PUBLISHED, cache_dir=hub_cache)
    model = AutoModel.from_pretrained(PUBLISHED, cache_dir=hub_cache)
    assert type(model) is GroundingDinoModel
    inputs = processor(images=image, text="a cat.", return_tensors="pt")
    outputs = model(**inputs)
    assert list(outputs.last_hidden_state.shape) == [1, model.config.num_queries, model.config.d_model]


def test_the_configurations_example() -> None:
    configuration = GroundingDinoConfig()
    with torch.device("meta"):
        model = GroundingDinoModel(configuration)
    assert model.config is configuration


def test_the_examples_run_as_a_script(run: Run) -> None:
    """As in a user's file: nothing of ours but the import line."""
    script = """
import torch
from PIL import Image
from groundling import AutoProcessor, AutoModelForZeroShotObjectDetection
model_id = "IDEA-Research/grounding-dino-tiny"
processor = AutoProcessor.from_pretrained(model_id)
model = AutoModelForZeroShotObjectDetection.from_pretrained(model_id)
image = Image.open("000000039769.jpg")
inputs = processor(images=image, text="a cat. a remote control.", return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
results = processor.post_process_grounded_object_detection(outputs, inputs.input_ids, threshold=0.4,
    text_threshold=0.3, target_sizes=[image.size[::-1]])
print(len(results))
"""
    result = run(sys.executable, "-W", "error", "-c", script)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "1"


def test_auto_classes_choose_the_family(tmp_path: Path) -> None:
    _, ours = random_pair("mm-grounding-dino", 0, tmp_path / "mm")
    assert type(AutoModelForZeroShotObjectDetection.from_pretrained(tmp_path / "mm")) is type(ours)
    assert type(ours) is MMGroundingDinoForObjectDetection
    assert AutoModelForZeroShotObjectDetection.from_config(ours.config).config is ours.config
    with pytest.raises(TypeError, match="from_pretrained"):
        AutoModel()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            {"num_querys": 3}, "unexpected keyword argument 'num_querys'. Did you mean 'num_queries'", id="typo"
        ),
        pytest.param({"load_in_8bit": True}, "unexpected keyword argument 'load_in_8bit'", id="unknown"),
    ],
)
def test_unknown_options_are_refused(options: dict[str, object], message: str, checkpoint: Path) -> None:
    with pytest.raises(TypeError, match=message):
        AutoModelForZeroShotObjectDetection.from_pretrained(checkpoint, **options)


def test_options_of_loading(checkpoint: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        half = AutoModelForZeroShotObjectDetection.from_pretrained(checkpoint, dtype="bfloat16")
        older = AutoModelForZeroShotObjectDetection.from_pretrained(checkpoint, torch_dtype=torch.float16)
        for harmless in ({"attn_implementation": "sdpa"}, {"low_cpu_mem_usage": True}, {"use_safetensors": True}):
            AutoModelForZeroShotObjectDetection.from_pretrained(checkpoint, **harmless)
        AutoProcessor.from_pretrained(checkpoint, use_fast=True)
        loud = AutoModelForZeroShotObjectDetection.from_pretrained(checkpoint, output_attentions=True)
    assert (half.dtype, older.dtype) == (torch.bfloat16, torch.float16)
    assert loud.config.output_attentions
    assert not half.training
    with pytest.raises(ValueError, match="dtype='int7' is not a floating-point type"):
        AutoModelForZeroShotObjectDetection.from_pretrained(checkpoint, dtype="int7")
