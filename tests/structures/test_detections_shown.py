"""Detections in a notebook, a table and a plot: what is shown, what is escaped, and what is left without a picture."""

import re
import sys
from html.parser import HTMLParser

import numpy as np
import PIL.Image
import pytest
from IPython.core.formatters import DisplayFormatter

from groundling.errors import ImageError, MissingExtraError
from groundling.pictures import strips
from groundling.pictures.reading import open_picture
from groundling.structures import detections_shown
from groundling.structures.detections import Detections
from groundling.structures.masks import Masks

SIZE = (64, 48)


def build(count=2, labels=("a cat", "a remote control"), size=SIZE, **changes):
    corners = np.tile([1.5, 2, 30, 40], (count, 1))
    values = {"scores": [0.5] * count, "label_ids": [row % len(labels) for row in range(count)], "labels": labels}
    return Detections(boxes_xyxy=corners, image_wh=size, **{**values, **changes})


@pytest.fixture
def source(tmp_path):
    """The path of a picture."""
    PIL.Image.new("RGB", SIZE, "gray").save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


class Elements(HTMLParser):
    """Collects the elements, cells and attributes of a piece of HTML, and checks that all of them are closed."""

    def __init__(self, text):
        super().__init__()
        self.names, self.open, self.cells, self.attributes = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs
        if tag != "img":
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open:
            self.cells[-1] += data


def in_notebook(found):
    """Return what IPython hands to a notebook; where a display fails, it hands over no HTML."""
    formats, metadata = DisplayFormatter().format(found)
    assert metadata == {}
    assert formats["text/plain"] == repr(found)
    return formats["text/html"]


def test_nothing_found(source):
    assert "0 found" in in_notebook(build(0))
    parts = Elements(in_notebook(build(0, source=source)))
    assert parts.cells == []
    assert "img" in parts.names


def test_picture_and_table(source):
    html = in_notebook(build(source=source))
    parts = Elements(html)
    assert parts.cells[:6] == ["■ a cat", "0.50", "1.5", "2.0", "30.0", "40.0"]
    data = dict(parts.attributes)["src"]
    assert data.startswith("data:image/jpeg;base64,")
    assert open_picture(data).size == SIZE
    assert "http" not in html


def test_a_large_picture_is_scaled_down(tmp_path):
    PIL.Image.new("RGB", (3000, 1500), "gray").save(tmp_path / "large.jpg")
    html = in_notebook(build(size=(3000, 1500), source=str(tmp_path / "large.jpg")))
    data = dict(Elements(html).attributes)["src"]
    assert open_picture(data).size == (1000, 500)
    assert len(html) < 200_000


@pytest.fixture
def large(tmp_path, monkeypatch):
    """The path of a lying picture, upright 480 x 640, that is too large to be held whole, by the limits set here."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "large.jpg"
    PIL.Image.new("RGB", (640, 480), "gray").save(path, exif=exif)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100_000)
    monkeypatch.setattr(strips, "WHOLE_PIXELS", 100_000)
    monkeypatch.setattr(detections_shown, "MOST_DRAWN", 20_000)
    monkeypatch.setattr(detections_shown, "SHOWN_SIDE", 100)
    return path


def test_a_file_that_is_too_large_to_be_held_whole_is_drawn_smaller(large, tmp_path, pyplot):
    found = build(size=(480, 640), source=str(large))
    with pytest.raises(ImageError, match="too large to be held whole"):
        open_picture(large)
    drawn = found.draw()
    assert drawn.size == (120, 160)  # every 4 x 4 pixels are one
    small = PIL.Image.new("RGB", (120, 160), "gray")
    assert np.array_equal(np.asarray(drawn), np.asarray(found.resized(small.size).draw(small)))
    found.save(tmp_path / "found.png", large)
    assert open_picture(tmp_path / "found.png").size == (120, 160)
    data = dict(Elements(in_notebook(found)).attributes)["src"]
    assert open_picture(data).size == (75, 100)
    (shown,) = found.plot().get_images()
    assert shown.get_array().shape[:2] == (160, 120)
    assert tuple(shown.get_extent()) == (
        -0.5,
        479.5,
        639.5,
        -0.5,
    )  # boxes that a caller adds are in the picture's pixels


def test_a_large_file_of_another_size_is_refused(large):
    with pytest.raises(ImageError, match="picture of 64 x 48 pixels, but the picture given has 480 x 640"):
        build().draw(large)
    assert "480 x 640" in in_notebook(build(source=str(large)))


def test_a_large_file_needs_pyvips(large, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyvips", None)
    with pytest.raises(MissingExtraError, match=r"large\.jpg'.* needs the package 'pyvips'"):
        build(size=(480, 640)).draw(large)
    assert "groundling[tiles]" in in_notebook(build(size=(480, 640), source=str(large)))


def test_a_picture_from_memory_is_not_known():
    html = in_notebook(build())
    assert "img" not in Elements(html).names
    assert ".plot(image)" in html
    assert "a remote control" in html


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(lambda path: path.write_bytes(b""), "is empty", id="empty"),
        pytest.param(lambda path: path.unlink(), "There is no picture file", id="deleted"),
        pytest.param(lambda path: path.write_bytes(b"not a picture"), "not a readable picture", id="broken"),
        pytest.param(lambda path: PIL.Image.new("RGB", (9, 9)).save(path), "9 x 9", id="another size"),
    ],
)
def test_without_its_file_the_table_is_left(tmp_path, spoil, reason):
    path = tmp_path / "a.png"
    PIL.Image.new("RGB", SIZE).save(path)
    found = build(source=str(path))
    spoil(path)
    html = in_notebook(found)
    assert "img" not in Elements(html).names
    assert reason in html
    assert "a remote control" in html


@pytest.mark.parametrize(
    "source", ["", "http://127.0.0.1:9/a.png", "a" * 100_000, "\0", "~nobody-here/a.png", "<script>"]
)
def test_a_source_that_is_no_file(source):
    html = in_notebook(build(source=source))
    assert len(html) < 5000
    assert not {"script", "img"} & set(Elements(html).names)


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b", "</td>"])
def test_labels_are_text(source, label):
    for found in (build(labels=(label,)), build(labels=(label,), source=source)):
        parts = Elements(in_notebook(found))
        assert parts.cells[0].removeprefix("■ ") == label
        assert set(parts.names) <= {"div", "p", "b", "img", "table", "thead", "tbody", "tr", "th", "td", "span", "code"}
        assert not [name for name, _ in parts.attributes if name.startswith("on")]


def test_a_long_table_is_cut(source):
    found = build(detections_shown.SHOWN_ROWS + 5, source=source)
    html = in_notebook(found)
    assert "and 5 more" in html
    assert html.count("<tr>") == detections_shown.SHOWN_ROWS + 2


def test_tracks_have_a_column(source):
    parts = Elements(in_notebook(build(track_ids=[7, 12], source=source)))
    assert parts.cells[:3] == ["■ a cat", "7", "0.50"]


def masked(count=2, *, size=SIZE, **changes):
    """Detections with a block as mask each, the left half of the picture."""
    masks = np.zeros((count, size[1], size[0]), bool)
    masks[:, :, : size[0] // 2] = True
    return build(count, size=size, **{"masks": Masks.from_array(masks, size), "mask_scores": [0.75] * count, **changes})


def test_masks_have_columns(source):
    parts = Elements(in_notebook(masked(source=source)))
    assert parts.cells[:4] == ["■ a cat", "0.50", "0.75", "1536"]
    parts = Elements(in_notebook(masked(source=source, mask_scores=None)))
    assert parts.cells[:4] == ["■ a cat", "0.50", "1536", "1.5"]
    assert Elements(in_notebook(masked(0, source=source))).cells == []


def test_pandas_has_columns_for_masks():
    table = masked().to_pandas()
    assert list(table.columns)[-2:] == ["mask_area", "mask_score"]
    assert (table["mask_area"].tolist(), table["mask_score"].tolist()) == ([1536] * 2, [0.75] * 2)
    assert [str(kind) for kind in table.dtypes[-2:]] == ["int64", "float32"]
    assert list(masked(mask_scores=None).to_pandas().columns)[-1] == "mask_area"
    assert list(masked(0).to_pandas().columns) == list(table.columns)


def test_masks_are_drawn_on_small_copies_too(large):
    drawn = masked(size=(480, 640)).draw(large)
    assert drawn.size == (120, 160)
    assert drawn.getpixel((30, 120)) != (128, 128, 128)
    assert drawn.getpixel((90, 120)) == (128, 128, 128)


def test_the_colours_of_the_table_are_those_of_the_boxes(source):
    found = build(1, labels=("a cat", "a remote control"), source=source)
    (color,) = re.findall(r"color: (#\w{6})", in_notebook(found))
    assert found.draw().getpixel((30, 30)) == tuple(bytes.fromhex(color[1:]))


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("tracked", [False, True])
def test_pandas(count, tracked):
    found = build(count, track_ids=range(count) if tracked else None)
    table = found.to_pandas()
    columns = ["label", "label_id", "score", "left", "top", "right", "bottom", *(["track_id"] if tracked else [])]
    assert list(table.columns) == columns
    assert len(table) == count
    types = [str(table[column].dtype) for column in columns]
    assert types[1:] == ["int64", *["float32"] * 5, *(["int64"] if tracked else [])]
    assert types[0] == str(build(2).to_pandas()["label"].dtype)
    assert table["label"].tolist() == [item.label for item in found]
    assert np.array_equal(table[["left", "top", "right", "bottom"]].to_numpy(), found.boxes_xyxy)
    table.loc[:, "score"] = 0  # the copy belongs to the caller
    assert (found.scores == 0.5).all()


def test_pandas_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'pandas'.*groundling\[tables\]"):
        build().to_pandas()


@pytest.fixture
def pyplot(monkeypatch):
    """Plotting without a window."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    yield pyplot
    pyplot.close("all")


def test_plotting(pyplot, source):
    found = build(source=source)
    axes = found.plot()
    (shown,) = axes.get_images()
    assert np.array_equal(shown.get_array(), np.asarray(found.draw()))
    assert np.array_equal(build().plot(source).get_images()[0].get_array(), shown.get_array())
    assert np.array_equal(build().plot(PIL.Image.open(source)).get_images()[0].get_array(), shown.get_array())
    width, height = axes.figure.get_size_inches()
    assert width / height == pytest.approx(SIZE[0] / SIZE[1])
    assert not axes.axison


def test_plotting_nothing_found_in_given_axes(pyplot, source):
    axes = pyplot.figure().subplots()
    assert build(0).plot(source, ax=axes) is axes
    assert len(axes.get_images()) == 1


def test_plotting_needs_the_picture():
    with pytest.raises(ImageError, match="Give the picture that was searched"):
        build().plot()


def test_a_track_keeps_its_colour_and_shows_its_number():
    picture = PIL.Image.new("RGB", (300, 200))
    boxes = np.array([[20, 50, 100, 150], [150, 50, 250, 150]], np.float32)
    both = Detections(boxes, [0.9, 0.8], [0, 0], ["a cat"], picture.size, track_ids=[3, 4])
    moved = Detections(boxes[[1]], [0.8], [0], ["a cat"], picture.size, track_ids=[4])
    drawn = both.draw(picture)
    assert drawn.getpixel((20, 100)) != drawn.getpixel((150, 100)) != (0, 0, 0)
    assert moved.draw(picture).getpixel((150, 100)) == drawn.getpixel((150, 100))
    untracked = Detections(boxes, [0.9, 0.8], [0, 0], ["a cat"], picture.size)
    assert np.asarray(drawn).any(axis=2).sum() > np.asarray(untracked.draw(picture)).any(axis=2).sum()
