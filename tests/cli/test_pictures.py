"""Which pictures are read, and where the annotated ones go."""

from pathlib import Path

import PIL.Image
import pytest

from groundling.cli.pictures import choose_outputs, find_pictures
from groundling.errors import ImageError


def test_no_names():
    assert find_pictures([]) == []


def test_a_folder_is_its_pictures_by_name(tmp_path):
    for name in ("b.JPG", "a.png", "note.txt", "c.webp", "a.detected.png", "a.segmented.png", "._a.png", ".d.png"):
        (tmp_path / name).touch()
    (tmp_path / "inner.png").mkdir()
    assert find_pictures([str(tmp_path), "missing.png"]) == [
        *(tmp_path / name for name in ("a.png", "b.JPG", "c.webp")),
        Path("missing.png"),
    ]


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(ImageError, match=r"The folder .* has no pictures in it"):
        find_pictures([str(tmp_path)])


@pytest.mark.parametrize(
    ("pictures", "out", "expected"),
    [
        pytest.param([], None, [], id="empty"),
        pytest.param(["a/desk.jpg"], None, ["desk.detected.png"], id="current folder"),
        pytest.param(["desk.jpg"], "found.png", ["found.png"], id="file"),
        pytest.param(["desk.jpg"], "new/found.JPG", ["new/found.JPG"], id="file in a new folder"),
        pytest.param(["desk.jpg"], "found", ["found/desk.detected.png"], id="folder for one"),
        pytest.param(["desk.jpg"], "v1.0/", ["v1.0/desk.detected.png"], id="folder with a dot"),
        pytest.param(
            ["a/desk.jpg", "b/desk.jpg", "c/desk.png"],
            "found",
            ["found/desk.detected.png", "found/desk-2.detected.png", "found/desk-3.detected.png"],
            id="one name three times",
        ),
        pytest.param(
            ["a/x-2.jpg", "a/x.jpg", "b/x.jpg"],
            None,
            ["x-2.detected.png", "x.detected.png", "x-3.detected.png"],
            id="number already taken",
        ),
    ],
)
def test_choose_outputs(pictures, out, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = choose_outputs([Path(p) for p in pictures], out)
    assert chosen == [Path(p) for p in expected]


def test_standard_output_takes_no_picture():
    with pytest.raises(ImageError, match="--out - is standard output"):
        choose_outputs([Path("a.jpg")], "-")


def test_an_existing_folder_may_look_like_a_file(tmp_path):
    folder = tmp_path / "found.png"
    folder.mkdir()
    assert choose_outputs([Path("a.jpg")], str(folder)) == [folder / "a.detected.png"]


@pytest.mark.parametrize(
    ("count", "name", "message"),
    [
        pytest.param(1, "found.txt", "does not end in a picture format. Use .png", id="text"),
        pytest.param(2, "found.png", "is one picture, but there are 2 to write. Give a folder", id="one for two"),
        pytest.param(1, "plain", "is a file that is not a picture", id="file without ending"),
    ],
)
def test_bad_outputs(count, name, message, tmp_path):
    (tmp_path / "plain").touch()
    with pytest.raises(ImageError, match=message):
        choose_outputs([Path("a.jpg")] * count, str(tmp_path / name))


def test_a_source_is_not_overwritten(tmp_path):
    source = tmp_path / "a.png"
    PIL.Image.new("RGB", (2, 2)).save(source)
    with pytest.raises(ImageError, match="is the picture itself"):
        choose_outputs([source], f"{tmp_path}/./a.png")
