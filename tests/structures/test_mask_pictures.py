"""Cut-outs and maps: exactly the pixels of the masks, the better thing on top, and what cannot be made is said."""

import numpy as np
import PIL.Image
import pytest

from groundling.data.scenes.generator import make_scene
from groundling.errors import DatasetError, ImageError
from groundling.structures import mask_pictures
from groundling.structures.detections import Detections
from groundling.structures.masks import Masks

SIZE = (6, 4)
LABELS = ("cat", "dog")


def build(arrays, scores=None, label_ids=None, **changes):
    arrays = np.asarray(arrays, bool).reshape(-1, SIZE[1], SIZE[0])
    count = len(arrays)
    values = {
        "boxes_xyxy": np.tile([0.0, 0, 5, 3], (count, 1)),
        "scores": [0.5] * count if scores is None else scores,
        "label_ids": [0] * count if label_ids is None else label_ids,
        "labels": LABELS,
        "image_wh": SIZE,
        "masks": Masks.from_array(arrays, SIZE),
    }
    return Detections(**{**values, **changes})


def block(left, top, right, bottom):
    mask = np.zeros((SIZE[1], SIZE[0]), bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.fixture
def picture():
    return PIL.Image.fromarray(np.arange(72, dtype=np.uint8).reshape(4, 6, 3))


@pytest.mark.parametrize("masks", [Masks((), SIZE), None])
def test_nothing_found(picture, masks):
    found = build([], masks=masks)
    assert found.cutouts(picture) == []
    for shown in (found.label_map(), found.instance_map()):
        assert (shown.shape, shown.dtype, shown.max()) == ((4, 6), np.uint16, 0)


def test_cutouts_are_the_pixels_of_the_masks(picture):
    bend = block(1, 1, 4, 4) & ~block(2, 2, 4, 4)
    bent, empty, whole = build([bend, block(0, 0, 0, 0), block(0, 0, 6, 4)]).cutouts(picture)
    assert [cut.mode for cut in (bent, empty, whole)] == ["RGBA"] * 3
    assert (bent.size, empty.size, whole.size) == ((3, 3), (1, 1), SIZE)
    np.testing.assert_array_equal(np.asarray(bent)[..., 3], bend[1:4, 1:4] * 255)
    np.testing.assert_array_equal(np.asarray(bent)[..., :3], np.asarray(picture)[1:4, 1:4])
    assert empty.getpixel((0, 0))[3] == 0
    np.testing.assert_array_equal(np.asarray(whole.convert("RGB")), np.asarray(picture))


def test_cutouts_of_a_scene_laid_back_give_it_again():
    scene = make_scene(0, 2, size=96)
    count = len(scene.things)
    masks = Masks.from_array(scene.masks)
    found = Detections(scene.boxes_xyxy, [0.5] * count, [0] * count, ["thing"], (96, 96), masks=masks)
    laid = PIL.Image.new("RGBA", (96, 96))
    for cut, box in zip(found.cutouts(scene.image), masks.boxes_xyxy, strict=True):
        assert cut.size == (box[2] - box[0], box[3] - box[1])
        laid.alpha_composite(cut, (int(box[0]), int(box[1])))
    inside = scene.masks.any(axis=0)
    np.testing.assert_array_equal(np.asarray(laid)[inside, :3], np.asarray(scene.image)[inside])
    assert not np.asarray(laid)[~inside].any()


def test_cutouts_of_every_kind_of_picture(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    found = build([block(1, 1, 3, 3)])
    expected = np.asarray(found.cutouts(picture)[0])
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), np.asarray(picture)):
        np.testing.assert_array_equal(np.asarray(found.cutouts(given)[0]), expected)
    np.testing.assert_array_equal(
        np.asarray(build([block(1, 1, 3, 3)], source=tmp_path / "a.png").cutouts()[0]), expected
    )
    assert found.cutouts(picture.convert("L"))[0].mode == "RGBA"


def test_the_better_thing_is_on_top():
    masks = [block(0, 0, 4, 2), block(2, 0, 6, 2), block(3, 1, 4, 4)]
    found = build(masks, scores=[0.5, 0.9, 0.5], label_ids=[0, 1, 1])
    assert found.label_map().tolist() == [
        [1, 1, 2, 2, 2, 2],
        [1, 1, 2, 2, 2, 2],
        [0, 0, 0, 2, 0, 0],
        [0, 0, 0, 2, 0, 0],
    ]
    assert found.instance_map().tolist() == [
        [1, 1, 2, 2, 2, 2],
        [1, 1, 2, 2, 2, 2],
        [0, 0, 0, 3, 0, 0],
        [0, 0, 0, 3, 0, 0],
    ]
    same = build([block(0, 0, 2, 2), block(0, 0, 2, 2)])
    assert same.instance_map()[0, 0] == 1  # of equal ones the first, as in a sorted list


def test_png_keeps_maps(tmp_path):
    labels = [str(number) for number in range(60_000)]
    found = build([block(1, 1, 3, 3)], label_ids=[59_999], labels=labels)
    PIL.Image.fromarray(found.label_map()).save(tmp_path / "map.png")
    back = np.asarray(PIL.Image.open(tmp_path / "map.png"))
    assert (back.max(), np.count_nonzero(back)) == (60_000, 4)


def test_too_many_for_a_map(monkeypatch):
    with pytest.raises(DatasetError, match="at most 65535 labels, but there are 65536"):
        build([], labels=[str(number) for number in range(65_536)]).label_map()
    monkeypatch.setattr(mask_pictures, "LARGEST_ID", 1)
    assert build([block(0, 0, 1, 1)]).instance_map().max() == 1
    with pytest.raises(DatasetError, match=r"at most 1 detections, but there are 2. Choose some first"):
        build([block(0, 0, 1, 1)] * 2).instance_map()


def test_what_is_missing_is_said(picture):
    bare = build([block(0, 0, 1, 1)], masks=None)
    for make in (lambda: bare.cutouts(picture), bare.label_map, bare.instance_map, bare.tightened):
        with pytest.raises(DatasetError, match=r"There are no masks .*Segment first"):
            make()
    with pytest.raises(ImageError, match="Give the picture that was searched"):
        build([block(0, 0, 1, 1)]).cutouts()
    with pytest.raises(ImageError, match="belong to a picture of 6 x 4 pixels, but the picture given has 4 x 6"):
        build([block(0, 0, 1, 1)]).cutouts(picture.transpose(PIL.Image.Transpose.ROTATE_90))
    with pytest.raises(ImageError, match="There is no picture file"):
        build([block(0, 0, 1, 1)]).cutouts("nothing.png")
