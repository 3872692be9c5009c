"""Whole evaluations: resumed, divided among processes, written down."""

import json
import math
import multiprocessing
import pickle
import shutil
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from evaluate.hand_made import HandMade, WithIds, found, load, pictures, record
from groundling.errors import CheckpointError, ConfigError, DatasetError, GroundlingError, MissingExtraError
from groundling.evaluate import PROTOCOLS, Work, describe, evaluate, run_evaluation, shards
from groundling.evaluate.export import write_predictions
from groundling.evaluate.run import check_limit
from groundling.evaluate.shards import find_all_in_processes
from groundling.evaluate.store import PART, WHOLE


def run(work, folder, *, jobs=1, limit=None):
    dataset, detector = work.make_dataset(), work.make_detector(0)
    description = describe(
        detector, dataset, work.protocol, model="tiny", data={"format": "made"}, pictures=check_limit(limit, dataset)
    )
    return run_evaluation(work, detector, dataset, description, folder, jobs=jobs)


@pytest.fixture(scope="module")
def finished(work, tmp_path_factory):
    """A whole run and its folder. Tests must not change it."""
    return run(work, tmp_path_factory.mktemp("finished"))


def test_no_pictures(work, tmp_path):
    with pytest.raises(DatasetError, match="has no pictures, so there is nothing to evaluate"):
        run(replace(work, make_dataset=partial(pictures, 0)), tmp_path)
    with pytest.raises(DatasetError, match="has no pictures"):
        evaluate(work.make_detector(0), HandMade([]), work.protocol)


def test_everything_is_written(finished):
    folder = finished.folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "curves.png",
        "metrics.json",
        "pictures",
        "predictions.json",
        "predictions.jsonl",
        "protocol.json",
        "report.html",
    ]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["metrics"]["AP"] == finished.measured.numbers["AP"]
    assert metrics["metrics"]["APl"] is None
    assert metrics["counts"]["pictures"] == 7
    assert {row["name"] for row in metrics["categories"]} == {"cat", "dog"}
    assert "mask" not in (folder / "metrics.json").read_text()
    protocol = json.loads((folder / "protocol.json").read_text())
    assert (protocol["top_k"], protocol["aggregate"], protocol["dtype"]) == (20, "mean", "float32")
    assert protocol["resize"] == {"shortest_edge": 64, "longest_edge": 128}
    assert protocol["versions"]["faster-coco-eval"] != "not installed"
    page = (folder / "report.html").read_text()
    assert "mean of its tokens" in page
    assert "http" not in page
    for path in (folder / "pictures").iterdir():
        assert f'src="pictures/{path.name}"' in page


def test_the_figures_alone_are_the_same(work, finished):
    figures = evaluate(work.make_detector(0), work.make_dataset(), work.protocol, batch_size=3)
    assert figures == pytest.approx(finished.measured.numbers, nan_ok=True, abs=1e-6)


def test_a_killed_run_goes_on(work, finished, tmp_path, monkeypatch):
    reads = []
    original = HandMade.__getitem__

    def killed(self, index):
        reads.append(index)
        if len(reads) == 4:
            raise KeyboardInterrupt
        return original(self, index)

    monkeypatch.setattr(HandMade, "__getitem__", killed)
    with pytest.raises(KeyboardInterrupt):
        run(work, tmp_path / "killed")
    assert reads == [0, 1, 2, 3]
    assert len((tmp_path / "killed" / PART).read_text().splitlines()) == 4  # the protocol and three pictures
    resumed = run(work, tmp_path / "killed")
    assert reads[4:8] == [3, 4, 5, 6]  # then all are read again for their annotations
    assert resumed.measured.numbers == pytest.approx(finished.measured.numbers, nan_ok=True)
    for name in (WHOLE, "metrics.json", "predictions.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (finished.folder / name).read_bytes()


def test_a_finished_run_is_not_computed_again(work, finished, tmp_path):
    shutil.copy(finished.folder / WHOLE, tmp_path)
    again = run_evaluation(work, None, work.make_dataset(), finished.description, tmp_path)
    assert again.measured.numbers == pytest.approx(finished.measured.numbers, nan_ok=True)


def test_another_protocol_does_not_mix_in(work, finished):
    with pytest.raises(ConfigError, match=r"another evaluation \(there aggregate='mean'\)"):
        run(replace(work, protocol=replace(work.protocol, aggregate="max")), finished.folder)


def test_two_processes_give_what_one_gives(work, finished, tmp_path):
    two = run(work, tmp_path, jobs=2)
    assert two.measured.numbers == pytest.approx(finished.measured.numbers, nan_ok=True, abs=1e-6)
    first, second = (json.loads((one.folder / "predictions.json").read_text()) for one in (finished, two))
    assert [(box["image_id"], box["category_id"]) for box in first] == [
        (box["image_id"], box["category_id"]) for box in second
    ]
    np.testing.assert_allclose([box["bbox"] for box in first], [box["bbox"] for box in second], atol=0.011)
    np.testing.assert_allclose([box["score"] for box in first], [box["score"] for box in second], atol=2e-6)


def test_an_error_in_a_process_comes_with_its_task(work, monkeypatch):
    monkeypatch.setattr(shards, "_here", None)
    threads, number = torch.get_num_threads(), multiprocessing.Value("i", 3)
    shards._start(replace(work, make_detector=partial(load, "no-such-model")), number, threads)
    assert number.value == 4
    with pytest.raises(CheckpointError, match="no-such-model") as caught:
        shards._find([0])
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_killed_process_is_named(work, monkeypatch):
    class Broken:
        def __init__(self, **options):
            pass

        def submit(self, function, task):
            future = Future()
            future.set_exception(BrokenProcessPool())
            return future

        def shutdown(self, **options):
            pass

    monkeypatch.setattr("groundling.evaluate.shards.ProcessPoolExecutor", Broken)
    with pytest.raises(GroundlingError, match=r"process of the evaluation was killed.*run the same command again"):
        list(find_all_in_processes(work, range(2), 2))


def test_no_processes(work, tmp_path):
    with pytest.raises(ConfigError, match="jobs must be at least 1 process, got 0"):
        run(work, tmp_path, jobs=0)
    with pytest.raises(ConfigError, match="jobs must be a number of at least 1, got 0"):
        list(find_all_in_processes(work, [], 0))


@pytest.mark.parametrize(("limit", "used"), [(None, 3), (1, 1), (3, 3), (9, 3)])
def test_limit(limit, used):
    assert check_limit(limit, pictures(3)) == used


def test_a_limit_of_nothing():
    with pytest.raises(ConfigError, match="limit must be at least 1 picture, got 0"):
        check_limit(0, pictures(1))


def test_a_missing_extra_is_told_before_the_work(work, tmp_path, monkeypatch):
    monkeypatch.setattr("groundling.evaluate.run.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'faster-coco-eval', which is not installed.*groundling\[eval\]"):
        run(work, tmp_path)
    assert not list(tmp_path.iterdir())


def test_predictions_have_the_ids_of_the_data_set(tmp_path):
    dataset = WithIds([record([]), record([])])
    results = [(dataset[1], found(1, [(1, 0.123456789, (10.123, 20, 30.5, 60))])), (dataset[0], found(0, []))]
    write_predictions(tmp_path / "predictions.json", dataset, results, PROTOCOLS["coco"])
    assert json.loads((tmp_path / "predictions.json").read_text()) == [
        {"image_id": 990, "category_id": 90, "bbox": [10.12, 20.0, 20.38, 40.0], "score": 0.123457}
    ]


def test_predictions_without_ids(tmp_path):
    dataset = HandMade([record([("the left cat", (0, 0, 9, 9))])], names=("cat",))
    results = [(dataset[0], found(0, [(0, 0.5, (1, 2, 3, 4))]))]
    write_predictions(tmp_path / "predictions.json", dataset, results, PROTOCOLS["refcoco"])
    assert json.loads((tmp_path / "predictions.json").read_text()) == [
        {"image_id": 0, "label": "the left cat", "bbox": [1.0, 2.0, 2.0, 2.0], "score": 0.5}
    ]


def test_phrases_have_a_report_too(work, tmp_path):
    protocol = PROTOCOLS["scenes_referring"]
    outcome = run(Work(work.make_detector, work.make_dataset, protocol), tmp_path, limit=2)
    assert not math.isnan(outcome.measured.numbers["accuracy@0.5"])
    assert "share of phrases" in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "curves.png").exists()
