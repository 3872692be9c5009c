"""Boxes from words and masks from boxes, with both models that come with the package."""

import inspect
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from groundling import ConfigError, Detections, GroundedSam, ImageError, MaskOptions, Masks, PromptError
from groundling.data.scenes import make_scene
from groundling.pipeline.detector import Detector
from groundling.pipeline.grounded_sam import FindOneOptions, FindOptions, choose_segmenter
from groundling.segmentation.cleaning import clean

SCENES = [make_scene(3, number, split="seen", size=192) for number in range(4)]
NAMES = sorted({thing.name for scene in SCENES for thing in scene.things})


@pytest.fixture(scope="module")
def sam():
    return GroundedSam.from_pretrained(device="cpu")


@pytest.fixture
def counted(sam, monkeypatch):
    """What the segmenter was asked to do."""
    calls = {"pictures": 0, "boxes": []}
    encode, decode = sam.segmenter.encode, sam.segmenter.decode

    def encode_counted(pictures):
        calls["pictures"] += len(pictures)
        return encode(pictures)

    def decode_counted(encoded, boxes, options):
        calls["boxes"].append(len(boxes))
        return decode(encoded, boxes, options)

    monkeypatch.setattr(sam.segmenter, "encode", encode_counted)
    monkeypatch.setattr(sam.segmenter, "decode", decode_counted)
    return calls


def true_detections(scene):
    names = tuple(sorted({thing.name for thing in scene.things}))
    return Detections(
        boxes_xyxy=scene.boxes_xyxy,
        scores=np.ones(len(scene.things)),
        label_ids=np.array([names.index(thing.name) for thing in scene.things]),
        labels=names,
        image_wh=scene.image.size,
    )


def test_nothing_found_is_an_empty_typed_result_and_no_picture_is_encoded(sam, counted):
    found = sam(SCENES[0].image, ["green star"], threshold=1.0)
    assert len(found) == len(found.masks) == len(found.mask_scores) == 0
    assert found.masks == Masks((), (192, 192))
    assert counted == {"pictures": 0, "boxes": []}


def test_scores_and_boxes_are_the_detectors_and_every_box_has_its_mask(sam, counted):
    scene = SCENES[0]
    boxes = sam.detector(scene.image, NAMES)
    found = sam(scene.image, NAMES)
    assert len(found) > 0
    assert replace(found, masks=None, mask_scores=None) == boxes
    assert counted == {"pictures": 1, "boxes": [len(found)]}
    assert len(found.masks) == len(found)
    assert ((found.mask_scores >= 0) & (found.mask_scores <= 1)).all()


def test_what_is_found_has_the_pixels_of_the_thing(sam):
    shares = []
    for scene in SCENES[:2]:
        found = sam(scene.image, [thing.name for thing in scene.things])
        iou = Masks.from_array(scene.masks).iou(found.masks)
        shares += iou.max(axis=0).tolist()
    assert np.mean(shares) > 0.85


def test_a_batch_of_pictures_with_unlike_numbers_of_boxes_equals_single_pictures(sam):
    pictures = [scene.image for scene in SCENES[:2]] + [PIL.Image.new("RGB", (150, 100), "gray")]
    singles = [sam(picture, NAMES) for picture in pictures]
    batch = list(sam.segment_many(iter(pictures), NAMES, batch_size=2))
    assert len({len(found) for found in singles}) > 1
    for one, other in zip(singles, batch, strict=True):
        assert len(one) == len(other)
        np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, atol=1e-3)
        if len(one):  # rounding may turn a pixel whose logit is 0 to six digits
            assert np.diagonal(one.masks.iou(other.masks)).min() > 0.999


@pytest.mark.parametrize("count", [0, 1, 12])
def test_any_number_of_given_boxes(sam, count):
    rng = np.random.default_rng(count)
    corners = np.sort(rng.uniform(0, 192, (count, 2, 2)), axis=1).reshape(-1, 4)
    given = Detections(corners, np.ones(count), np.zeros(count, np.int64), ("thing",), (192, 192))
    found = sam.segment(SCENES[0].image, given, masks=MaskOptions(chunk=5))
    assert len(found.masks) == count


def test_true_boxes_and_tightening(sam):
    scene = SCENES[1]
    loose = sam.segment(scene.image, true_detections(scene))
    tight = sam.segment(scene.image, true_detections(scene), tighten=True)
    assert np.array_equal(loose.boxes_xyxy, scene.boxes_xyxy)
    assert loose.masks == tight.masks
    assert np.array_equal(tight.boxes_xyxy, tight.masks.boxes_xyxy)


def test_best_of_three_is_as_good_on_trained_weights(sam):
    shares = []
    for scene in SCENES:
        three = sam.segment(scene.image, true_detections(scene), masks=MaskOptions(best_of_three=True))
        shares += np.diagonal(Masks.from_array(scene.masks).iou(three.masks)).tolist()
    assert np.mean(shares) > 0.85


WAYS = {
    "one": lambda sam, scene, **options: sam(scene.image, NAMES, **options),
    "given boxes": lambda sam, scene, **options: sam.segment(scene.image, true_detections(scene), **options),
    "many": lambda sam, scene, **options: next(sam.segment_many([scene.image], NAMES, **options)),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_masks_are_cleaned_as_the_options_say(sam, way):
    plain = way(sam, SCENES[0]).masks  # there is a ring among them
    filled = way(sam, SCENES[0], masks=MaskOptions(fill_holes=1000)).masks
    assert filled != plain
    assert filled == Masks.from_array(np.stack([clean(mask, fill_holes=1000) for mask in plain]))


def test_a_path_is_kept_as_the_source(sam, tmp_path):
    path = tmp_path / "scene.png"
    SCENES[0].image.save(path)
    (many,) = sam.segment_many([path], NAMES)
    assert sam(path, NAMES).source == many.source == str(path)


BAD = {
    "empty labels": (lambda sam: sam(SCENES[0].image, []), PromptError, "label"),
    "empty labels for many": (lambda sam: sam.segment_many([], []), PromptError, "label"),
    "threshold": (lambda sam: sam(SCENES[0].image, ["star"], threshold=2), ConfigError, "threshold"),
    "threshold for many": (lambda sam: sam.segment_many([], ["star"], threshold=2), ConfigError, "threshold"),
    "batch size": (lambda sam: sam.segment_many([], ["star"], batch_size=0), ConfigError, "batch_size"),
    "one picture": (lambda sam: sam.segment_many("a.png", ["star"]), TypeError, "Put it into a list"),
    "no picture": (lambda sam: sam("missing.png", ["star"]), ImageError, "no picture"),
    "a url": (lambda sam: sam("https://example.org/a.png", ["star"]), ImageError, "allow_url"),
    "a url with boxes": (
        lambda sam: sam.segment("https://example.org/a.png", true_detections(SCENES[0])),
        ImageError,
        "allow_url",
    ),
    "a file that is no url": (
        lambda sam: sam.segment("missing.png", true_detections(SCENES[0]), allow_url=True),
        ImageError,
        "no picture",
    ),
    "masks": (lambda sam: sam("missing.png", ["star"], masks=None), ConfigError, "must be MaskOptions, got None"),
    "masks for many": (lambda sam: sam.segment_many([], ["star"], masks=20), ConfigError, "must be MaskOptions"),
    "masks of boxes": (
        lambda sam: sam.segment(SCENES[0].image, true_detections(SCENES[0]), masks={}),
        ConfigError,
        "must be MaskOptions",
    ),
    "no boxes": (lambda sam: sam.segment(SCENES[0].image, None), TypeError, "must be Detections, got NoneType"),
    "plain boxes": (
        lambda sam: sam.segment(SCENES[0].image, np.zeros((1, 4))),
        TypeError,
        r"got ndarray.*Detections\(boxes_xyxy=",
    ),
    "names": (lambda sam: GroundedSam(sam.detector, "groundling/nano-sam"), TypeError, "from_pretrained for names"),
    "another picture": (
        lambda sam: sam.segment(PIL.Image.new("RGB", (9, 9)), true_detections(SCENES[0])),
        ImageError,
        "192 x 192 pixels, but this one has 9 x 9",
    ),
    "an option": (lambda sam: sam(SCENES[0].image, ["star"], limit=0.3), TypeError, "limit"),
}


@pytest.mark.parametrize(("call", "error", "message"), BAD.values(), ids=BAD)
def test_mistakes(sam, call, error, message):
    with pytest.raises(error, match=message):
        call(sam)


@pytest.mark.parametrize(
    ("method", "options", "own"),
    [(Detector.__call__, FindOneOptions, set()), (Detector.detect_many, FindOptions, {"batch_size"})],
    ids=["one", "many"],
)
def test_the_options_are_the_detectors(method, options, own):
    parameters = inspect.signature(method).parameters.values()
    assert {one.name for one in parameters if one.kind is one.KEYWORD_ONLY} == options.__annotations__.keys() | own


def test_a_detector_needs_a_segmenter_of_its_kind():
    with pytest.raises(ConfigError, match="'some/detector' must be named"):
        choose_segmenter("some/detector", None)
    for segmenter in (None, "some/sam"):
        with pytest.raises(
            ConfigError, match="'groundling/nano-sam' is a segmenter, not a detector: name it with --sam"
        ):
            choose_segmenter("groundling/nano-sam", segmenter)
    assert choose_segmenter("some/detector", "some/sam") == "some/sam"
    assert choose_segmenter("groundling/nano", None) == "groundling/nano-sam"
