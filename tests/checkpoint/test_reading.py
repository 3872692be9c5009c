"""Reading: every bad file is named with what to do, and no file runs code."""

import argparse
import json
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from groundling.checkpoint import read_tensors
from groundling.errors import CheckpointError
from groundling.files import locate

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(4)}


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def safetensors_bytes(folder: Path) -> bytes:
    save_file(TENSORS, folder / "whole.safetensors")
    return (folder / "whole.safetensors").read_bytes()


def torch_bytes(folder: Path, value: object = TENSORS, **options: Any) -> bytes:
    torch.save(value, folder / "whole.pth", **options)
    return (folder / "whole.pth").read_bytes()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 689359096\n"
BAD_FILES = [
    pytest.param("{}.safetensors", lambda folder: b"", r"is empty \(0 bytes\)", id="empty"),
    pytest.param("{}.pth", lambda folder: b"", r"is empty \(0 bytes\)", id="empty-pth"),
    pytest.param("{}.safetensors", lambda folder: LFS, "git-lfs pointer.*git lfs pull", id="lfs"),
    pytest.param("{}.bin", lambda folder: LFS, "git-lfs pointer.*git lfs pull", id="lfs-bin"),
    pytest.param("{}.pth", lambda folder: b"\n<!DOCTYPE html><html>", "is a web page", id="html"),
    pytest.param("{}.safetensors", lambda folder: b"hello world, this is text", "not a whole safetensors", id="text"),
    pytest.param(
        "{}.pth", lambda folder: b"hello world, this is text", "not a (whole )?file of torch.save", id="text-pth"
    ),
    pytest.param("{}.safetensors", lambda folder: safetensors_bytes(folder)[:-9], "may be cut off", id="truncated"),
    pytest.param("{}.safetensors", lambda folder: safetensors_bytes(folder)[:20], "may be cut off", id="cut-header"),
    pytest.param("{}.pth", lambda folder: torch_bytes(folder)[:-300], "not a (whole )?file of torch.save", id="cut"),
    pytest.param(
        "{}.pth",
        lambda folder: torch_bytes(folder, _use_new_zipfile_serialization=False)[:-20],
        "not a (whole )?file of torch.save",
        id="cut-legacy",
    ),
    pytest.param("{}.pth", lambda folder: torch_bytes(folder, {}), "holds no tensors", id="no-tensors"),
    pytest.param("{}.pth", lambda folder: torch_bytes(folder, {"model": {}}), "holds no tensors", id="no-tensors-in"),
    pytest.param("{}.pth", lambda folder: torch_bytes(folder, [1]), "holds a list, not tensors by name", id="list"),
    pytest.param("{}.pth", lambda folder: torch_bytes(folder, {"a": 1}), "holds a int under 'a'", id="number"),
    pytest.param(
        "{}.pth", lambda folder: torch_bytes(folder, {"model": {"a": "x"}}), "holds a str under 'a'", id="string"
    ),
    pytest.param("{}.json", lambda folder: b"{}", "holds no weights.*Give the folder", id="json"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES)
def test_a_bad_file_is_named(name: str, content: Callable[[Path], bytes], message: str, tmp_path: Path) -> None:
    path = tmp_path / name.format("model")
    path.write_bytes(content(tmp_path))
    with pytest.raises(CheckpointError, match=message) as error:
        read_tensors(locate(path))
    assert str(path) in str(error.value)


@pytest.mark.parametrize("nested", [False, True], ids=["top", "nested"])
@pytest.mark.parametrize("writer", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_code_in_a_file_does_not_run(writer: Callable[[Any, Path], object], nested: bool, tmp_path: Path) -> None:
    payload = Payload(tmp_path / "marker")
    writer({"model": {"a": torch.zeros(1), "b": payload}} if nested else payload, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        read_tensors(locate(tmp_path / "evil.pth"))
    assert not (tmp_path / "marker").exists()


def test_the_error_names_the_code(tmp_path: Path) -> None:
    torch.save({"a": Payload(tmp_path / "marker")}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"holds 'posix.system', and to load that would run code.*If you trust"):
        read_tensors(locate(tmp_path / "evil.pth"))


WRAPPED = [
    pytest.param(TENSORS, id="bare"),
    pytest.param(OrderedDict(TENSORS), id="ordered"),
    pytest.param({"model": TENSORS, "epoch": 3, "args": argparse.Namespace(lr=0.1)}, id="model"),
    pytest.param({"state_dict": TENSORS, "meta": {"epoch": 3}}, id="state_dict"),
    pytest.param({"model": {"state_dict": TENSORS}}, id="twice"),
    pytest.param({"model": {f"module.{name}": tensor for name, tensor in TENSORS.items()}}, id="module"),
    pytest.param({f"_orig_mod.module.{name}": tensor for name, tensor in TENSORS.items()}, id="compiled"),
]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("content", WRAPPED)
def test_wrappers_are_taken_off(content: object, zipped: bool, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pth", _use_new_zipfile_serialization=zipped)
    tensors = read_tensors(locate(tmp_path / "model.pth"))
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def shards(folder: Path, ending: str = "safetensors") -> Path:
    stem = "model" if ending == "safetensors" else "pytorch_model"
    files = {name: f"{stem}-{i:05}-of-00002.{ending}" for i, name in enumerate(TENSORS, start=1)}
    for name, file in files.items():
        (save_file if ending == "safetensors" else torch.save)({name: TENSORS[name]}, folder / file)
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return index


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards(ending: str, tmp_path: Path) -> None:
    index = shards(tmp_path, ending)
    assert read_tensors(locate(tmp_path)).keys() == TENSORS.keys()
    assert read_tensors(locate(index)).keys() == TENSORS.keys()


def remove_shard(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()


def swap_shard(folder: Path) -> None:
    save_file({"c": torch.zeros(1)}, folder / "model-00002-of-00002.safetensors")


def index_of(value: object) -> Callable[[Path], None]:
    return lambda folder: (folder / "model.safetensors.index.json").write_text(json.dumps(value)) and None


BAD_SHARDS = [
    pytest.param(index_of({}), "has no 'weight_map'", id="empty"),
    pytest.param(index_of({"weight_map": []}), "has no 'weight_map'", id="list"),
    pytest.param(index_of([]), "must hold a JSON object", id="no-object"),
    pytest.param(remove_shard, "lacks 'model-00002-of-00002.safetensors', part 2 of 2", id="missing"),
    pytest.param(swap_shard, "lists 1 tensors that its files do not hold, first: 'b'", id="other-save"),
    pytest.param(index_of({"weight_map": {"a": "../x.safetensors"}}), "lacks '../x.safetensors'", id="outside"),
]


@pytest.mark.parametrize(("damage", "message"), BAD_SHARDS)
def test_bad_shards(damage: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    save_file(TENSORS, tmp_path / "x.safetensors")
    shards(tmp_path / "folder")
    damage(tmp_path / "folder")
    with pytest.raises(CheckpointError, match=message):
        read_tensors(locate(tmp_path / "folder"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param([], "has no weights.*The folder is empty", id="empty"),
        pytest.param(["config.json"], "has no weights.*The folder holds: config.json", id="config-only"),
    ],
)
def test_a_folder_without_weights(files: list[str], message: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(CheckpointError, match=message):
        read_tensors(locate(tmp_path))


def test_safetensors_come_before_pickles(tmp_path: Path) -> None:
    save_file({"new": torch.zeros(1)}, tmp_path / "model.safetensors")
    shards(tmp_path)
    torch.save({"old": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert list(read_tensors(locate(tmp_path))) == ["new"]


def _itself():
    content = {}
    content["model"] = content
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(_itself, "where tensors by name are expected", id="wraps itself"),
        pytest.param(lambda: {"a": torch.zeros(1).expand(10**6, 10**6)}, "but not that many numbers", id="claims much"),
        pytest.param(lambda: {"a": torch.zeros(2).to_sparse()}, "Save the weights as plain", id="sparse"),
        pytest.param(lambda: {"a": torch.zeros(2, dtype=torch.complex64)}, "Save the weights as plain", id="complex"),
        pytest.param(lambda: {"a": torch.zeros(2).to(torch.float8_e4m3fn)}, "Save the weights as plain", id="float8"),
        pytest.param(lambda: {"a.b": torch.zeros(2), "module.a.b": torch.ones(2)}, "twice", id="two names"),
    ],
)
def test_hostile_pickles_are_refused_at_once(content, message, tmp_path):
    torch.save(content(), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=message):
        read_tensors(locate(tmp_path / "a.pth"))
