"""Recorded models: the same results, graphs for few shapes only, and nothing that outlives its turn."""

import copy
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import PIL.Image
import pytest
import torch
from torch.utils._pytree import tree_leaves

from groundling.ops.features import pad_text
from groundling.pipeline import cuda_graphs
from groundling.pipeline.cuda_graphs import GraphCache, replay_graphs
from groundling.pipeline.detector import Detector
from groundling.processing.prompt import collate_prompts

LABELS = ["a cat", "a remote control"]
OTHER_LABELS = ["a dog", "a red bird", "somebody's very small house"]

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


class StandIn:
    """Captures on a CPU: like a graph, it computes into the memory of its first result."""

    def __init__(self):
        self.captured = 0
        self.turns = 0
        self.taken = False

    def __call__(self, function):
        self.captured += 1
        result = function()

        def replay():
            assert self.taken
            for own, new in zip(tree_leaves(result), tree_leaves(function()), strict=True):
                if isinstance(own, torch.Tensor):
                    own.copy_(new)
            return result

        return replay

    @contextmanager
    def turn(self):
        assert not self.taken, "two threads at a time"
        self.taken = True
        self.turns += 1
        yield
        self.taken = False


@pytest.fixture
def capture():
    return StandIn()


def capture_constant(self, function):
    """Capture a function that is not called again."""
    self.captured += 1
    result = function()
    return lambda: result


def add(x, y=0):
    return x + y


def picture(width=80, height=60, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


def assert_close(found, expected, atol=1e-4):
    assert found.labels == expected.labels
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=100 * atol)
    np.testing.assert_allclose(found.scores, expected.scores, atol=atol)


# The cache of graphs


def test_nothing_is_recorded_for_a_shape_seen_once(capture):
    cache = GraphCache(capture)
    for size in range(5):
        assert cache.run("add", add, torch.ones(size)).shape == (size,)
    assert (capture.captured, capture.turns) == (0, 0)


def test_the_second_time_is_recorded_and_later_ones_replayed(capture):
    cache = GraphCache(capture)
    for number in range(5):
        assert cache.run("add", add, torch.full((2,), float(number)), y=1).tolist() == [number + 1] * 2
    assert (capture.captured, capture.turns) == (1, 4)


def test_results_are_not_overwritten_and_inputs_not_changed(capture):
    cache, one, two = GraphCache(capture), torch.ones(2), torch.full((2,), 2.0)
    results = [cache.run("add", add, x) for x in (one, one, two, one)]
    assert [result.tolist() for result in results] == [[1, 1], [1, 1], [2, 2], [1, 1]]
    assert (one.tolist(), two.tolist()) == ([1, 1], [2, 2])


@pytest.mark.parametrize(
    "call",
    [
        lambda run, x: run("other", add, x),
        lambda run, x: run("add", add, x[:1]),
        lambda run, x: run("add", add, x.double()),
        lambda run, x: run("add", add, x, 1),
        lambda run, x: run("add", add, x=x),
    ],
    ids=["state", "shape", "type", "plain value", "name"],
)
def test_what_differs_has_a_graph_of_its_own(capture, call):
    cache, x = GraphCache(capture), torch.ones(2)
    for _ in range(2):
        cache.run("add", add, x)
    call(cache.run, x)
    assert (capture.captured, capture.turns) == (1, 1)


def test_the_graphs_used_last_are_kept(capture):
    cache = GraphCache(capture, most=2)
    for size in (1, 1, 2, 2, 1, 3, 3):  # 2 is dropped, 1 was used after it
        cache.run("add", add, torch.ones(size))
    assert capture.captured == 3
    cache.run("add", add, torch.ones(1))
    cache.run("add", add, torch.ones(3))
    assert capture.captured == 3
    cache.run("add", add, torch.ones(2))
    assert capture.captured == 4


def test_a_function_within_a_recorded_one_is_part_of_it(capture, monkeypatch):
    cache = GraphCache(capture)
    monkeypatch.setattr(StandIn, "__call__", capture_constant)

    def outer(x):
        return cache.run("inner", add, x, 1) * 2

    assert [cache.run("outer", outer, torch.ones(1)).item() for _ in range(4)] == [4.0] * 4
    assert capture.captured == 1


def test_a_failed_recording_is_tried_again(capture):
    cache = GraphCache(capture)
    cache.run("add", add, torch.ones(1))
    with pytest.raises(TypeError, match="unsupported operand"):
        cache.run("add", lambda x: None + x, torch.ones(1))
    assert cache.run("add", add, torch.ones(1)).tolist() == [1]


def test_threads_take_turns(capture):
    cache = GraphCache(capture)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda n: cache.run("add", add, torch.full((9,), float(n)), y=1), range(200)))
    assert [result[0].item() for result in results] == [n + 1 for n in range(200)]
    assert capture.captured == 1


# A model that is replayed


@pytest.fixture
def detector(checkpoint):
    return Detector.from_pretrained(checkpoint)


@pytest.fixture
def replayed(checkpoint, capture):
    detector = Detector.from_pretrained(checkpoint)
    replay_graphs(detector.model, capture)
    return detector


def test_pictures_and_prompts_give_the_same(detector, replayed, capture):
    asked = [(picture(80, 60, 0), LABELS), (picture(60, 90, 1), OTHER_LABELS), (picture(80, 60, 2), OTHER_LABELS)]
    expected = [detector(image, labels, threshold=0) for image, labels in asked]
    for _ in range(3):
        for (image, labels), one in zip(asked, expected, strict=True):
            assert_close(replayed(image, labels, threshold=0), one)
    assert capture.captured == 2 + 2  # sizes, and sizes with one bucket of prompts; prompts are remembered


def test_prompts_of_one_bucket_share_a_graph(replayed, capture):
    image = replayed.encode_images([replayed.prepare(picture())])
    texts = [replayed.encode_text([replayed.prompt(labels)]) for labels in (["a cat"], LABELS, ["a dog on a car"])]
    capture.captured = 0
    predictions = [replayed.ground(image, text) for text in texts]
    assert capture.captured == 1
    for text, prediction in zip(texts, predictions, strict=True):
        assert prediction.logit_BQT.shape[-1] == text.token_BTD.shape[1]


def test_padded_text_changes_nothing(detector):
    model = detector.model
    with torch.no_grad():
        image = model.encode_image(torch.randn(2, 3, 64, 96))
        prompts = [detector.prompt(labels) for labels in (LABELS, ["x"])]
        text = model.encode_text(**collate_prompts(prompts))
        expected, actual = model.ground(image, text), model.ground(image, pad_text(text, 16))
    length = text.token_BTD.shape[1]
    assert actual.logit_BQT.shape[-1] == 16
    assert actual.logit_BQT[..., length:].isneginf().all()
    torch.testing.assert_close(actual.logit_BQT[..., :length], expected.logit_BQT, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(actual.box_BQ4, expected.box_BQ4, rtol=0, atol=1e-4)
    assert pad_text(pad_text(text, 16), 16).valid_BT.shape[1] == 16


def test_training_and_copies_take_the_plain_methods(replayed, capture):
    inputs = collate_prompts([replayed.prompt(LABELS)])
    for _ in range(3):
        assert replayed.model.encode_text(**inputs).token_BTD.requires_grad
    with torch.no_grad():
        other = copy.deepcopy(replayed.model)
        for _ in range(3):
            other.encode_text(**inputs)
        replayed.model.train()
        for _ in range(3):
            replayed.model.encode_text(**inputs)
    assert capture.captured == 0


def test_a_converted_model_is_recorded_anew(replayed, capture):
    for _ in range(3):
        replayed.encode_text([replayed.prompt(LABELS)])
    replayed.model.double()
    assert replayed.encode_text([replayed.prompt(LABELS)]).token_BTD.dtype == torch.float64
    assert capture.captured == 1


def test_replay_without_inference_mode(replayed):
    inputs = collate_prompts([replayed.prompt(LABELS)])
    for context in (torch.inference_mode, torch.no_grad):
        for _ in range(3):
            with context():
                text = replayed.model.encode_text(**inputs)
            assert text.token_BTD.is_inference() == (context is torch.inference_mode)


def test_threads_share_a_detector(detector, replayed):
    prompts = [["a cat"], OTHER_LABELS, LABELS] * 4
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda labels: replayed(picture(), labels, threshold=0), prompts))
    for labels, found in zip(prompts, parallel, strict=True):
        assert_close(found, detector(picture(), labels, threshold=0))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_a_cpu_nothing_changes(checkpoint, caplog, dtype):
    with caplog.at_level(logging.WARNING):
        detector = Detector.from_pretrained(checkpoint, device="cpu", dtype=dtype, compile=True)
    assert "compile=True changes nothing on the device 'cpu'" in caplog.text
    assert "ground" not in vars(detector.model)


# On a GPU


@needs_cuda
def test_cuda_graphs_give_the_same(checkpoint, monkeypatch):
    plain = Detector.from_pretrained(checkpoint, device="cuda", dtype="float32")
    recorded = []
    record = cuda_graphs.CudaCapture.__call__
    monkeypatch.setattr(
        cuda_graphs.CudaCapture, "__call__", lambda self, function: (recorded.append(1), record(self, function))[1]
    )
    faster = Detector.from_pretrained(checkpoint, device="cuda", dtype="float32", compile=True)
    asked = [(picture(*size), labels) for size in ((80, 60), (60, 90)) for labels in (LABELS, OTHER_LABELS)]
    expected = [plain(image, labels, threshold=0) for image, labels in asked]
    results = [[faster(image, labels, threshold=0) for image, labels in asked] for _ in range(3)]
    for found in results:
        for one, wanted in zip(found, expected, strict=True):
            assert_close(one, wanted, atol=1e-3)
    count = len(recorded)
    assert count > 0
    assert_close(faster(*asked[0], threshold=0), results[0][0], atol=1e-3)
    assert len(recorded) == count


@needs_cuda
def test_cuda_graphs_in_several_threads(checkpoint):
    plain = Detector.from_pretrained(checkpoint, device="cuda", dtype="float32")
    faster = Detector.from_pretrained(checkpoint, device="cuda", dtype="float32", compile=True)
    prompts = [["a cat"], OTHER_LABELS, LABELS] * 8
    expected = [plain(picture(), labels, threshold=0) for labels in prompts]

    def detect(labels):
        with torch.cuda.stream(torch.cuda.Stream()):
            return faster(picture(), labels, threshold=0)

    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(detect, prompts), expected, strict=True):
            assert_close(found, wanted, atol=1e-3)


@needs_cuda
def test_the_model_never_waits_for_the_device(checkpoint):
    detector = Detector.from_pretrained(checkpoint, device="cuda", dtype="float32")
    model = detector.model
    pixels = torch.randn(1, 3, 64, 96, device="cuda")
    inputs = {name: ids.cuda() for name, ids in collate_prompts([detector.prompt(LABELS)]).items()}

    def run():
        return model.ground(model.encode_image(pixels), model.encode_text(**inputs))

    with torch.inference_mode():
        run()  # kernels are compiled
        torch.cuda.set_sync_debug_mode("error")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
