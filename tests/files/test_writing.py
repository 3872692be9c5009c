import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from groundling.errors import CheckpointError
from groundling.files import atomic_path, read_json, write_json, write_text


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_json_goes_round(tmp_path: Path) -> None:
    value = {"b": [1, None], "a": "ä"}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value
    assert (tmp_path / "value.json").read_text(encoding="utf-8").startswith('{\n  "a"')


def test_a_link_is_followed_and_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "real.txt").read_text() == "new"
    assert (tmp_path / "link.txt").is_symlink()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(CheckpointError, match="not a regular file"):
        write_text(tmp_path / "fifo", "x")
    assert (tmp_path / "fifo").is_fifo()


def test_what_killed_writers_left_is_removed_after_a_day(tmp_path: Path) -> None:
    old, young = tmp_path / ".a.0123.partial.json", tmp_path / ".b.0123.partial.json"
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (0, 0))
    write_json(tmp_path / "c.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, "c.json"]


def test_threads_that_write_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: write_json(tmp_path / "a.json", {"n": number}), range(40)))
    assert read_json(tmp_path / "a.json")["n"] in range(40)
    assert len(list(tmp_path.iterdir())) == 1
