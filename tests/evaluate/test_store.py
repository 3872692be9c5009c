"""Findings on disk survive a killed process."""

import numpy as np
import pytest

from evaluate.hand_made import found
from groundling.errors import ConfigError, DatasetError
from groundling.evaluate.store import PART, WHOLE, FoundFile

IDENTITY = {"model": "m", "top_k": 300, "resize": {"height": 64}}
FIRST = found(0, [(1, 0.1, (0.1, 1 / 3, 12.345678, 1e-7)), (0, 0.9, (1, 2, 3, 4))])
SECOND = found(1, [])


def columns(results):
    return [(one.index, one.boxes_xyxy.tolist(), one.scores.tolist(), one.label_ids.tolist()) for one in results]


def test_nothing(tmp_path):
    with FoundFile(tmp_path / "new", IDENTITY) as file:
        assert file.done == frozenset()
        assert file.finish() == []
    assert list((tmp_path / "new").iterdir()) == []


def test_what_was_written_is_read_exactly(tmp_path):
    with FoundFile(tmp_path, IDENTITY) as file:
        file.add([SECOND])
        file.add([FIRST])
        assert (tmp_path / PART).exists()
        finished = file.finish()
    assert columns(finished) == columns([FIRST, SECOND])
    assert [path.name for path in tmp_path.iterdir()] == [WHOLE]
    with FoundFile(tmp_path, IDENTITY) as again:
        assert again.done == {0, 1}
        read = again.finish()
    assert columns(read) == columns([FIRST, SECOND])
    assert read[0].boxes_xyxy.dtype == np.float32


def test_a_picture_stands_in_the_file_once(tmp_path):
    with FoundFile(tmp_path, IDENTITY) as file:
        file.add([FIRST, FIRST])
        file.add([FIRST])
    assert len((tmp_path / PART).read_text().splitlines()) == 2


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_half_written_line_is_computed_again(tmp_path, cut):
    with FoundFile(tmp_path, IDENTITY) as file:
        file.add([SECOND, FIRST])
    text = (tmp_path / PART).read_bytes()
    (tmp_path / PART).write_bytes(text[:-cut])
    with FoundFile(tmp_path, IDENTITY) as file:
        assert file.done == {1}
        file.add([FIRST])
        assert columns(file.finish()) == columns([FIRST, SECOND])
    assert (tmp_path / WHOLE).read_bytes() == text


def test_a_file_with_half_a_first_line_begins_anew(tmp_path):
    (tmp_path / PART).write_bytes(b'{"model"')
    with FoundFile(tmp_path, IDENTITY) as file:
        file.add([FIRST])
        assert columns(file.finish()) == columns([FIRST])


def test_findings_of_another_evaluation(tmp_path):
    with FoundFile(tmp_path, IDENTITY | {"top_k": 100}) as file:
        file.add([FIRST])
    with pytest.raises(ConfigError, match=r"another evaluation \(there top_k=100\)\. Give another folder with --out"):
        FoundFile(tmp_path, IDENTITY)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("", r"line 2: not valid JSON", id="empty"),
        pytest.param("[1]", r"line 2: not a JSON object", id="list"),
        pytest.param("{}", r"line 2: not what was found in a picture \(KeyError\('index'\)\)", id="no index"),
        pytest.param(
            '{"index": 0, "boxes_xyxy": [[0, 0, 1, 1]], "scores": [], "label_ids": []}', r"unlike length", id="lengths"
        ),
        pytest.param(
            '{"index": 0, "boxes_xyxy": [[0, 0, 1]], "scores": [1], "label_ids": [0]}', r"line 2: not what", id="box"
        ),
        pytest.param(
            '{"index": -1, "boxes_xyxy": [], "scores": [], "label_ids": []}', r"line 2: a number is out of", id="index"
        ),
        pytest.param(
            '{"index": 0, "boxes_xyxy": [[0, 0, 1, 1]], "scores": [1], "label_ids": [-1]}', r"out of range", id="label"
        ),
        pytest.param(
            '{"index": 0, "boxes_xyxy": [[0, 0, 1, 1]], "scores": [NaN], "label_ids": [0]}', r"out of range", id="score"
        ),
    ],
)
def test_a_damaged_file(tmp_path, line, message):
    with FoundFile(tmp_path, IDENTITY) as file:
        file.add([SECOND])
    header = (tmp_path / PART).read_text().splitlines()[0]
    (tmp_path / PART).write_text(f"{header}\n{line}\n")
    with pytest.raises(DatasetError, match=message):
        FoundFile(tmp_path, IDENTITY)
