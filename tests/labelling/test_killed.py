"""Killed with SIGKILL at the worst moments, a labelling goes on as if nothing had happened."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from groundling.cli.main import run
from groundling.data.check import check_dataset
from groundling.labelling import LabelSettings, label_folder
from groundling.segmentation import load_segmenter
from labelling.drawn import LABELS, contents, folder_of, predictions

SETTINGS = LabelSettings(batch_size=2)  # as in the script
SCRIPT = Path(__file__).parent / "killed.py"
SIX = tuple(f"{name}.png" for name in "abcdef")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")


def label(moment, photos, out, log, segmenter=""):
    """Return whether it lived."""
    command = [sys.executable, str(SCRIPT), moment, str(photos), str(out), str(log), str(segmenter), *LABELS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode == 0


def assert_all_once(out, log, names):
    """Every picture has come to the disk once, and stands once in the result."""
    assert sorted(log.read_text().split()) == sorted(names)
    assert [line["picture"] for line in predictions(out)] == sorted(names)


@pytest.mark.slow
@pytest.mark.parametrize("with_masks", [False, True])
def test_killed_in_the_middle_of_a_line(nano, tmp_path, segmenter_folder, with_masks):
    photos, log = folder_of(tmp_path / "photos", *SIX), tmp_path / "log"
    name = segmenter_folder if with_masks else ""
    assert not label("torn 2", photos, tmp_path / "out", log, name)
    assert not (tmp_path / "out").exists()
    assert label("never", photos, tmp_path / "out", log, name)
    assert_all_once(tmp_path / "out", log, SIX)
    segmenter = load_segmenter(name, device="cpu") if with_masks else None
    label_folder(nano, photos, LABELS, tmp_path / "whole", SETTINGS, segmenter=segmenter)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_the_command_itself_is_killed(tmp_path, monkeypatch, capsys):
    """`kill -9` at a moment that nobody chose, while it works; the same command goes on."""
    folder_of(tmp_path / "drawn", *SIX)
    (tmp_path / "photos").mkdir()
    for number in range(12):
        (tmp_path / "photos" / f"{number:03}.png").hardlink_to(tmp_path / "drawn" / SIX[number % 6])
    command = ["label", "photos", "--labels", *LABELS, "--batch-size", "2", "--out"]
    program = [sys.executable, "-m", "groundling", *command, "out"]
    journal = tmp_path / "out.unfinished" / "journal.jsonl"
    with subprocess.Popen(program, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as working:
        while working.poll() is None and not (journal.exists() and journal.stat().st_size):
            time.sleep(0.01)
        working.kill()
        _, err = working.communicate(timeout=60)
    assert working.returncode == -signal.SIGKILL, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn", "out.unfinished", "photos"]
    done = journal.read_bytes().count(b"\n")
    assert 0 < done < 6
    monkeypatch.chdir(tmp_path)
    for out in ("out", "whole"):
        assert run([*command, out]) == 0
        assert capsys.readouterr().out.startswith(f"wrote {out}: 12 pictures")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drawn", "out", "photos", "whole"]


@pytest.mark.slow
def test_killed_again_and_again(nano, tmp_path):
    photos, out, log = folder_of(tmp_path / "photos", *SIX), tmp_path / "out", tmp_path / "log"
    for moment in ("torn 1", "batch 1", "batch 2", "writing", "done"):
        assert not label(moment, photos, out, log), moment
        assert out.exists() == (moment == "done")
    assert label("never", photos, out, log)
    assert_all_once(out, log, SIX)
    label_folder(nano, photos, LABELS, tmp_path / "whole", SETTINGS)
    assert contents(out) == contents(tmp_path / "whole")

    folder_of(photos, "bb.png", first=6)
    before = contents(out)
    for moment in ("seeding", "batch 1", "writing"):
        assert not label(moment, photos, out, log), moment
        assert contents(out) == before  # the old data set stays until the new one takes its place
    assert not label("swap", photos, out, log)
    assert not out.exists()
    assert label("never", photos, out, log)
    assert_all_once(out, log, (*SIX, "bb.png"))
    known = {line["picture"]: line for line in predictions(out)}
    assert known.pop("bb.png")["detections"]
    assert list(known.values()) == [json.loads(line) for line in before["predictions.jsonl"].splitlines()]
    assert check_dataset(out) == []
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["log", "out", "photos", "whole"]
