"""Where a labelling may write and where its pictures may lie; one process at a time."""

import os
import shutil
import sys

import pytest
from filelock import FileLock

from groundling.data.check import check_dataset
from groundling.errors import DatasetError, ImageError
from groundling.labelling import LabelSettings, find_pictures, label_folder
from groundling.labelling.workplace import Workplace
from labelling.drawn import FOUR, LABELS, contents, folder_of, folders, labels_of


def test_two_processes_do_not_work_on_one_data_set(quick, photos, tmp_path):
    with (
        Workplace(tmp_path / "out"),
        pytest.raises(DatasetError, match=r"Another process is labelling into .*out\."),
    ):
        label_folder(quick, photos, LABELS, tmp_path / "out")
    assert folders(tmp_path) == ["photos"]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_who_locks_what_another_has_just_left_is_not_alone_with_it(tmp_path, monkeypatch):
    """A leaves while B has opened the lock's file and not locked it yet; C may not come in beside B."""
    import fcntl

    flock, first, calls = fcntl.flock, Workplace(tmp_path / "out"), []

    def leaving_meanwhile(file, operation):
        calls.append(operation)
        if len(calls) == 1:
            first.__exit__()
        return flock(file, operation)

    first.__enter__()
    monkeypatch.setattr(fcntl, "flock", leaving_meanwhile)
    with Workplace(tmp_path / "out"):
        monkeypatch.undo()
        assert (tmp_path / "out.unfinished" / "lock").exists()
        with pytest.raises(DatasetError, match="Another process is labelling"), Workplace(tmp_path / "out"):
            pass
    assert folders(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_the_lock_is_held_until_nothing_is_left(tmp_path, monkeypatch):
    """Whoever opens its file while another leaves is refused, or finds that the file is gone."""
    release, seen = FileLock.release, []

    def releasing(self, *arguments, **options):
        if self.is_locked:
            seen.append((tmp_path / "out.unfinished" / "lock").exists())
        return release(self, *arguments, **options)

    monkeypatch.setattr(FileLock, "release", releasing)
    with Workplace(tmp_path / "out"):
        pass
    assert seen == [False]
    with Workplace(tmp_path / "out") as work:
        work.begin({"job": {}})
    assert seen == [False, True]  # what has been begun stays, and so does its lock
    with Workplace(tmp_path / "out") as work:
        work.clear()
    assert folders(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be synchronised there")
def test_the_journal_goes_when_the_data_set_is_on_the_disk(quick, photos, tmp_path, monkeypatch):
    fsync, clear, synced, left = os.fsync, Workplace.clear, [], []

    def syncing(number):
        synced.append((os.fstat(number).st_ino, (tmp_path / "out").exists()))
        fsync(number)

    def clearing(self):
        left.append(set(synced))
        clear(self)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Workplace, "clear", clearing)
    label_folder(quick, photos, LABELS, tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.stat().st_nlink == 1]
    assert {"annotations.json", "predictions.jsonl", "files.jsonl", "report.json"} <= {path.name for path in files}
    assert {(path.stat().st_ino, False) for path in files} <= left[-1]  # before it has its name
    assert (tmp_path.stat().st_ino, True) in left[-1]


def test_the_data_set_may_lie_among_the_pictures(quick, photos):
    for expected in (True, False):
        pictures = find_pictures(photos, recursive=True)
        report = label_folder(quick, pictures, LABELS, photos / "labelled")
        assert (report.pictures, report.is_written) == (4, expected)


def test_the_pictures_may_not_lie_in_the_data_set(quick, photos, tmp_path):
    label_folder(quick, photos, LABELS, tmp_path / "out")
    for overwrite in (False, True):
        with pytest.raises(DatasetError, match=r"The pictures lie in .*out, which is to be written"):
            label_folder(quick, tmp_path / "out", LABELS, tmp_path / "out", LabelSettings(overwrite=overwrite))
        with pytest.raises(DatasetError, match=r"The pictures lie in"):
            label_folder(quick, photos, LABELS, photos.parent, LabelSettings(overwrite=overwrite))
    (tmp_path / "list.txt").write_text("photos/a.png\nout/images/b.png\n")
    with pytest.raises(DatasetError, match="The pictures lie in"):
        label_folder(quick, tmp_path / "list.txt", LABELS, tmp_path / "out", LabelSettings(overwrite=True))
    assert sorted(path.name for path in photos.iterdir()) == list(FOUR)


def test_places_that_cannot_be_written(quick, photos, tmp_path):
    (tmp_path / "file").write_text("")
    for out, message in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "out", "is no folder that you may change|is a file|cannot be made"),
        (photos, "The pictures lie in|is not empty"),
        ("/proc" if os.path.ismount("/proc") else "/", "is the root of a file system"),
        ("/", "/ is the root of a file system and cannot be replaced. Name a folder in it"),
    ):
        with pytest.raises(DatasetError, match=message):
            label_folder(quick, photos, LABELS, out)
    assert folders(tmp_path) == ["file", "photos"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_may_not_be_written(quick, photos, tmp_path):
    (tmp_path / "fixed").mkdir(mode=0o500)
    with pytest.raises(DatasetError, match="is no folder that you may change"):
        label_folder(quick, photos, LABELS, tmp_path / "fixed" / "out")


def test_lists_in_their_order(quick, photos, tmp_path):
    (tmp_path / "list.txt").write_text("photos/c.png\nphotos/gone.png\nphotos/a.png\n")
    report = label_folder(quick, tmp_path / "list.txt", LABELS, tmp_path / "out")
    assert list(labels_of(tmp_path / "out")) == ["photos/c.png", "photos/a.png"]
    assert [one.picture for one in report.unreadable] == ["photos/gone.png"]
    assert (tmp_path / "out" / "images" / "c.png").samefile(photos / "c.png")


def test_another_line_of_a_list_is_all_that_is_computed(quick, photos, tmp_path):
    folder_of(tmp_path / "others", "a.png", first=4)
    (tmp_path / "lists").mkdir()
    file = tmp_path / "lists" / "list.txt"
    file.write_text("../photos/a.png\n../photos/b.png\n")
    label_folder(quick, file, LABELS, tmp_path / "out")
    file.write_text("../photos/a.png\n../others/a.png\n../photos/b.png\n")
    assert label_folder(quick, file, LABELS, tmp_path / "out").computed == 1
    assert check_dataset(tmp_path / "out") == []
    assert sorted(contents(tmp_path / "out" / "images")) == ["others/a.png", "photos/a.png", "photos/b.png"]
    file.write_text("../photos/a.png\n../out/images/photos/b.png\n")
    with pytest.raises(DatasetError, match="The pictures lie in"):
        label_folder(quick, file, LABELS, tmp_path / "out")


def test_a_data_set_file_is_no_list(quick, photos, tmp_path):
    label_folder(quick, photos, LABELS, tmp_path / "out")
    with pytest.raises(ImageError, match="no list of pictures"):
        label_folder(quick, tmp_path / "out" / "annotations.json", LABELS, tmp_path / "again")
    assert folders(tmp_path) == ["out", "photos"]


def test_copies(quick, photos, tmp_path):
    label_folder(quick, photos, LABELS, tmp_path / "out", LabelSettings(copy=True))
    shutil.rmtree(photos)
    assert check_dataset(tmp_path / "out") == []


def test_links_become_copies(quick, photos, tmp_path):
    for copy in (False, True):
        report = label_folder(quick, photos, LABELS, tmp_path / "out", LabelSettings(copy=copy))
        assert (report.computed, report.is_written) == (0 if copy else 4, True)
        assert (tmp_path / "out" / "images" / "a.png").samefile(photos / "a.png") is not copy
    assert not label_folder(quick, photos, LABELS, tmp_path / "out", LabelSettings(copy=True)).is_written
