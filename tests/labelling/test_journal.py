"""What has been written stays, what has been cut off never was."""

import errno
import os

import pytest

from groundling.labelling.finding import Finding
from groundling.labelling.journal import Journal
from groundling.structures.detections import Detection

CAT = Detection((1.5, 2.0, 3.25, 4.0), "cat", 0, 0.75)


def finding(name: str, *found: Detection, stamp: tuple[int, int] = (10, 20)) -> Finding:
    return Finding(name, stamp, (40, 30), found)


A, B, C = finding("a.png", CAT), finding("b é.png"), Finding("c\udcff.png", None, error="It is broken.")


def written(path, *lines):
    with Journal(path) as journal:
        for line in lines:
            journal.add(line)
    return path


def read(path):
    journal = Journal(path)
    return {name: journal[name] for name in journal}


def test_nothing(tmp_path):
    assert read(tmp_path / "none") == {}
    assert read(written(tmp_path / "empty")) == {}


def test_there_and_back(tmp_path):
    path = written(tmp_path / "j", [A, B], [C])
    assert read(path) == {one.picture: one for one in (A, B, C)}
    journal = Journal(path)
    assert len(journal) == 3
    assert "a.png" in journal
    assert "d.png" not in journal


def test_what_is_added_can_be_asked_for_at_once(tmp_path):
    with Journal(tmp_path / "j") as journal:
        journal.add([A])
        assert journal["a.png"] == A
        journal.add([finding("a.png")])
        assert journal["a.png"] == finding("a.png")  # the last one counts
        assert len(journal) == 1


def test_which_pictures_are_done(tmp_path):
    journal = Journal(written(tmp_path / "j", [A, C]))
    assert journal.has("a.png", (10, 20))
    assert not journal.has("a.png", (10, 21))  # changed since
    assert not journal.has("a.png", None)  # gone since
    assert not journal.has("c\udcff.png", None)  # tried again
    assert not journal.has("b é.png", (10, 20))


def test_every_place_to_be_cut_off(tmp_path):
    """A batch is there as a whole or not at all, and what follows the cut is as if nothing had happened."""
    path = written(tmp_path / "j", [A], [B, C])
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        kept = [A] if length >= first else []
        assert read(path) == {one.picture: one for one in kept}
        if length % 7 == 0:
            written(path, *([[B, C]] if kept else [[A], [B, C]]))
            assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "damage",
    [b"\x00\x00\x00\n", b"[]\n", b"{}\n", b'[{"picture": "d"}]\n', b"nonsense\n", b"\xff\n", b"7\n", b'{"a": [[[[\n'],
)
def test_damaged_lines_are_passed_over(tmp_path, damage):
    path = written(tmp_path / "j", [A])
    path.write_bytes(path.read_bytes() + damage)
    written(path, [B])
    assert read(path) == {one.picture: one for one in (A, B)}


def test_lines_of_single_pictures(tmp_path):
    """The form in which a finished data set keeps them."""
    import json

    (tmp_path / "j").write_text("".join(f"{json.dumps(one.to_dict())}\n" for one in (A, B, C)))
    assert read(tmp_path / "j") == {one.picture: one for one in (A, B, C)}


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(tmp_path / "j") as journal:
        journal.add([A])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space left"):
                journal.add([B])
        assert "b é.png" not in journal
        journal.add([C])
    assert read(tmp_path / "j") == {one.picture: one for one in (A, C)}
