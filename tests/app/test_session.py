"""What the page does with a picture, on the bundled model and a drawn scene."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pycocotools.coco import COCO

from groundling.app import session
from groundling.app.session import Choice
from groundling.errors import ImageError, PromptError
from groundling.files import BUNDLED_MODEL
from groundling.pictures.drawing import color_hex
from groundling.pictures.reading import open_picture
from groundling.pipeline.detector import Detector
from groundling.structures.detections import Detections
from groundling.structures.vocabulary import Vocabulary

SCENE = Path(__file__).parents[2] / "examples" / "images" / "scene.png"
LABELS = ("brown house", "blue oval", "yellow bolt", "blue house", "green star")


@pytest.fixture(scope="module")
def detector():
    return Detector.from_pretrained(BUNDLED_MODEL, device="cpu")


@pytest.fixture(scope="module")
def searched(detector):
    return session.search(detector, SCENE, "scene.png", Vocabulary(LABELS))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        pytest.param("", (), id="empty"),
        pytest.param(None, (), id="nothing"),
        pytest.param(" \n , \n", (), id="blank"),
        pytest.param("a cat", ("a cat",), id="one"),
        pytest.param("a cat\n  a   dog \n\n", ("a cat", "a dog"), id="lines"),
        pytest.param("cat, dog,cat", ("cat", "dog"), id="commas and twice the same"),
        pytest.param("Katze\r\nBär", ("Katze", "Bär"), id="other line ends"),
    ],
)
def test_labels_are_read_as_people_type_them(text, labels):
    assert session.read_labels(text) == labels


@pytest.mark.parametrize(
    ("labels", "negatives", "message"),
    [
        pytest.param("", "", "No label is given", id="empty"),
        pytest.param(" \n", "a dog", "No label is given", id="only negatives"),
        pytest.param("a dog", "a dog", "It can only be one of them", id="both"),
    ],
)
def test_labels_that_cannot_be_used(labels, negatives, message):
    with pytest.raises(PromptError, match=message):
        session.read_vocabulary(labels, negatives)


def test_no_picture(detector):
    with pytest.raises(ImageError, match="No picture is given"):
        session.search(detector, None, "", Vocabulary(LABELS))


def test_a_broken_picture_is_called_by_its_own_name(detector, tmp_path):
    path = tmp_path / "0a1b2c" / "upload"
    path.parent.mkdir()
    path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"'holiday\.jpg' is not a readable picture") as caught:
        session.search(detector, path, "holiday.jpg", Vocabulary(LABELS))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("nms_iou", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("own", [{}, {"blue oval": 0.9, "green star": 0.06}], ids=["general", "own"])
def test_sliders_choose_what_the_model_would_have_found(detector, searched, threshold, nms_iou, own):
    chosen = session.choose(searched, Choice(threshold, nms_iou, own))
    asked = detector(SCENE, Vocabulary(LABELS, thresholds=own), threshold=threshold, nms_iou=nms_iou)
    assert chosen == replace(asked, source="scene.png")


def test_looking_inside_sees_the_same_boxes(detector, searched):
    explanation = session.look_inside(detector, searched)
    np.testing.assert_allclose(explanation.detections.boxes_xyxy, searched.candidates.boxes_xyxy, atol=0.01)
    np.testing.assert_allclose(explanation.detections.scores, searched.candidates.scores, atol=1e-4)
    for choice in (Choice(), Choice(threshold=1)):
        shown = session.choose_explained(explanation, choice)
        assert shown.detections.image_wh == searched.shown.size
        assert len(shown.detections) == len(session.choose(searched, choice)) == len(shown.token_scores)
        assert shown.draw_map("blue oval").width == searched.shown.width
        assert shown.draw_scores().width > 0


def test_an_upload_that_was_let_go(detector, tmp_path):
    with pytest.raises(ImageError, match=r"'scene\.png' was let go"):
        session.search(detector, tmp_path / "gone.png", "scene.png", Vocabulary(LABELS))


def test_a_negative_drops_what_is_more_like_it(detector):
    vocabulary = session.read_vocabulary("house", "blue house")
    found = session.choose(session.search(detector, SCENE, "scene.png", vocabulary), Choice())
    plain = session.choose(session.search(detector, SCENE, "scene.png", Vocabulary(("house",))), Choice())
    assert len(found) < len(plain)
    assert found.labels == ("house",)


def test_nothing_found(searched, tmp_path):
    none = session.choose(searched, Choice(threshold=1))
    assert len(none) == 0
    assert session.rows(none) == []
    assert session.draw(searched, none).tobytes() == searched.shown.tobytes()
    assert "0 boxes" in session.summary(searched, none)
    assert all(chip.boxes == 0 for chip in session.legend(none))
    assert json.loads(session.save_coco(searched, none, tmp_path).read_text())["annotations"] == []
    assert Detections.from_json(session.save_json(searched, none, tmp_path).read_text()) == none
    assert session.save_annotated(searched, none, tmp_path).exists()


def test_no_candidates_at_all(searched):
    empty = replace(searched, candidates=searched.candidates[:0])
    assert "Nothing was found" in session.summary(empty, session.choose(empty, Choice()))
    assert session.best_labels(empty, 5) == []


def test_table_and_legend_count_the_same_boxes(searched):
    found = session.choose(searched, Choice())
    table = session.rows(found)
    assert [row[0] for row in table] == [item.label for item in found]
    assert all(len(row) == len(session.COLUMNS) for row in table)
    chips = session.legend(found)
    assert {chip.label: chip.boxes for chip in chips} == {
        label: sum(row[0] == label for row in table) for label in LABELS
    }
    assert [chip.boxes for chip in chips] == sorted((chip.boxes for chip in chips), reverse=True)


def test_the_legend_has_the_colours_of_the_picture(searched):
    found = session.choose(searched, Choice())
    pixels = np.asarray(session.draw(searched, found)).reshape(-1, 3)
    for chip in session.legend(found):
        assert chip.color == color_hex(LABELS.index(chip.label))
        color = np.frombuffer(bytes.fromhex(chip.color[1:]), np.uint8)
        assert (pixels == color).all(axis=1).any() == (chip.boxes > 0)


def test_a_label_in_the_legend_is_text():
    text = session.legend_html([session.Chip("<script>alert(1)</script>", "#ff0000", 1)])
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_a_long_legend_ends_with_a_count():
    chips = [session.Chip(f"label {index}", "#ff0000", 1) for index in range(1203)]
    text = session.legend_html(chips)
    assert text.count("<li") == session.MOST_CHIPS + 1
    assert f"{1203 - session.MOST_CHIPS} more labels" in text


def test_only_labels_with_candidates_have_sliders(searched):
    assert session.best_labels(searched, 2) == ["brown house", "yellow bolt"]
    with_candidates = {item.label for item in searched.candidates}
    assert session.best_labels(searched, 12) == [label for label in LABELS if label in with_candidates]


@pytest.mark.parametrize(
    ("image_wh", "shown_wh"),
    [((1, 1), (900, 900)), ((2000, 1), (1600, 1)), ((1000, 800), (1000, 800)), ((90, 60), (900, 600))],
)
def test_the_size_in_which_pictures_are_shown(image_wh, shown_wh):
    assert session.in_shown_size(PIL.Image.new("RGB", image_wh)).size == shown_wh


def test_a_large_picture_is_shown_smaller_and_saved_whole(detector, tmp_path):
    with PIL.Image.open(SCENE) as scene:
        scene.convert("RGB").resize((2000, 2000)).save(tmp_path / "large.png")
    large = session.search(detector, tmp_path / "large.png", "large.png", Vocabulary(LABELS))
    found = session.choose(large, Choice())
    assert len(found) > 0
    assert session.draw(large, found).size == (session.LONGEST_SHOWN, session.LONGEST_SHOWN)
    with PIL.Image.open(session.save_annotated(large, found, tmp_path)) as saved:
        assert saved.size == (2000, 2000)


def pictures_of(thing):
    """Return the pictures that a search or an explanation keeps in memory."""
    values = (getattr(thing, field.name) for field in fields(thing))
    return [value for value in values if isinstance(value, PIL.Image.Image)]


def test_a_page_holds_no_picture_in_its_own_size(detector, tmp_path):
    PIL.Image.new("RGB", (2500, 2000)).save(tmp_path / "large.png")
    large = session.search(detector, tmp_path / "large.png", "large.png", Vocabulary(LABELS))
    explanation = session.look_inside(detector, large)
    held = [*pictures_of(large), *pictures_of(explanation)]
    assert all(max(picture.size) <= session.LONGEST_SHOWN for picture in held)
    assert len({id(picture) for picture in held}) == 1


def test_a_picture_that_was_let_go_since(detector, tmp_path):
    path = tmp_path / "scene.png"
    path.write_bytes(SCENE.read_bytes())
    kept = session.search(detector, path, "scene.png", Vocabulary(LABELS))
    path.unlink()
    found = session.choose(kept, Choice())
    assert session.draw(kept, found).size == kept.shown.size
    assert session.save_coco(kept, found, tmp_path).exists()
    for ask in (lambda: session.look_inside(detector, kept), lambda: session.save_annotated(kept, found, tmp_path)):
        with pytest.raises(ImageError, match=r"'scene\.png' was let go"):
            ask()


def test_downloads_open_elsewhere(searched, tmp_path):
    found = session.choose(searched, Choice())
    assert Detections.from_json(session.save_json(searched, found, tmp_path).read_text(encoding="utf-8")) == found
    coco = COCO(str(session.save_coco(searched, found, tmp_path)))
    assert coco.loadImgs([1])[0]["file_name"] == "scene.png"
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == list(LABELS)
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [one["score"] for one in annotations] == pytest.approx(found.scores.tolist(), abs=1e-6)
    corners = [[left, top, left + width, top + height] for left, top, width, height in (a["bbox"] for a in annotations)]
    np.testing.assert_allclose(corners, found.boxes_xyxy, atol=1e-3)
    with PIL.Image.open(session.save_annotated(searched, found, tmp_path)) as saved:
        assert saved.tobytes() == found.draw(open_picture(SCENE)).tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "scene.coco.json",
        "scene.detected.png",
        "scene.json",
    ]


def test_a_name_that_is_no_file_name_stays_in_its_folder(searched, tmp_path):
    odd = replace(searched, name="../.png")
    assert session.save_json(odd, session.choose(odd, Choice()), tmp_path).parent == tmp_path


def test_a_search_that_was_let_go(searched):
    assert session.still_there(searched) is searched
    with pytest.raises(ImageError, match="Press Detect"):
        session.still_there(None)
