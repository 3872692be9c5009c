"""The detector: what the model is given, what becomes of its answer, and that no batch or thread changes it."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from groundling.checkpoint import convert
from groundling.configuration import GroundingDinoConfig
from groundling.configuration.presets import tiny
from groundling.errors import CheckpointError, ConfigError, GroundlingError, ImageError, PromptError
from groundling.model import GroundingDinoForObjectDetection
from groundling.pipeline.detector import Detector
from groundling.processing import GroundingDinoImageProcessor, GroundingDinoProcessor, GroundingDinoTokenizer
from groundling.structures.detections import Detections
from groundling.structures.features import ImageFeatures, Prediction, TextFeatures
from groundling.structures.prompt import Caption

LABELS = ["a cat", "a remote control"]


class StubModel(nn.Module):
    """Sees three boxes: query 0 is label token 1..2, query 1 tokens 4..5, query 2 nothing."""

    def __init__(self, logit=4.0):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.model = SimpleNamespace(text_backbone=nn.Module(), text_projection=nn.Module())
        self.config = tiny()
        self.logit = logit
        self.images = []
        self.texts = []

    def encode_image(self, pixel_values, pixel_mask=None):
        assert torch.is_inference_mode_enabled()
        self.images.append((tuple(pixel_values.shape), pixel_mask))
        token = pixel_values.flatten(1)[:, :1, None]
        valid = torch.ones_like(token[..., 0], dtype=torch.bool)
        return ImageFeatures(token, token, valid, torch.ones(len(token), 1, 2), torch.ones(1, 2), [(1, 1)], False)

    def encode_text(self, input_ids, attention_mask=None, token_type_ids=None):
        self.texts.append(input_ids.tolist())
        valid = torch.ones_like(input_ids, dtype=torch.bool)
        return TextFeatures(input_ids[..., None].float(), valid, valid[:, None] & valid[:, :, None], input_ids * 0)

    def ground(self, image, text):
        batch, tokens = text.valid_BT.shape
        assert len(image.token_BSD) == batch
        logits = torch.full((batch, 3, tokens), -9.0)
        logits[:, 0, 1:3] = self.logit
        logits[:, 1, 4:6] = self.logit / 2
        boxes = torch.tensor([[0.5, 0.5, 0.5, 1.0], [0.25, 0.25, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
        return Prediction(logits, boxes.expand(batch, 3, 4))


def picture(width=80, height=60, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels).resize((width, height), PIL.Image.Resampling.BILINEAR)


@pytest.fixture
def stub(processor):
    return Detector(StubModel(), processor)


@pytest.fixture(scope="module")
def detector(checkpoint):
    return Detector.from_pretrained(checkpoint)


def assert_close(found, expected):
    assert (found.labels, found.image_wh, found.source) == (expected.labels, expected.image_wh, expected.source)
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=1e-2)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    np.testing.assert_array_equal(found.label_ids, expected.label_ids)


# With a model whose answer is known


def test_no_pictures(stub):
    assert list(stub.detect_many([], LABELS)) == []
    assert stub.model.images == []


def test_nothing_found(stub):
    found = stub(picture(), LABELS, threshold=0.999)
    assert isinstance(found, Detections)
    assert len(found) == 0
    assert found.labels == tuple(LABELS)
    assert found.label_scores.shape == (0, 2)


def test_boxes_are_pixels_of_the_original_and_labels_are_the_callers(stub):
    found = stub(picture(80, 60), ["A Cat", "a REMOTE control"])
    assert [item.label for item in found] == ["A Cat", "a REMOTE control"]
    assert found[0].box_xyxy == (20.0, 0.0, 60.0, 60.0)
    assert found[1].box_xyxy == (0.0, 0.0, 40.0, 30.0)
    assert found.image_wh == (80, 60)
    assert found.source is None
    assert found[0].score == pytest.approx(torch.tensor(4.0).sigmoid().item())


def test_options_reach_the_selection(stub):
    assert len(stub(picture(), LABELS, threshold=0.0)) == 3
    assert len(stub(picture(), LABELS, threshold=0.0, top_k=1)) == 1
    assert len(stub(picture(), LABELS, threshold=0.0, nms_iou=0.1)) < 3
    one_word = stub(picture(), ["a cat", "cat remote"], aggregate="max")
    assert one_word[1].score > stub(picture(), ["a cat", "remote control big"], aggregate="mean", threshold=0)[1].score


def test_unpadded_pictures_need_no_mask_and_unlike_sizes_no_padding(stub):
    sizes = [(80, 60), (60, 80), (80, 60), (160, 120)]
    found = list(stub.detect_many([picture(*size) for size in sizes], LABELS, batch_size=4))
    assert [one.image_wh for one in found] == sizes
    assert stub.model.images == [((3, 3, 64, 85), None), ((1, 3, 85, 64), None)]


def test_a_processor_that_pads_gives_a_mask(processor):
    padding = GroundingDinoImageProcessor(
        size=dict(processor.image_processor.size), pad_size={"height": 128, "width": 128}
    )
    stub = Detector(StubModel(), GroundingDinoProcessor(padding, processor.tokenizer))
    list(stub.detect_many([picture(80, 60), picture(60, 80)], LABELS, batch_size=2))
    ((shape, mask),) = stub.model.images
    assert shape == (2, 3, 128, 128)
    assert mask.sum(dim=(1, 2)).tolist() == [64 * 85, 85 * 64]


def test_text_is_encoded_once_for_all_pictures(stub):
    list(stub.detect_many([picture()] * 3, LABELS))
    assert len(stub.model.texts) == 1


def test_pictures_are_read_as_results_are_asked_for(stub):
    read = []

    def pictures():
        for number in range(9):
            read.append(number)
            yield picture()

    stream = stub.detect_many(pictures(), LABELS, batch_size=2)
    assert read == []
    next(stream)
    assert read == [0, 1]
    assert not torch.is_inference_mode_enabled()


def test_not_a_number_is_an_error(processor):
    with pytest.raises(GroundlingError, match=r"output is not a number \(NaN\).* use bfloat16 or float32"):
        Detector(StubModel(float("nan")), processor)(picture(), LABELS)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        pytest.param(lambda d: d(picture(), []), PromptError, "There are no labels", id="no labels"),
        pytest.param(lambda d: d(picture(), ""), PromptError, "names nothing to find", id="empty text"),
        pytest.param(lambda d: d(picture(), [" "]), PromptError, "Label 0 is blank", id="blank label"),
        pytest.param(lambda d: d(picture(), ["a " * 300]), PromptError, "303 tokens, but", id="too long"),
        pytest.param(lambda d: d.prompt(["a cat"] * 99), PromptError, "take 2 prompts of at most 256", id="one prompt"),
        pytest.param(lambda d: d("nowhere.png", LABELS), ImageError, "no picture file 'nowhere.png'", id="no file"),
        pytest.param(lambda d: d("http://a.b/c.png", LABELS), ImageError, "allow_url=True", id="URL"),
        pytest.param(lambda d: d([picture()], LABELS), ImageError, "cannot be a list", id="list"),
        pytest.param(lambda d: d(picture(), LABELS, threshold=2), ConfigError, "threshold", id="threshold"),
        pytest.param(lambda d: d(picture(), LABELS, top_k=0), ConfigError, "top_k", id="top_k"),
        pytest.param(lambda d: d(picture(), LABELS, nms_iou=2), ConfigError, "nms_iou|iou", id="nms_iou"),
        pytest.param(lambda d: d(picture(), LABELS, aggregate="sum"), ConfigError, "aggregate='sum'", id="aggregate"),
        pytest.param(lambda d: d(picture(), LABELS, thresholds=1), TypeError, "thresholds", id="misspelt"),
        pytest.param(
            lambda d: d.detect_many([picture()], LABELS, batch_size=0),
            ConfigError,
            "at least 1, got 0",
            id="batch size",
        ),
        pytest.param(
            lambda d: d.detect_many("a.png", LABELS), TypeError, "iterable of pictures, got one str", id="one path"
        ),
        pytest.param(lambda d: d.detect_many([], []), PromptError, "There are no labels", id="no labels, no pictures"),
    ],
)
def test_mistakes(stub, call, error, message):
    with pytest.raises(error, match=message):
        call(stub)


# With a model of random weights


def test_equal_to_the_documented_way(detector, processor):
    image = picture(90, 60)
    inputs = processor(images=image, text=[LABELS], return_tensors="pt")
    with torch.no_grad():
        outputs = detector.model(**inputs)
    documented = processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=[(60, 90)])[0]
    found = detector(image, LABELS, threshold=0.0)
    assert len(found) == len(documented["boxes"])
    boxes = documented["boxes"].clamp(torch.zeros(4), torch.tensor([90.0, 60, 90, 60])).numpy()
    for box in found.boxes_xyxy:
        assert np.abs(boxes - box).max(axis=1).min() < 1e-2


@pytest.mark.parametrize("batch_size", [1, 2, 3, 50])
def test_batches_change_nothing(detector, batch_size):
    pictures = [picture(80, 60, 0), picture(60, 90, 1), picture(80, 60, 2), picture(160, 120, 3), picture(33, 77, 4)]
    found = list(detector.detect_many(pictures, LABELS, batch_size=batch_size, threshold=0.1))
    assert len(found) == len(pictures)
    for one, image in zip(found, pictures, strict=True):
        assert_close(one, detector(image, LABELS, threshold=0.1))


@pytest.mark.parametrize("batch_size", [1, 2, 6])
def test_each_picture_may_have_a_prompt_of_its_own(detector, batch_size):
    pictures = [picture(80, 60, 0), picture(60, 90, 1), picture(80, 60, 2), picture(80, 60, 3)]
    sentence = Caption("a red bird on a car", (((2, 10),), ((16, 19),)))
    prompts = [LABELS, ["x"], detector.prompt(["a dog", "a red bird", "somebody's very small house"]), sentence]
    found = list(detector.detect_many(pictures, prompts, batch_size=batch_size, threshold=0))
    for one, image, prompt in zip(found, pictures, prompts, strict=True):
        assert len(one) > 0
        assert one.labels == detector.prompt(prompt).labels
        assert_close(one, detector(image, prompt, threshold=0))


def test_one_picture_takes_one_prompt(detector):
    with pytest.raises(PromptError, match=r"There are 2 prompts for 1 pictures. Give one for each"):
        detector(picture(), [["a cat"], ["a dog"]])


@pytest.mark.parametrize(
    "options", [{"threshold": 30}, {"threshold": float("nan")}, {"top_k": 0}, {"nms_iou": -1}, {"aggregate": "sum"}]
)
def test_options_are_checked_before_anything_is_computed(stub, options):
    with pytest.raises(ConfigError):
        stub.detect_many([picture()], LABELS, **options)
    assert stub.model.images == []


@pytest.mark.parametrize("images", [np.zeros((9, 9, 3), np.uint8), PIL.Image.new("RGB", (9, 9)), "a.png"])
def test_one_picture_is_not_many(stub, images):
    with pytest.raises(TypeError, match=r"got one .* Put it into a list"):
        stub.detect_many(images, LABELS)


@pytest.mark.parametrize("batch_size", [0, 1.5, "2", None])
def test_bad_batch_sizes(stub, batch_size):
    with pytest.raises(ConfigError, match="batch_size must be a number of at least 1"):
        stub.detect_many([picture()], LABELS, batch_size=batch_size)


@pytest.mark.parametrize("labels", [None, 3])
def test_labels_of_another_kind(stub, labels):
    with pytest.raises(PromptError, match="must be a list of names, got"):
        stub(picture(), labels)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_many_prompts_as_pictures(detector, count):
    with pytest.raises(PromptError, match="Give one for each"):
        list(detector.detect_many([picture()] * count, [["a"], ["b"]]))


@pytest.mark.parametrize("size", [(1, 1), (5000, 100), (100, 5000), (1, 4000)], ids=str)
def test_pictures_of_extreme_shape(detector, size):
    found = detector(picture(*size), LABELS, threshold=0)
    assert len(found) > 0
    assert found.image_wh == size
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= [*size, *size]).all()


def test_every_form_of_a_picture_gives_the_same(detector, tmp_path):
    image = picture(40, 30)
    image.save(tmp_path / "a.png")
    pixels = np.asarray(image)
    expected = detector(image, LABELS, threshold=0)
    for form in (
        pixels,
        pixels / 255,
        pixels.astype(np.uint16) * 257,
        torch.from_numpy(pixels.copy()).permute(2, 0, 1),
        (tmp_path / "a.png").read_bytes(),
    ):
        assert detector(form, LABELS, threshold=0) == expected
    from_path = detector(tmp_path / "a.png", LABELS, threshold=0)
    assert from_path.source == os.fspath(tmp_path / "a.png")
    assert np.array_equal(from_path.boxes_xyxy, expected.boxes_xyxy)


def test_every_form_of_a_prompt_gives_the_same(detector):
    image, expected = picture(), detector(picture(), LABELS, threshold=0)
    sentence = Caption("a cat. a remote control.", (((0, 5),), ((7, 23),)))
    for form in ("a cat. a remote control.", "a cat . a remote control", tuple(LABELS), sentence):
        assert detector(image, form, threshold=0) == expected
    assert detector(image, detector.prompt(LABELS), threshold=0) == expected


def test_a_prompt_for_a_larger_model_is_refused(detector, processor):
    larger = StubModel()
    larger.config.max_text_len = 1000
    prompt = Detector(larger, processor).prompt(["a cat"] * 99)
    with pytest.raises(PromptError, match="has 299 tokens, but the model reads at most 256 tokens"):
        detector.prompt(prompt)


def test_threads_do_not_disturb_each_other(detector):
    prompts = [["a cat"], ["a dog", "a red bird"], LABELS, ["x"]] * 3
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda labels: detector(picture(), labels, threshold=0), prompts))
    for labels, found in zip(prompts, parallel, strict=True):
        assert_close(found, detector(picture(), labels, threshold=0))


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16, "float16", "float32"])
def test_number_formats(checkpoint, dtype):
    detector = Detector.from_pretrained(checkpoint, dtype=dtype)
    assert str(detector.model.dtype).endswith(str(dtype).removeprefix("torch."))
    found = detector(picture(), LABELS, threshold=0)
    assert (found.scores.dtype, len(found)) == (np.float32, tiny().num_queries)


def test_the_model_is_switched_to_evaluation(checkpoint, processor):
    model = Detector.from_pretrained(checkpoint).model.train()
    assert not Detector(model, processor).model.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            {"dtype": "int8"}, "dtype='int8' is not a floating-point type. Use float32, float16, bfloat16", id="dtype"
        ),
        pytest.param({"dtype": torch.int8}, "dtype=torch.int8 is not a floating-point type", id="torch dtype"),
        pytest.param({"device": "gpu"}, "The device 'gpu' cannot be used", id="device name"),
        pytest.param({"device": "cuda:99"}, "The device 'cuda:99' cannot be used", id="device number"),
    ],
)
def test_bad_places_are_refused_before_loading(options, message):
    with pytest.raises(ConfigError, match=message):
        Detector.from_pretrained("./nothing is loaded", **options)


def test_a_single_file_takes_the_published_processor(checkpoint, tmp_path):
    convert(checkpoint, tmp_path / "model.pth")
    detector = Detector.from_pretrained(tmp_path / "model.pth")
    assert dict(detector.processor.image_processor.size) == {"shortest_edge": 800, "longest_edge": 1333}
    assert detector.prompt(LABELS).token_ids[0] == 101


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        pytest.param(["processor_config.json"], "has no image processor", id="image processor"),
        pytest.param(["tokenizer.json"], "has no tokenizer", id="tokenizer"),
        pytest.param(["model.safetensors"], "has no weights", id="weights"),
    ],
)
def test_an_incomplete_folder_is_refused(checkpoint, tmp_path, missing, message):
    folder = tmp_path / "model"
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns(*missing))
    with pytest.raises(CheckpointError, match=message):
        Detector.from_pretrained(folder)


def test_the_tokenizer_of_another_model_is_refused(tiny_detector, processor, tmp_path):
    words = [f"[unused{i}]" for i in range(1030)]
    for index, word in ((0, "[PAD]"), (100, "[UNK]"), (101, "[CLS]"), (102, "[SEP]"), (103, "[MASK]"), (1011, ".")):
        words[index] = word
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    other = GroundingDinoProcessor(processor.image_processor, GroundingDinoTokenizer.from_pretrained(tmp_path))
    with pytest.raises(CheckpointError, match=r"the ids \(101, 102, 1011, 100\), but the model needs \(101, 102, 1012"):
        Detector(tiny_detector, other)
    values = tiny().to_dict() | {"text_config": tiny().text_config.to_dict() | {"vocab_size": 1100}}
    del values["model_type"]
    small = GroundingDinoForObjectDetection(GroundingDinoConfig(**values))
    with pytest.raises(CheckpointError, match="The tokenizer has 30522 words, but the model knows 1100"):
        Detector(small, processor)
