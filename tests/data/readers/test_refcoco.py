"""RefCOCO: a record for each sentence, from a pickle that cannot run code."""

import json
import pickle

import numpy as np
import pytest

from data.small_sets import as_json, refcoco_folder, text
from groundling.data.readers.refcoco import RefCocoRecords
from groundling.errors import DatasetError


def test_a_record_for_each_sentence(tmp_path):
    records = RefCocoRecords(refcoco_folder(tmp_path), split="val")
    assert records.names == ()
    assert records.splits == ("testA", "val")
    assert [record.labels for record in records] == [("left cat",), ("big one",), ("left cat",)]
    assert [record.key for record in records] == ["a.jpg", "a.jpg#2", "a.jpg#3"]
    assert records[0].boxes_xyxy.tolist() == [[1.5, 2.25, 11.5, 22.375]]
    assert records[2].boxes_xyxy.tolist() == [[20, 10, 25, 15]]
    assert (records[0].absent, records[0].caption, records[0].positive_NL.tolist()) == ((), None, [[True]])
    assert records[0].picture == tmp_path / "a.jpg"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_plain_values_and_numpy_numbers(tmp_path, protocol):
    value = json.loads(refcoco_folder(tmp_path).read_text())
    value[0]["ann_id"] = np.int64(1)
    value[1]["ref_id"] = {3}
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(value, protocol=protocol))
    records = RefCocoRecords(tmp_path / "refs(unc).p", split="val")
    assert [record.labels for record in records] == [("left cat",), ("big one",), ("left cat",)]


def test_a_pickle_of_python_2(tmp_path):
    refcoco_folder(tmp_path)
    old = (
        b"(lp0\n(dp1\nS'split'\np2\nS'val'\np3\nsS'ann_id'\np4\nI1\nsS'sentences'\np5\n(lp6\n(dp7\nS'sent'\np8\n"
        b"V\\u00e9t\\u00e9\np9\nsasa."
    )
    (tmp_path / "refs.p").write_bytes(old)
    assert RefCocoRecords(tmp_path / "refs.p", split="val")[0].labels == ("été",)


class _Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_runs_no_code(tmp_path, protocol):
    refcoco_folder(tmp_path)
    (tmp_path / "refs.p").write_bytes(pickle.dumps(_Harmful(tmp_path / "harm"), protocol=protocol))
    with pytest.raises(DatasetError, match=r"not a pickle of plain values .*exec\), and no other is read"):
        RefCocoRecords(tmp_path / "refs.p")
    assert not (tmp_path / "harm").exists()


REFERENCE = {"ref_id": 5, "ann_id": 1, "split": "val", "sentences": [{"sent": "a cat"}]}


@pytest.mark.parametrize(
    ("references", "message"),
    [
        pytest.param([], "must hold a list of references", id="empty"),
        pytest.param({}, "must hold a list of references", id="object"),
        pytest.param([REFERENCE | {"split": "train"}], "has no split 'val'. It has: train", id="split"),
        pytest.param(
            [REFERENCE | {"ann_id": 99}], r"references\[0\] \(ref_id 5\): .*no usable annotation 99", id="object"
        ),
        pytest.param([REFERENCE | {"sentences": None}], "the sentence None has no usable text", id="no sentences"),
        pytest.param([REFERENCE | {"sentences": [{"sent": " "}]}], "has no usable text 'sent' or 'raw'", id="blank"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, references, message):
    refcoco_folder(tmp_path)
    with pytest.raises(DatasetError, match=message):
        RefCocoRecords(as_json(tmp_path / "refs.json", references))


def test_files_that_are_missing_or_damaged(tmp_path):
    with pytest.raises(DatasetError, match=r"instances\.json cannot be read"):
        RefCocoRecords(tmp_path / "refs.p")
    refcoco_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"refs\.p cannot be read"):
        RefCocoRecords(tmp_path / "refs.p")
    text(tmp_path / "refs.p", "<html>")
    with pytest.raises(DatasetError, match="not a pickle of plain values"):
        RefCocoRecords(tmp_path / "refs.p")
