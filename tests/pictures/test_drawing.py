"""Drawing: every size and mode of picture, nothing outside it, one colour a label, and files that are whole."""

import dataclasses

import numpy as np
import PIL.Image
import pytest

from groundling.errors import ImageError
from groundling.pictures import drawing
from groundling.structures.detections import Detections


def build(size, boxes=((0.1, 0.3, 0.5, 0.9), (0.4, 0.2, 1.0, 1.0)), labels=("a cat", "a remote control")):
    width, height = size
    scaled = np.array(boxes, np.float32).reshape(-1, 4) * np.array([width, height, width, height])
    ids = [row % len(labels) for row in range(len(boxes))]
    return Detections(scaled, [0.5] * len(boxes), ids, labels, size)


def changed(drawn, before):
    return np.argwhere((np.asarray(drawn) != np.asarray(before)).any(axis=2))


def test_nothing_found_draws_nothing():
    picture = PIL.Image.new("RGB", (64, 48), "gray")
    drawn = build((64, 48), boxes=()).draw(picture)
    assert drawn is not picture
    assert drawn.tobytes() == picture.tobytes()


@pytest.mark.parametrize("size", [(1, 1), (60, 60), (640, 480), (3000, 40), (40, 3000), (4000, 3000)])
def test_every_size(size):
    picture = PIL.Image.new("RGB", size, "gray")
    drawn = build(size).draw(picture)
    assert (drawn.size, drawn.mode) == (size, "RGB")
    assert len(changed(drawn, picture)) > 0
    assert picture.getextrema() == ((128, 128),) * 3  # the caller's picture is as it was


@pytest.mark.parametrize("size", [(64, 48), (640, 480), (2400, 1800)])
def test_lines_and_letters_grow_with_the_picture(size):
    picture = PIL.Image.new("RGB", size, "gray")
    part = len(changed(build(size).draw(picture), picture)) / (size[0] * size[1])
    assert 0.01 < part < (0.5 if size[0] < 100 else 0.1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr", "HSV", "I", "F", "I;16", "LAB"])
def test_every_mode(mode):
    picture = PIL.Image.new(mode, (64, 48))
    drawn = build((64, 48)).draw(picture)
    assert (drawn.size, drawn.mode) == ((64, 48), "RGB")


@pytest.mark.parametrize(
    ("picture", "gray"),
    [
        pytest.param(PIL.Image.fromarray(np.full((4, 4), 32896, np.uint16)), 128, id="16 bits"),
        pytest.param(PIL.Image.fromarray(np.full((4, 4), 32896, np.int32)), 128, id="16 bits in 32"),
        pytest.param(PIL.Image.fromarray(np.full((4, 4), 128, np.int32)), 128, id="8 bits in 32"),
        pytest.param(PIL.Image.fromarray(np.full((4, 4), 0.502, np.float32)), 128, id="0 to 1"),
        pytest.param(PIL.Image.new("RGBA", (4, 4), (0, 0, 0, 0)), 255, id="transparent"),
    ],
)
def test_deep_and_transparent_pictures_look_right(picture, gray):
    drawn = build(picture.size, boxes=()).draw(picture)
    assert drawn.getpixel((0, 0)) == (gray,) * 3
    assert drawn is not picture


def test_a_rotated_photograph_is_drawn_upright():
    picture = PIL.Image.new("RGB", (48, 64))
    picture.getexif()[0x0112] = 6  # the camera was turned: the upright picture is 64 wide
    assert build((64, 48)).draw(picture).size == (64, 48)


def test_another_picture_is_refused():
    with pytest.raises(ImageError, match="belong to a picture of 64 x 48 pixels, but the picture given has 48 x 64"):
        build((64, 48)).draw(PIL.Image.new("RGB", (48, 64)))


def test_a_path_will_do_and_the_source_is_remembered(tmp_path):
    picture = PIL.Image.new("RGB", (64, 48), "gray")
    picture.save(tmp_path / "a.png")
    found = build((64, 48))
    assert found.draw(tmp_path / "a.png").tobytes() == found.draw(picture).tobytes()
    assert found.draw(np.asarray(picture)).tobytes() == found.draw(picture).tobytes()
    with pytest.raises(ImageError, match=r"do not know their picture's file. Give the picture"):
        found.draw()
    with pytest.raises(ImageError, match=r"no.png"):
        found.draw(tmp_path / "no.png")
    remembered = dataclasses.replace(found, source=str(tmp_path / "a.png"))
    assert remembered.draw().tobytes() == found.draw(picture).tobytes()


def test_a_label_keeps_its_colour():
    picture = PIL.Image.new("RGB", (200, 100))
    both = build((200, 100), boxes=((0.1, 0.5, 0.3, 0.9), (0.6, 0.5, 0.9, 0.9)))
    alone = both[[1]]
    assert both.draw(picture).getpixel((120, 80)) == alone.draw(picture).getpixel((120, 80)) != (0, 0, 0)
    assert both.draw(picture).getpixel((20, 80)) != both.draw(picture).getpixel((120, 80))


@pytest.mark.parametrize("corner", [(0, 0, 0.05, 0.05), (0.95, 0, 1, 0.05), (0, 0.95, 0.05, 1), (0.95, 0.95, 1, 1)])
def test_captions_stay_inside(corner):
    picture = PIL.Image.new("RGB", (640, 480))
    lone = len(changed(build((640, 480), boxes=((0.4, 0.4, 0.45, 0.45),)).draw(picture), picture))
    edge = len(changed(build((640, 480), boxes=(corner,)).draw(picture), picture))
    assert edge > 0.7 * lone


def test_boxes_outside_the_picture_are_drawn_at_its_edge():
    picture = PIL.Image.new("RGB", (640, 480))
    drawn = build((640, 480), boxes=((-1, -1, 0.5, 2),), labels=("cat",)).draw(picture)
    assert drawn.getpixel((320, 240)) != (0, 0, 0)


@pytest.mark.parametrize("label", ["", "кошка", "žába", "قطة", "猫", "a\nb", "x" * 300], ids=ascii)
def test_every_label_is_drawn(label):
    picture = PIL.Image.new("RGB", (320, 240))
    assert len(changed(build((320, 240), labels=(label,)).draw(picture), picture)) > 0


def test_letters_outside_latin_have_a_font():
    pytest.importorskip("matplotlib")
    path = drawing.font_path("кошка ελέφαντας")
    assert path is not None
    assert frozenset(map(ord, "кошкаελέφαντας")) <= drawing._letters(path)
    assert drawing._letters(__file__) == frozenset()


def test_a_long_label_is_cut_and_its_score_is_not():
    import PIL.ImageFont

    font = PIL.ImageFont.load_default(12)
    assert drawing.fit_caption("a  cat", "0.50", font, 500) == "a cat 0.50"
    cut = drawing.fit_caption("a remote control", "0.50", font, 80)
    assert cut.startswith("a r")
    assert cut.endswith("… 0.50")
    assert drawing.fit_caption("a remote control", "0.50", font, 1) == "0.50"


@pytest.mark.parametrize("ending", ["png", "jpg", "JPEG", "webp", "bmp"])
def test_saving(tmp_path, ending):
    picture = PIL.Image.new("RGB", (64, 48))
    path = tmp_path / "new folder" / f"found.{ending}"
    build((64, 48)).save(path, picture)
    with PIL.Image.open(path) as written:
        assert written.size == (64, 48)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["found", "found.txt", "found.json"])
def test_saving_in_no_picture_format(tmp_path, name):
    with pytest.raises(ImageError, match=f"{name}' does not end in a picture format .* Use .png"):
        build((64, 48)).save(tmp_path / name, PIL.Image.new("RGB", (64, 48)))
    assert list(tmp_path.iterdir()) == []


def test_very_many_boxes_have_captions_for_the_best():
    picture = PIL.Image.new("RGB", (640, 480))
    places = np.random.default_rng(0).random((900, 2)) * 0.9
    many = build((640, 480), boxes=np.hstack([places, places + 0.1]), labels=("a", "b", "c"))
    _, top, right, bottom = (int(x) for x in many.boxes_xyxy[899])
    assert changed(many.draw(picture), picture).size
    assert many.draw(picture).getpixel((right, (top + bottom) // 2)) != (0, 0, 0)
