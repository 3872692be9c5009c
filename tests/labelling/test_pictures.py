"""Which pictures are meant."""

import os

import pytest

from groundling.errors import DatasetError, ImageError
from groundling.labelling.pictures import find_pictures, unusable_name


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("names", "recursive", "found"),
    [
        pytest.param(["b.png", "a.JPG", "c.txt", ".d.png"], False, ["a.JPG", "b.png"], id="only pictures, by name"),
        pytest.param(["a.png", "a.detected.png", "a.segmented.png"], False, ["a.png"], id="not what was drawn"),
        pytest.param(["a.png", "in/b.png"], False, ["a.png"], id="not in folders"),
        pytest.param(["a.png", "in/b.png", "in/c/d.png"], True, ["a.png", "in/b.png", "in/c/d.png"], id="in folders"),
        pytest.param(["a.png", ".git/b.png"], True, ["a.png"], id="hidden folders"),
        pytest.param(["x/a.png", "y/a.png"], True, ["x/a.png", "y/a.png"], id="equal names"),
        pytest.param(["ü ñ/夜 1.png"], True, ["ü ñ/夜 1.png"], id="any letter"),
    ],
)
def test_folders(tmp_path, names, recursive, found):
    listed = find_pictures(touch(tmp_path, *names), recursive=recursive)
    assert (listed.root, list(listed.names), listed.recursive) == (tmp_path, found, recursive)


@pytest.mark.parametrize("inside", ["images", "JPEGImages"])
def test_the_folder_of_a_data_set(tmp_path, inside):
    touch(tmp_path, "annotations.json", f"{inside}/b.png", f"{inside}/c/a.png")
    listed = find_pictures(tmp_path)
    assert (listed.source, listed.root, listed.names) == (tmp_path, tmp_path / inside, ("b.png", "c/a.png"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param([], r"has no pictures in it \(\.bmp", id="empty"),
        pytest.param(["a.txt"], r"has no pictures in it \(\.bmp", id="no pictures"),
        pytest.param(["x/a.png", "x/b.png"], "those inside it have 2: --recursive", id="only deeper"),
    ],
)
def test_folders_without_pictures(tmp_path, names, message):
    with pytest.raises(ImageError, match=message):
        find_pictures(touch(tmp_path, *names))


def test_lists(tmp_path):
    touch(tmp_path, "lists/in/a b.png")
    file = tmp_path / "lists" / "all.TXT"
    lines = [
        "\ufeffin/a b.png",
        "",
        "../x/b.png",
        f"{tmp_path}/lists/in/../c.png",
        "./in/a b.png",
        f"{tmp_path}/x/b.png",
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    listed = find_pictures(file)
    assert (listed.source, listed.root) == (file, tmp_path / "lists")
    assert listed.names == ("in/a b.png", f"{tmp_path.as_posix()}/x/b.png", "c.png")
    assert listed.common == tmp_path


def test_another_line_changes_no_name(tmp_path):
    touch(tmp_path, "x/a.png", "y/b.png")
    (tmp_path / "list.txt").write_text("x/a.png\n")
    first = find_pictures(tmp_path / "list.txt").names
    (tmp_path / "list.txt").write_text("x/a.png\ny/b.png\n../elsewhere.png\n")
    assert find_pictures(tmp_path / "list.txt").names[:1] == first == ("x/a.png",)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        pytest.param(b"", ImageError, "is empty. Write one path", id="empty"),
        pytest.param(b"a.png\nhttps://x.org/b.png\n", ImageError, "line 2: 'https.* is a URL", id="address"),
        pytest.param(b"\xff\xfe", DatasetError, "is not UTF-8", id="not text"),
        pytest.param(b"x.png\n{\n}\n", ImageError, r"No line of .* exists, the first is '.*x\.png'", id="no pictures"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path, content, error, message):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(error, match=message):
        find_pictures(tmp_path / "list.txt")


@pytest.mark.parametrize("name", ["annotations.json", "list", "list.csv"])
def test_other_files_are_no_lists(tmp_path, name):
    touch(tmp_path, "a.png")
    (tmp_path / name).write_text("a.png\n")
    with pytest.raises(ImageError, match=r"is no folder, no picture and no list of pictures \(\.txt\)\. Name"):
        find_pictures(tmp_path / name)


def test_a_picture_and_nothing(tmp_path):
    assert find_pictures(touch(tmp_path, "a.png") / "a.png").names == ("a.png",)
    with pytest.raises(ImageError, match=r"There is no folder '.*gone'\. Check the path"):
        find_pictures(tmp_path / "gone")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path):
    touch(tmp_path, "a.png", "secret/b.png")
    (tmp_path / "secret").chmod(0)
    try:
        with pytest.raises(PermissionError):
            find_pictures(tmp_path, recursive=True)
    finally:
        (tmp_path / "secret").chmod(0o700)


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        ("plain.png", True),
        ("Screenshot 10.00\u202fAM.png", True),
        ("夜/é.png", True),
        ("a\nb.png", False),
        ("a\udcff.png", False),
    ],
)
def test_names_that_annotations_hold(name, usable):
    assert (unusable_name(name) is None) is usable
