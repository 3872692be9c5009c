"""More labels than one prompt holds, prompts that are kept, and words that compete."""

import copy
import json
import pickle
import random
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from contracts.conftest import ROOT
from groundling import Caption, Detector, Vocabulary
from groundling.data.scenes import COLORS, SHAPES
from groundling.errors import ConfigError, PromptError
from groundling.files import BUNDLED_MODEL
from groundling.model import GroundingDinoForObjectDetection
from groundling.pipeline.prompt_encoding import PromptEncoding

LABELS = ["a cat", "a remote control", "sofa"]
MANY = [f"{word} {number}" for number in range(60) for word in ("a cat", "remote control", "sofa")]
SCENE = ROOT / "examples/images/scene.png"
SCENE_LABELS = ["brown house", "blue oval", "yellow bolt", "blue house"]

PIXELS, SCORES = 2e-3, 1e-5
"""Prompts in one batch are padded to one length, which changes the order of sums."""


def picture(width=80, height=60, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def detector(tiny_detector, processor):
    return Detector(tiny_detector, processor)


@pytest.fixture(scope="module")
def nano():
    return Detector.from_pretrained(BUNDLED_MODEL)


def check_close(one, other):
    assert one.labels == other.labels
    assert one.label_ids.tolist() == other.label_ids.tolist()
    np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=SCORES)
    np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, rtol=0, atol=PIXELS)


def test_few_labels_are_the_plain_call(detector):
    plain = detector(picture(), detector.prompt(LABELS), threshold=0)
    assert (
        plain == detector(picture(), LABELS, threshold=0) == detector(picture(), Vocabulary(tuple(LABELS)), threshold=0)
    )
    assert plain.label_scores.shape[1] == 3


def test_many_labels_are_the_best_of_all_prompts(detector):
    prompts = detector.prompts(MANY)
    assert len(prompts.prompts) >= 3
    found = detector(picture(), MANY, threshold=0, nms_iou=1.0, batch_size=1)
    expected = []
    for prompt, ids in zip(prompts.prompts, prompts.label_ids, strict=True):
        for one in detector(picture(), prompt, threshold=0):
            expected.append((one.score, ids[one.label_id], one.box_xyxy))
    expected.sort(key=lambda each: -each[0])
    assert found.label_scores is None
    np.testing.assert_array_equal(found.scores, np.float32([score for score, _, _ in expected]))
    assert sorted(found.label_ids.tolist()) == sorted(label for _, label, _ in expected)
    boxes = sorted(map(tuple, found.boxes_xyxy.tolist()))
    assert boxes == sorted(box for _, _, box in expected)


@pytest.mark.parametrize("batch_size", [2, 3, 50])
def test_batches_of_prompts_change_nothing(detector, batch_size):
    one = detector(picture(), MANY, threshold=0.2, batch_size=1)
    assert len(one) > 5
    check_close(detector(picture(), MANY, threshold=0.2, batch_size=batch_size), one)


def test_the_picture_is_encoded_once(detector, monkeypatch):
    seen, asked = [], []
    encode, ground = detector.model.encode_image, detector.model.ground
    monkeypatch.setattr(detector.model, "encode_image", lambda *given: seen.append(1) or encode(*given))
    monkeypatch.setattr(
        detector.model, "ground", lambda image, text: asked.append(len(image.token_BSD)) or ground(image, text)
    )
    count = len(detector.prompts(MANY).prompts)
    detector(picture(), MANY, batch_size=4)
    assert len(seen) == 1
    assert asked == [4] * (count // 4) + ([count % 4] if count % 4 else [])


def test_one_suppression_within_each_label(detector):
    every = detector(picture(), MANY, threshold=0.1, nms_iou=1.0)
    usual = detector(picture(), MANY, threshold=0.1)
    across = detector(picture(), MANY, threshold=0.1, nms_iou=0.7, nms_across_labels=True)
    assert len(across) < len(usual) <= len(every)
    assert usual == detector(picture(), MANY, threshold=0.1, nms_iou=0.7)


def test_prompts_and_vocabularies_for_each_picture(detector):
    asked = [
        LABELS,
        MANY,
        Vocabulary(("sofa",), {"sofa": ("couch",)}),
        Caption("a cat beside a dog", ((0, 5), (13, 18))),
    ]
    pictures = [picture(seed=0), picture(seed=1), picture(90, 40, 2), picture(seed=3)]
    alone = [detector(one, labels, threshold=0.2) for one, labels in zip(pictures, asked, strict=True)]
    for batch_size in (1, 3, 8):
        together = list(detector.detect_many(pictures, asked, batch_size=batch_size, threshold=0.2))
        for one, other in zip(together, alone, strict=True):
            check_close(one, other)


def test_prepared_pictures_are_pictures(detector):
    prepared = [detector.prepare(picture(seed=seed)) for seed in range(3)]
    one = list(detector.detect_many(prepared, LABELS, batch_size=3, threshold=0.1))
    assert one == list(
        detector.detect_many([picture(seed=seed) for seed in range(3)], LABELS, batch_size=3, threshold=0.1)
    )


# Encoded prompts


def test_encoded_prompts_give_the_same_from_a_file(detector, tmp_path, monkeypatch):
    vocabulary = Vocabulary(tuple(MANY), {MANY[0]: ("kitten",)}, ("a toy",), {MANY[1]: 0.15})
    expected = detector(picture(), vocabulary, threshold=0.2)
    encoding = detector.encode(vocabulary)
    encoding.save(tmp_path / "labels.safetensors")
    loaded = PromptEncoding.load(tmp_path / "labels.safetensors")
    assert loaded.labels == tuple(MANY)
    assert loaded.prompts == encoding.prompts
    fresh = Detector(detector.model, detector.processor)
    monkeypatch.setattr(fresh.model, "encode_text", None)  # it must not be used
    assert detector(picture(), encoding, threshold=0.2) == expected == fresh(picture(), loaded, threshold=0.2)
    assert expected == next(fresh.detect_many([picture()], [loaded], batch_size=4, threshold=0.2))


def test_encoded_prompts_of_other_weights_are_refused(detector, processor, tmp_path):
    detector.encode(LABELS).save(tmp_path / "labels.safetensors")
    loaded = PromptEncoding.load(tmp_path / "labels.safetensors")
    other = Detector(GroundingDinoForObjectDetection(detector.model.config), processor)
    with pytest.raises(PromptError, match="made by a model with other weights"):
        other(picture(), loaded)


def test_prompts_of_the_same_tokens_are_kept_in_a_file(detector, tmp_path):
    encoding = detector.encode(Vocabulary(("cat", "Cat"), per_prompt=1))
    encoding.save(tmp_path / "labels.safetensors")
    assert PromptEncoding.load(tmp_path / "labels.safetensors").prompts == encoding.prompts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parts, _: parts.update({"0.token_BTD": parts["0.token_BTD"][:, :3]}), "its features are"),
        (lambda parts, _: parts.update({"0.position_BT": parts["0.position_BT"].int()}), "its features are"),
        (lambda parts, _: parts["0.token_BTD"].fill_(torch.nan), "no finite numbers"),
        (lambda parts, _: parts.pop("0.valid_BT"), "0.valid_BT"),
        (lambda _, plain: plain.update(thresholds=[float("nan")] * 3), "must be numbers within"),
        (lambda _, plain: plain.update(thresholds=[7.0] * 3), "must be numbers within"),
        (lambda _, plain: plain["prompts"][0].update(token_ids="abcdefghi"), "'a' is no whole number"),
        (lambda _, plain: plain["prompts"][0].update(label_tokens=[[1.5], [2], [3]]), "1.5 is no whole number"),
        (lambda _, plain: plain.update(labels=[1, 2, 3]), "1 is no text"),
        (lambda _, plain: plain.pop("labels"), "labels"),
    ],
)
def test_encodings_that_do_not_fit_their_prompts(detector, tmp_path, change, message):
    path = tmp_path / "labels.safetensors"
    detector.encode(LABELS).save(path)
    with safe_open(path, "pt") as file:
        about, parts = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    plain = json.loads(about["prompts"])
    change(parts, plain)
    about["prompts"] = json.dumps(plain)
    save_file({name: part.clone() for name, part in parts.items()}, path, metadata=about)
    with pytest.raises(PromptError, match=rf"labels.safetensors is damaged .*{message}"):
        PromptEncoding.load(path)


def test_endless_brackets_are_no_encoding(detector, tmp_path):
    path = tmp_path / "labels.safetensors"
    detector.encode(LABELS).save(path)
    with safe_open(path, "pt") as file:
        about, parts = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(parts, path, metadata=about | {"prompts": "[" * 100_000})
    with pytest.raises(PromptError, match=r"labels\.safetensors is damaged"):
        PromptEncoding.load(path)


@pytest.mark.parametrize("content", [pytest.param(b"", id="empty"), b"\0" * 100, b"garbage" * 10])
def test_damaged_encodings(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(PromptError, match=r"a.safetensors is damaged or of another kind"):
        PromptEncoding.load(tmp_path / "a.safetensors")


def test_other_files_are_no_encodings(checkpoint):
    with pytest.raises(PromptError, match="it holds no encoded prompts"):
        PromptEncoding.load(checkpoint / "model.safetensors")


def test_repeated_labels_are_encoded_once(tiny_detector, processor, monkeypatch):
    detector, calls = Detector(tiny_detector, processor), []
    encode = tiny_detector.encode_text
    monkeypatch.setattr(tiny_detector, "encode_text", lambda **given: calls.append(1) or encode(**given))
    for seed in range(3):
        detector(picture(seed=seed), LABELS)
    list(detector.detect_many([picture()] * 2, [LABELS, ["a dog"]]))
    assert len(calls) == 2


def test_other_weights_find_other_things(nano):
    """Weights that take each other's place, as when checkpoints are compared, never meet the other's features."""
    detector = copy.deepcopy(nano)
    first = {name: weight.clone() for name, weight in detector.model.state_dict().items()}
    other = {name: weight * 1.05 for name, weight in first.items()}
    expected = []
    for weights in (first, other):
        detector.model.load_state_dict(weights)
        expected.append(Detector(detector.model, detector.processor)(SCENE, ["brown house"], threshold=0.0).scores)
    assert not np.array_equal(*expected)
    for number in range(6):
        weights = {name: weight.clone() for name, weight in (first, other)[number % 2].items()}
        detector.model.load_state_dict(weights, assign=True)
        found = detector(SCENE, ["brown house"], threshold=0.0)
        np.testing.assert_array_equal(found.scores, expected[number % 2])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_of_a_detector_finds_the_same(detector, copied):
    found = detector(picture(), LABELS, threshold=0.1)
    encoding = detector.encode(LABELS)  # which looks at all weights
    other = copied(detector)
    assert other(picture(), LABELS, threshold=0.1) == found == other(picture(), encoding, threshold=0.1)


def test_as_many_prompts_as_pictures_is_told_at_once(detector):
    with pytest.raises(PromptError, match="There are 2 prompts for 3 pictures"):
        detector.detect_many([picture()] * 3, [LABELS, LABELS])


# With the model that comes with the package

ALL = [f"{color} {shape}" for color in COLORS for shape in SHAPES]


def test_the_bundled_model_finds_things_among_all_names(nano):
    few = nano(SCENE, SCENE_LABELS)
    assert sorted(one.label for one in few) == sorted(SCENE_LABELS)
    many = nano(SCENE, Vocabulary(tuple(ALL), per_prompt=8))
    assert len(ALL) == 180
    hits = [
        any(other.label == one.label and np.allclose(other.box_xyxy, one.box_xyxy, atol=4) for other in many)
        for one in few
    ]
    assert sum(hits) >= 3  # this small model was trained with few labels at a time


def test_shuffled_labels_change_nothing(nano):
    results = []
    for seed in range(3):
        labels = random.Random(seed).sample([*ALL[:60], "red Circle", "Red circle"], 62)
        found = nano(SCENE, Vocabulary(tuple(labels), packing="sorted", per_prompt=10))
        results.append(sorted((one.label, one.score, one.box_xyxy) for one in found))
    assert len(results[0]) >= 4
    assert results[0] == results[1] == results[2]


def test_shuffled_labels_of_one_prompt_change_hardly_anything(nano):
    one = nano(SCENE, SCENE_LABELS)
    other = nano(SCENE, SCENE_LABELS[::-1])
    assert [each.label for each in one] == [each.label for each in other]
    np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, rtol=0, atol=0.01)
    np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize("nms_iou", [1.0, 0.5])
def test_labels_alone_do_not_know_each_other(nano, nms_iou):
    options = {"nms_iou": nms_iou, "threshold": 0.02}
    alone = nano(SCENE, Vocabulary(("brown house",)), **options)
    beside = nano(SCENE, Vocabulary(tuple(SCENE_LABELS), per_prompt=1), batch_size=1, **options).only("brown house")
    assert len(alone) > 1
    np.testing.assert_array_equal(alone.boxes_xyxy, beside.boxes_xyxy)
    np.testing.assert_array_equal(alone.scores, beside.scores)


def test_a_synonym_finds_the_same_thing(nano):
    (plain,) = nano(SCENE, ["brown house"], threshold=0.7)
    assert len(nano(SCENE, ["zzyzx"], threshold=0.7)) == 0
    (other,) = nano(SCENE, Vocabulary(("zzyzx",), {"zzyzx": ("brown house",)}), threshold=0.7)
    assert other.label == "zzyzx"
    np.testing.assert_allclose(other.box_xyxy, plain.box_xyxy, atol=4)


def test_a_negative_competes_and_is_dropped(nano):
    greedy, (blue,) = nano(SCENE, ["house"]), nano(SCENE, ["blue house"], threshold=0.5)
    strict = nano(SCENE, Vocabulary(("house",), negatives=("blue house",)))
    assert len(strict) == len(greedy) - 1 >= 1
    assert any(np.allclose(one.box_xyxy, blue.box_xyxy, atol=4) for one in greedy)
    assert not any(np.allclose(one.box_xyxy, blue.box_xyxy, atol=4) for one in strict)


def test_a_threshold_for_each_label(nano):
    found = nano(SCENE, Vocabulary(tuple(SCENE_LABELS), thresholds={"brown house": 1.0}))
    assert sorted(one.label for one in found) == sorted(set(SCENE_LABELS) - {"brown house"})
    assert (
        len(nano(SCENE, Vocabulary(tuple(SCENE_LABELS), thresholds=dict.fromkeys(SCENE_LABELS, 0.2)), threshold=1.0))
        >= 4
    )


MEMORY = """
import random, resource, sys
from groundling import Detector

rng, count = random.Random(0), int(sys.argv[2])
words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=5)) for _ in range(count)]
names = ["brown house", *(f"{word} {number}" for number, word in enumerate(words[1:]))]
detector = Detector.from_pretrained("groundling/nano")
detector(sys.argv[1], names[:80])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = detector(sys.argv[1], names, threshold=0.2)
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(len(detector.prompts(names).prompts), "brown house" in [one.label for one in found], grown)
"""


@pytest.mark.parametrize(("count", "least_prompts"), [(1203, 20), pytest.param(13_000, 250, marks=pytest.mark.slow)])
def test_thousands_of_names_in_bounded_memory(count, least_prompts):
    command = [sys.executable, "-c", MEMORY, str(SCENE), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=True)
    prompts, is_found, grown = done.stdout.split()
    assert int(prompts) >= least_prompts
    assert is_found == "True"
    assert float(grown) < 200 + 0.4 * int(prompts)  # MiB: four prompts at a time, and 0.4 for each that is kept


def test_bad_batch_size(detector):
    with pytest.raises(ConfigError, match="batch_size must be a number of at least 1, got 0"):
        detector(picture(), LABELS, batch_size=0)


def test_an_empty_picture_list(detector):
    assert list(detector.detect_many([], MANY)) == []


def test_pictures_of_all_forms_with_many_labels(detector):
    array = picture()
    check_close(detector(PIL.Image.fromarray(array), MANY), detector(torch.from_numpy(array).permute(2, 0, 1), MANY))
