"""A folder that is whole or not there, also after a power cut."""

import errno
import os
import sys
from pathlib import Path

import pytest

from groundling.data.writers.folder import atomic_folder
from groundling.files import sync_folder, sync_tree

posix = pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be synchronised there")


@pytest.fixture
def events(monkeypatch):
    """What reaches the disk, by the names that it has then, and what is renamed."""
    happened = []
    fsync, rename = os.fsync, Path.rename

    def syncing(number):
        happened.append(("sync", os.fstat(number).st_ino))
        fsync(number)

    def renaming(self, target):
        happened.append(("rename", self.name))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "rename", renaming)
    return happened


@posix
@pytest.mark.parametrize("again", [False, True])
def test_everything_is_on_the_disk_before_it_takes_its_place(tmp_path, events, again):
    out = tmp_path / "out"
    (tmp_path / "photo.png").write_bytes(b"pixels")
    if again:
        with atomic_folder(out, replaceable=None):
            pass
    events.clear()
    with atomic_folder(out, replaceable=()) as folder:
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "c.txt").write_text("c")
        (folder / "d.txt").write_text("d")
        (folder / "e.png").hardlink_to(tmp_path / "photo.png")
        (folder / "f.png").symlink_to(tmp_path / "gone.png")
    exchanged = max(n for n, (what, _) in enumerate(events) if what == "rename")
    synced = {number for what, number in events[:exchanged] if what == "sync"}
    assert synced == {path.stat().st_ino for path in (out, out / "a", out / "a/b", out / "a/b/c.txt", out / "d.txt")}
    assert events[exchanged + 1 :] == [("sync", tmp_path.stat().st_ino)]


@posix
def test_a_disk_that_fails_at_the_end_leaves_what_was_there(tmp_path, monkeypatch):
    def failing(number):
        raise OSError(errno.EIO, "Input/output error")

    with atomic_folder(tmp_path / "out", replaceable=None) as folder:
        (folder / "a.txt").write_text("old")
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output"), atomic_folder(tmp_path / "out", replaceable=["a.txt"]) as folder:
        (folder / "a.txt").write_text("new")
    assert (tmp_path / "out" / "a.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(OSError, match="Input/output"):
        sync_folder(tmp_path)


@posix
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES])
def test_systems_that_cannot_synchronise_folders(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(number, "no")))
    sync_folder(tmp_path)
    sync_tree(tmp_path)  # empty
