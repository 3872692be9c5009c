"""Labelling a folder: what is found, what is passed over, and what happens the next time."""

import errno
import json
import os
import signal

import pytest
from PIL import Image

from groundling.data.check import check_dataset
from groundling.errors import ConfigError, DatasetError, ImageError, PromptError
from groundling.labelling import LabelSettings, find_pictures, label_folder
from groundling.pipeline.detector import Detector
from groundling.pipeline.tiles import Tiles
from groundling.postprocess.select import SelectionRules
from groundling.structures.vocabulary import Vocabulary
from labelling.drawn import FOUR, LABELS, contents, folder_of, folders, labels_of, predictions, stop_after


def test_no_pictures(quick, tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(ImageError, match="has no pictures in it"):
        label_folder(quick, tmp_path / "photos", LABELS, tmp_path / "out")
    assert folders(tmp_path) == ["photos"]


def test_it_is_what_the_detector_finds(nano, photos, tmp_path):
    stages = []
    report = label_folder(nano, photos, LABELS, tmp_path / "out", progress=lambda *one: stages.append(one))
    for line in predictions(tmp_path / "out"):
        found = nano(photos / line["picture"], LABELS)
        assert [(one["label"], one["label_id"], one["score"]) for one in line["detections"]] == [
            (one.label, one.label_id, pytest.approx(one.score, abs=1e-4)) for one in found
        ]
    assert (report.pictures, report.computed, report.is_finished, report.unreadable) == (4, 4, True, ())
    assert sum(report.boxes.values()) == sum(map(len, labels_of(tmp_path / "out").values())) > 3
    assert list(report.boxes) == list(LABELS)
    items = nano(photos / "a.png", LABELS).to_dict()["detections"]
    about = (photos / "a.png").stat()
    line = predictions(tmp_path / "out")[0]
    assert list(line) == ["picture", "bytes", "modified_ns", "width", "height", "detections"]
    assert (line["bytes"], line["modified_ns"]) == (about.st_size, about.st_mtime_ns)
    assert [list(one) for one in line["detections"]] == [list(one) for one in items]
    assert stages[:5] == [("labelling", done, 4) for done in range(5)]
    assert stages[5:] == [("writing", done, 4) for done in range(1, 5)]
    assert folders(tmp_path) == ["out", "photos"]
    assert (tmp_path / "out" / "images" / "a.png").samefile(photos / "a.png")


def test_batches_change_nothing(quick, photos, tmp_path):
    label_folder(quick, photos, LABELS, tmp_path / "one")
    label_folder(quick, photos, LABELS, tmp_path / "three", LabelSettings(batch_size=3))
    for one, other in zip(predictions(tmp_path / "one"), predictions(tmp_path / "three"), strict=True):
        assert one["picture"] == other["picture"]
        for left, right in zip(one["detections"], other["detections"], strict=True):
            assert left["box_xyxy"] == pytest.approx(right["box_xyxy"], abs=1e-2)


def test_rules_vocabulary_and_tiles(quick, photos, tmp_path):
    words = Vocabulary(tuple(LABELS), thresholds={LABELS[0]: 0.99}, negatives=("a striped thing",))
    rules = SelectionRules(threshold=0.2, top_k=1)
    report = label_folder(quick, photos, words, tmp_path / "out", LabelSettings(rules=rules))
    assert all(len(found) <= 1 for found in labels_of(tmp_path / "out").values())
    assert report.boxes[LABELS[0]] == 0
    tiled = LabelSettings(rules=SelectionRules(threshold=0.2), tiles=Tiles(96, 0.2), batch_size=2)
    (photos / "e.png").write_bytes(b"broken")
    report = label_folder(quick, photos, LABELS, tmp_path / "tiled", tiled)
    assert [one.picture for one in report.unreadable] == ["e.png"]
    found = quick(photos / "a.png", LABELS, tiles=Tiles(96, 0.2), threshold=0.2)
    assert labels_of(tmp_path / "tiled")["a.png"] == [one.label for one in found]


def test_pictures_that_cannot_be_read_are_listed(quick, photos, tmp_path):
    (photos / "aa.png").write_bytes(b"")
    (photos / "bb.jpg").write_bytes(b"not a picture")
    (photos / "cc.png").write_bytes((photos / "c.png").read_bytes()[:900])
    (photos / "dd.png").symlink_to(tmp_path / "gone.png")
    Image.new("RGB", (8, 8)).save(os.fsencode(photos) + b"/\xff.png")
    report = label_folder(quick, photos, LABELS, tmp_path / "out", LabelSettings(batch_size=2))
    assert [one.picture for one in report.unreadable] == ["aa.png", "bb.jpg", "cc.png", "dd.png", "\udcff.png"]
    assert all("\n" not in one.cause for one in report.unreadable)
    assert sorted(labels_of(tmp_path / "out")) == list(FOUR)
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [one["picture"] for one in written["unreadable"]] == [one.picture for one in report.unreadable]
    assert check_dataset(tmp_path / "out") == []


def test_all_are_unreadable(quick, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no")
    report = label_folder(quick, tmp_path / "photos", LABELS, tmp_path / "out")
    assert (report.is_finished, len(report.unreadable), sum(report.boxes.values())) == (True, 1, 0)


# The next time


def test_again_does_nothing(quick, photos, tmp_path, monkeypatch):
    first = label_folder(quick, photos, LABELS, tmp_path / "out")
    before = contents(tmp_path / "out"), (tmp_path / "out").stat().st_mtime_ns
    monkeypatch.setattr(type(quick), "detect_many", None)
    again = label_folder(quick, photos, LABELS, tmp_path / "out", LabelSettings(batch_size=4))
    assert (again.computed, again.is_written, again.is_finished) == (0, False, True)
    assert (again.boxes, again.without_boxes) == (first.boxes, first.without_boxes)
    assert (contents(tmp_path / "out"), (tmp_path / "out").stat().st_mtime_ns) == before
    assert folders(tmp_path) == ["out", "photos"]


def test_only_what_is_new_is_computed(quick, photos, tmp_path):
    label_folder(quick, photos, LABELS, tmp_path / "out")
    folder_of(photos, "aa.png", first=4)  # new
    folder_of(photos, "b.png", first=5)  # another one under its name
    (photos / "c.png").unlink()  # gone
    report = label_folder(quick, photos, LABELS, tmp_path / "out")
    assert (report.pictures, report.computed, report.is_written) == (4, 2, True)
    label_folder(quick, photos, LABELS, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    assert folders(tmp_path) == ["fresh", "out", "photos"]


def test_unreadable_pictures_are_tried_again(quick, photos, tmp_path):
    good = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(good[:500])
    assert len(label_folder(quick, photos, LABELS, tmp_path / "out").unreadable) == 1
    again = label_folder(quick, photos, LABELS, tmp_path / "out")
    assert (again.computed, again.is_written, len(again.unreadable)) == (1, False, 1)
    assert folders(tmp_path) == ["out", "photos"]
    (photos / "b.png").write_bytes(good)
    again = label_folder(quick, photos, LABELS, tmp_path / "out")
    assert (again.computed, again.is_written, again.unreadable) == (1, True, ())


@pytest.mark.parametrize("count", range(5))
def test_an_interruption_loses_and_repeats_nothing(quick, photos, tmp_path, monkeypatch, count):
    """SIGTERM ends it after the batch that is being computed, or while the data set is written."""
    label_folder(quick, photos, LABELS, tmp_path / "whole")

    def interrupt(stage, done, total):
        if (done == count and stage == "labelling") or (count == 4 and stage == "writing" and done == 2):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    report = label_folder(quick, photos, LABELS, tmp_path / "out", progress=interrupt)
    assert (report.is_finished, report.computed) == (False, max(1, count))
    assert signal.getsignal(signal.SIGTERM) is before
    assert folders(tmp_path) == ["out.unfinished", "photos", "whole"]
    report = label_folder(quick, photos, LABELS, tmp_path / "out")
    assert (report.is_finished, report.computed) == (True, 4 - max(1, count))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert folders(tmp_path) == ["out", "photos", "whole"]


@pytest.mark.parametrize("count", [0, 2])
def test_a_full_disk_is_said_and_what_is_done_is_kept(quick, photos, tmp_path, monkeypatch, count):
    with monkeypatch.context() as patch:
        stop_after(patch, count, OSError(errno.ENOSPC, "No space left on device", "journal.jsonl"))
        with pytest.raises(DatasetError, match=r"No space left on device\. What is labelled is kept in .*unfinished"):
            label_folder(quick, photos, LABELS, tmp_path / "out")
    assert label_folder(quick, photos, LABELS, tmp_path / "out").computed == 4 - count


@pytest.mark.parametrize(
    "target", ["groundling.labelling.dataset.write_json", "groundling.data.convert.CocoWriter.add"]
)
def test_a_disk_that_is_full_at_the_end(quick, photos, tmp_path, monkeypatch, target):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(target, full)
        with pytest.raises(DatasetError, match="No space left on device"):
            label_folder(quick, photos, LABELS, tmp_path / "out")
    assert folders(tmp_path) == ["out.unfinished", "photos"]
    report = label_folder(quick, photos, LABELS, tmp_path / "out")
    assert (report.computed, report.is_finished) == (0, True)


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        (["red star"], LabelSettings(), r'labels was \["black diamond", .* and is now \["red star"\]'),
        (LABELS, LabelSettings(rules=SelectionRules(0.5)), "selection threshold was 0.3 and is now 0.5"),
        (LABELS, LabelSettings(tiles=Tiles(96)), "tiles was null and is now"),
        (Vocabulary(tuple(LABELS), packing="sorted"), LabelSettings(), 'packing was "as_given"'),
    ],
)
def test_other_settings_are_refused(quick, photos, tmp_path, monkeypatch, labels, settings, message, is_done):
    if is_done:
        label_folder(quick, photos, LABELS, tmp_path / "out")
    else:
        with monkeypatch.context() as patch:
            stop_after(patch, 2, OSError("stop"))
            with pytest.raises(DatasetError):
                label_folder(quick, photos, LABELS, tmp_path / "out")
    there = folders(tmp_path)
    with pytest.raises(DatasetError, match=message):
        label_folder(quick, photos, labels, tmp_path / "out", settings)
    assert folders(tmp_path) == there
    report = label_folder(quick, photos, ["red star"], tmp_path / "out", LabelSettings(overwrite=True))
    assert (report.computed, list(report.boxes)) == (4, ["red star"])
    assert folders(tmp_path) == ["out", "photos"]


def test_other_pictures_and_another_model_are_refused(quick, nano, photos, tmp_path):
    label_folder(quick, photos, LABELS, tmp_path / "out")
    folder_of(tmp_path / "others", "a.png")
    with pytest.raises(DatasetError, match=r"pictures was .*photos.* and is now .*others"):
        label_folder(quick, tmp_path / "others", LABELS, tmp_path / "out")
    with pytest.raises(DatasetError, match="recursive was false and is now true"):
        label_folder(quick, find_pictures(photos, recursive=True), LABELS, tmp_path / "out")
    with pytest.raises(DatasetError, match="model was"):
        label_folder(nano, photos, LABELS, tmp_path / "out")


def test_the_same_model_from_a_folder_goes_on(quick, photos, tmp_path, checkpoint):
    label_folder(quick, photos, LABELS, tmp_path / "out")
    report = label_folder(Detector.from_pretrained(checkpoint), photos, LABELS, tmp_path / "out")
    assert report.computed == 0


def test_an_unfinished_replacement_goes_on(quick, photos, tmp_path, monkeypatch):
    """The same command with overwrite does not begin anew each time."""
    label_folder(quick, photos, LABELS, tmp_path / "out")
    settings = LabelSettings(overwrite=True)
    with monkeypatch.context() as patch:
        stop_after(patch, 3, OSError("stop"))
        with pytest.raises(DatasetError):
            label_folder(quick, photos, ["red star"], tmp_path / "out", settings)
    assert set(labels_of(tmp_path / "out")) == set(FOUR)  # the old one is there until the new one is done
    assert label_folder(quick, photos, ["red star"], tmp_path / "out", settings).computed == 1


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_picture_that_changes_after_it_was_searched(quick, photos, tmp_path, is_gone):
    """Its size is the same, so that only the time of the change tells."""

    def change(stage, done, total):
        if (stage, done) == ("labelling", 4) and is_gone:
            (photos / "a.png").unlink()
        elif (stage, done) == ("labelling", 4):
            os.utime(photos / "a.png", ns=(1, 1))

    with pytest.raises(DatasetError, match=r"a\.png is gone or has been changed since .* What .*run the same"):
        label_folder(quick, photos, LABELS, tmp_path / "out", progress=change)
    report = label_folder(quick, photos, LABELS, tmp_path / "out")
    assert (report.pictures, report.computed, report.is_finished) == ((3, 0, True) if is_gone else (4, 1, True))


def test_going_on_with_tiles_and_unreadable_pictures(quick, photos, tmp_path, monkeypatch):
    for name in ("aa.png", "cc.png"):
        (photos / name).write_bytes(b"broken")
    for number, tiles in enumerate((Tiles(96, 0.2), None)):
        settings = LabelSettings(tiles=tiles, rules=SelectionRules(threshold=0.2), batch_size=2)
        whole, out = tmp_path / f"whole-{number}", tmp_path / f"out-{number}"
        label_folder(quick, photos, LABELS, whole, settings)
        with monkeypatch.context() as patch:
            stop_after(patch, 3, OSError("stop"))
            with pytest.raises(DatasetError):
                label_folder(quick, photos, LABELS, out, settings)
        report = label_folder(quick, photos, LABELS, out, settings)
        assert 1 <= report.computed < 6
        assert [one.picture for one in report.unreadable] == ["aa.png", "cc.png"]
        assert contents(out) == contents(whole)


@pytest.mark.parametrize("name", ["report.json", "predictions.jsonl", "files.jsonl"])
def test_a_damaged_data_set_is_not_added_to(quick, photos, tmp_path, name):
    label_folder(quick, photos, LABELS, tmp_path / "out")
    file = tmp_path / "out" / name
    file.unlink() if name == "predictions.jsonl" else file.write_text('{"job": {}}')
    with pytest.raises(DatasetError, match="is damaged, so nothing can be added"):
        label_folder(quick, photos, LABELS, tmp_path / "out")
    assert label_folder(quick, photos, LABELS, tmp_path / "out", LabelSettings(overwrite=True)).is_written


# Words


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param([], "There are no labels", id="empty"),
        pytest.param("red star", "are one string", id="text"),
        pytest.param(["red star", "red  star"], "are the same in a data set", id="spaces"),
        pytest.param(["red\x07star"], "signs that annotations cannot hold", id="bell"),
    ],
)
def test_labels_that_cannot_be_used(quick, photos, tmp_path, labels, message):
    with pytest.raises(PromptError, match=message):
        label_folder(quick, photos, labels, tmp_path / "out")
    assert folders(tmp_path) == ["photos"]


def test_settings_that_cannot_be_used(monkeypatch):
    with pytest.raises(ConfigError, match=r"There is no format 'yolov8'\. Did you mean 'yolo'"):
        LabelSettings(format="yolov8")
    for size in (0, True, 1.5):
        with pytest.raises(ConfigError, match="batch_size must be"):
            LabelSettings(batch_size=size)
    from groundling.errors import MissingExtraError

    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"Writing Parquet needs the package 'pyarrow'.*groundling\[tables\]"):
        LabelSettings(format="parquet")
