"""Temporary files: in one private folder, gone in time."""

import os
import stat
import time

import pytest

from groundling.app import temporary
from groundling.app.temporary import KEPT_SECONDS, TemporaryFiles


def make_old(*paths):
    past = time.time() - KEPT_SECONDS - 1
    for path in paths:
        os.utime(path, (past, past))


def wait_until_gone(path):
    end = time.monotonic() + 20
    while path.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_nothing_stays():
    with TemporaryFiles() as files:
        assert files.root.is_dir()
        (files.new_folder() / "a.png").write_bytes(b"a")
    assert not files.root.exists()


def test_nobody_else_can_read_them():
    with TemporaryFiles() as files:
        assert stat.S_IMODE(files.root.stat().st_mode) == 0o700


def test_a_download_goes_after_its_time_though_nobody_asks(monkeypatch):
    monkeypatch.setattr(temporary, "CHECK_SECONDS", 0.01)
    with TemporaryFiles() as files:
        old, young = files.new_folder(), files.new_folder()
        assert old != young
        make_old(old)
        wait_until_gone(old)
        assert young.exists()


def test_what_is_being_written_stays():
    with TemporaryFiles() as files:
        folder = files.new_folder()
        (folder / "clip.mp4").write_bytes(b"a")
        make_old(folder)
        files.sweep()
        assert folder.exists()
        make_old(folder / "clip.mp4", folder)
        files.sweep()
        assert not folder.exists()


def test_an_upload_that_broke_off_goes_too():
    with TemporaryFiles() as files:
        (files.uploads / "0a").mkdir(parents=True)
        whole, old, young = (files.uploads / name for name in ("0a/scene.png", "tmp1", "tmp2"))
        for path in (whole, old, young):
            path.write_bytes(b"a")
        make_old(whole, old)
        files.sweep()
        assert not old.exists()
        assert young.exists()
        assert whole.exists()  # Gradio's


@pytest.mark.parametrize(
    ("path", "held"),
    [
        pytest.param("", False, id="empty"),
        ("/", False),
        ("/etc/hostname", False),
        ("{root}", False),
        ("{root}/made/a", False),
        ("{root}/uploads/../made/a", False),
        ("{root}/uploads2/a", False),
        ("{root}/uploads/a", True),
        ("{root}/uploads/0a/b.png", True),
        ("a\0b", False),
        ("http://127.0.0.1/uploads/a", False),
    ],
)
def test_what_is_an_upload(path, held):
    with TemporaryFiles() as files:
        assert files.holds(path.format(root=files.root)) is held
