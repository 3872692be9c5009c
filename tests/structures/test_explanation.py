"""The explanation object: which words it knows, its maps, its pictures, and what it writes."""

import json

import numpy as np
import PIL.Image
import pytest

from groundling.errors import ConfigError, PromptError
from groundling.structures.detections import Detections
from groundling.structures.explanation import SMALLEST_SCALE, Explanation

SIZE = (160, 120)
TOKENS = ("[CLS]", "red", "star", ".", "red", "ci", "##rcle", ".", "[SEP]")


def build(count=2, labels=("red star", "red circle"), tokens=TOKENS):
    """Two words of two and three tokens; token t is similar to row t of the map, and pays attention to column t."""
    boxes = np.tile(np.array([[20, 30, 60, 80]], np.float32), (count, 1))
    scores = np.arange(count * len(tokens), dtype=np.float32).reshape(count, len(tokens)) / 1000
    maps = np.zeros((len(tokens), 12, 16), np.float32)
    attention = np.full_like(maps, 0.001)
    for token in range(len(tokens)):
        maps[token, token] = 0.1 * token
        attention[token, :, token] = 0.05
    return Explanation(
        detections=Detections(boxes, [0.5] * count, [0] * count, labels, SIZE),
        picture=PIL.Image.new("RGB", SIZE, "gray"),
        tokens=tokens,
        words=labels,
        word_tokens=((1, 2), (4, 5, 6)),
        word_labels=(0, 1),
        token_scores=scores,
        similarity=maps,
        attention=attention / attention.sum(axis=(1, 2), keepdims=True),
    )


def test_nothing_found():
    empty = build(0)
    assert repr(empty) == "Explanation(0 boxes, words 'red star', 'red circle')"
    assert empty.to_dict()["token_scores"] == []
    assert empty.draw_map("red star").width == SIZE[0]
    assert empty.draw_scores().mode == "RGB"


@pytest.mark.parametrize(
    ("word", "places"), [("red star", (1, 2)), ("red circle", (4, 5, 6)), ("star", (2,)), ("##rcle", (6,)), (4, (4,))]
)
def test_words_tokens_and_numbers(word, places):
    assert build().positions(word) == places


@pytest.mark.parametrize(
    ("word", "message"),
    [
        pytest.param("", "'' is not in the prompt. Its words are 'red star', 'red circle'; its tokens are", id="empty"),
        pytest.param("Red star", "'Red star' is not in the prompt", id="other letters"),
        pytest.param("red", r"'red' stands in 2 places, \[1, 4\]. Give one of these numbers", id="twice"),
        pytest.param(9, "There is no token 9: there are 9, counted from 0", id="past the end"),
        pytest.param(-1, "There is no token -1", id="negative"),
    ],
)
def test_unknown_words(word, message):
    with pytest.raises(PromptError, match=message):
        build().map(word)
    with pytest.raises(PromptError, match=message):
        build().draw_map(word)


def test_maps_are_means_of_tokens():
    found = build()
    similarity = found.map("red star")
    assert (similarity.dtype, similarity.shape) == (np.float32, (12, 16))
    assert similarity[1] == pytest.approx(0.05)
    assert similarity[2] == pytest.approx(0.1)
    attention = found.map("red star", "attention")
    assert attention.max() == 1
    assert attention[:, 1:3] == pytest.approx(1)
    assert attention[:, 4].max() < 0.1


def test_an_unknown_kind():
    with pytest.raises(ConfigError, match=r"kind='heat' is not known. Use 'similarity' or 'attention'"):
        build().map("red star", "heat")


def test_the_overlay_is_hot_where_the_map_is():
    found = build(0)
    drawn = np.asarray(found.draw_map("##rcle")).astype(int)
    assert drawn.shape[1] == SIZE[0]
    assert drawn.shape[0] > SIZE[1]
    red, green, blue = drawn[65, 80]  # row 6 of 12 in 120 pixels
    assert red > green + 50
    assert red > blue + 50
    assert drawn[15, 80].tolist() == [192, 192, 192]
    assert found.picture.getextrema() == ((128, 128),) * 3


def test_weak_similarity_does_not_look_strong():
    found = build(0)
    assert found.map(1).max() < SMALLEST_SCALE < found.map(8).max()
    weak, strong = (np.asarray(found.draw_map(token))[:120, :, 1].min() for token in (1, 8))
    assert weak > strong + 50


def test_boxes_of_the_label_are_drawn():
    plain, boxed = build(0).draw_map("red star"), build().draw_map("red star")
    assert plain.getpixel((20, 60)) != boxed.getpixel((20, 60))
    assert build().draw_map("red circle").tobytes() == build(0).draw_map("red circle").tobytes()


def test_tokens_of_a_box():
    own, others = build().tokens_of(0)
    assert own == [1, 2]
    assert others == [6, 5, 4]


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_table_of_scores(count):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    axes = build(count).plot_scores()
    columns = [text.get_text() for text in axes.get_xticklabels()]
    assert columns == ["red", "star", "red", "ci", "##rcle"]
    shown = axes.get_images()[0].get_array() if count else np.zeros((0, 5))
    assert np.array_equal(shown, build(count).token_scores[:30, [1, 2, 4, 5, 6]])
    assert len(axes.patches) == 2 * min(count, 30)
    given = pyplot.figure().subplots()
    assert build(count).plot_scores(given) is given
    pyplot.close("all")


@pytest.mark.parametrize("label", ["$x^", "<b>", "кошка", "猫", "\n", "x" * 300], ids=ascii)
def test_any_label_can_be_shown(label):
    found = build(labels=(label, "red circle"), tokens=("[CLS]", "$x^", "猫", *TOKENS[3:]))
    assert found.draw_scores().mode == "RGB"
    assert found.draw_map(label).width == SIZE[0]


@pytest.mark.parametrize("size", [(1, 1), (20, 300), (3000, 40)])
def test_pictures_of_any_size(size):
    found = build(0)
    changed = Explanation(
        Detections(np.zeros((0, 4)), [], [], found.words, size),
        PIL.Image.new("RGB", size),
        *(getattr(found, name) for name in ("tokens", "words", "word_tokens", "word_labels", "token_scores")),
        found.similarity,
        found.attention,
    )
    assert changed.draw_map("red star").width == size[0]


def test_a_dict_is_plain():
    value = json.loads(json.dumps(build().to_dict()))
    assert list(value) == ["detections", "tokens", "words", "token_scores"]
    assert value["words"][1] == {"word": "red circle", "label": "red circle", "tokens": [4, 5, 6]}
    assert np.array_equal(np.array(value["token_scores"], np.float32), build().token_scores)
    assert Detections.from_dict(value["detections"]) == build().detections
