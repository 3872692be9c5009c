"""Temporary files: in one private folder, gone in time."""

import os
import stat
import time

from groundling.app.temporary import KEPT_SECONDS, TemporaryFiles


def test_nothing_stays():
    with TemporaryFiles() as files:
        assert files.root.is_dir()
        (files.new_folder() / "a.png").write_bytes(b"a")
    assert not files.root.exists()


def test_nobody_else_can_read_them():
    with TemporaryFiles() as files:
        assert stat.S_IMODE(files.root.stat().st_mode) == 0o700


def test_a_download_goes_after_its_time():
    with TemporaryFiles() as files:
        old, young = files.new_folder(), files.new_folder()
        assert old != young
        past = time.time() - KEPT_SECONDS - 1
        os.utime(old, (past, past))
        files.new_folder()
        assert not old.exists()
        assert young.exists()
