"""What people and programs do to a data set after it was written."""

import os

import pytest
from PIL import Image

from groundling.data.check import check_dataset
from groundling.errors import DatasetError
from groundling.labelling import LabelSettings, label_folder
from labelling.drawn import LABELS, contents, folder_of, folders


def test_corrections_by_hand_are_not_lost(quick, photos, tmp_path):
    out = tmp_path / "out"
    label_folder(quick, photos, LABELS, out, LabelSettings(format="labelme"))
    folder_of(photos, "e.png", first=4)
    file = out / "images" / "a.json"
    later = (out / "report.json").stat().st_mtime_ns + 10**9
    os.utime(file, ns=(later, later))
    before = contents(out)
    with pytest.raises(DatasetError, match=r"a\.json has been changed since it was written, and the change would be"):
        label_folder(quick, photos, LABELS, out, LabelSettings(format="labelme"))
    assert contents(out) == before
    assert folders(tmp_path) == ["out", "photos"]
    (out / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(DatasetError, match=r"holds 'notes\.txt', which is no part of .*\. Move it away, or name"):
            label_folder(quick, photos, LABELS, out, LabelSettings(overwrite=overwrite))
    (out / "notes.txt").unlink()
    assert label_folder(quick, photos, LABELS, out, LabelSettings(overwrite=True)).computed == 5


def other_picture(path):
    path.unlink()
    Image.new("RGB", (9, 9)).save(path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(lambda out: (out / "images" / "mine.png").write_bytes(b""), r"mine\.png has been added", id="new"),
        pytest.param(lambda out: (out / "images" / "my notes").touch(), "images.my notes has been added", id="notes"),
        pytest.param(lambda out: (out / "images" / "in").symlink_to(out), "images.in has been added", id="link"),
        pytest.param(lambda out: other_picture(out / "images" / "a.png"), r"a\.png has been changed", id="another"),
        pytest.param(lambda out: (out / "images" / "a.png").unlink(), r"a\.png has been removed", id="no picture"),
        pytest.param(lambda out: (out / "labels" / "b.txt").unlink(), r"b\.txt has been removed", id="no labels"),
        pytest.param(lambda out: (out / "data.yaml").unlink(), r"data\.yaml has been removed", id="no names"),
        pytest.param(lambda out: (out / "data.yaml").write_text("x"), r"data\.yaml has been changed", id="names"),
    ],
)
def test_edits_among_pictures_and_annotations_are_not_lost(quick, photos, tmp_path, edit, message):
    out = tmp_path / "out"
    label_folder(quick, photos, LABELS, out, LabelSettings(format="yolo"))
    folder_of(photos, "e.png", first=4)
    edit(out)
    for name in out.rglob("*"):  # as where a backup is put back, or the clock is wrong
        if not name.is_symlink():
            os.utime(name, ns=(10**18, 10**18))
    before = contents(out)
    with pytest.raises(DatasetError, match=message):
        label_folder(quick, photos, LABELS, out, LabelSettings(format="yolo"))
    assert contents(out) == before
    assert folders(tmp_path) == ["out", "photos"]
    report = label_folder(quick, photos, LABELS, out, LabelSettings(format="yolo", overwrite=True))
    assert report.is_written
    assert check_dataset(out) == []


def test_an_edit_while_it_works_is_not_lost(quick, photos, tmp_path):
    out = tmp_path / "out"
    label_folder(quick, photos, LABELS, out)
    folder_of(photos, "e.png", first=4)

    def edit(stage, done, total):
        (out / "images" / "mine.png").write_bytes(b"mine")

    with pytest.raises(DatasetError, match=r"mine\.png has been added .*What is labelled is kept in"):
        label_folder(quick, photos, LABELS, out, progress=edit)
    assert (out / "images" / "mine.png").read_bytes() == b"mine"
    (out / "images" / "mine.png").unlink()
    assert label_folder(quick, photos, LABELS, out).computed == 0


def test_what_is_gone_is_not_called_complete(quick, photos, tmp_path):
    label_folder(quick, photos, LABELS, tmp_path / "out")
    (tmp_path / "out" / "annotations.json").unlink()
    with pytest.raises(DatasetError, match=r"annotations\.json has been removed since it was written. Name another"):
        label_folder(quick, photos, LABELS, tmp_path / "out")
    assert label_folder(quick, photos, LABELS, tmp_path / "out", LabelSettings(overwrite=True)).is_written


def test_what_programs_leave_is_no_edit(quick, photos, tmp_path):
    out, settings = tmp_path / "out", LabelSettings(format="yolo")
    label_folder(quick, photos, LABELS, out, settings)
    for name in ("labels.cache", ".DS_Store", "images/Thumbs.db"):
        (out / name).write_bytes(b"made again")
    folder_of(photos, "e.png", first=4)
    assert label_folder(quick, photos, LABELS, out, settings).is_written


def test_a_linked_picture_that_changes_is_no_edit(quick, photos, tmp_path):
    label_folder(quick, photos, LABELS, tmp_path / "out")
    (photos / "a.png").write_bytes((photos / "b.png").read_bytes())  # and with it the one in the data set
    assert label_folder(quick, photos, LABELS, tmp_path / "out").computed == 1
