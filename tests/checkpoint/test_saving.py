"""Saving: the previous checkpoint or the new one is on disk, whole, and nothing is left over."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from groundling.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, saving
from groundling.errors import CheckpointError, ConfigError
from groundling.files import locate

WHOLE, SHARDS = "5GB", "150KB"


@pytest.fixture
def first(saved: Callable[..., Path]) -> Checkpoint:
    return load_checkpoint(locate(saved("gd")))


@pytest.fixture
def second(first: Checkpoint) -> Checkpoint:
    changed = {name: tensor + 1 for name, tensor in first.state_dict.items()}
    return Checkpoint(config=first.config, state_dict=changed, layout=first.layout, dtype=first.dtype)


def save(checkpoint: Checkpoint, folder: Path, size: str) -> None:
    save_checkpoint(checkpoint.state_dict, checkpoint.config, folder, max_shard_size=size)


def assert_holds(folder: Path, expected: Checkpoint) -> None:
    found = load_checkpoint(locate(folder)).state_dict
    assert found.keys() == expected.state_dict.keys()
    assert [name for name in found if not torch.equal(found[name], expected.state_dict[name])] == []


def weights(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name not in ("config.json", "tokenizer.json")}


def listed(folder: Path) -> set[str]:
    """The files that the index lists, and the index."""
    name = "model.safetensors.index.json"
    return {name, *json.loads((folder / name).read_text())["weight_map"].values()}


SIZES = [(before, after) for before in (WHOLE, SHARDS, "80KB") for after in (WHOLE, SHARDS, "80KB")]


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_saving_again_leaves_only_the_new_checkpoint(
    before: str, after: str, first: Checkpoint, second: Checkpoint, tmp_path: Path
) -> None:
    save(first, tmp_path, before)
    (tmp_path / "tokenizer.json").write_text("{}")
    save(second, tmp_path, after)
    assert_holds(tmp_path, second)
    assert weights(tmp_path) == ({"model.safetensors"} if after == WHOLE else listed(tmp_path))
    assert (tmp_path / "tokenizer.json").exists()
    save(first, tmp_path, after)
    assert_holds(tmp_path, first)
    assert weights(tmp_path) == ({"model.safetensors"} if after == WHOLE else listed(tmp_path))


class FailAfter:
    """Stands in for a function and fails at its nth call, having done half of its work."""

    def __init__(self, function: Callable[..., object], calls: int) -> None:
        self.function, self.left = function, calls

    def __call__(self, *arguments: object, **options: object) -> object:
        self.left -= 1
        result = self.function(*arguments, **options)
        if self.left == 0:
            raise OSError(28, "No space left on device")
        return result


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize(("before", "after"), SIZES[:5])
def test_a_failed_save_keeps_the_previous_checkpoint(
    before: str, after: str, calls: int, first: Checkpoint, second: Checkpoint, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    save(first, tmp_path, before)
    files = sorted(path.name for path in tmp_path.iterdir())
    broken = "save_file" if after != WHOLE or calls == 1 else "_stage_json"
    monkeypatch.setattr(saving, broken, FailAfter(getattr(saving, broken), calls if broken == "save_file" else 1))
    with pytest.raises(OSError, match="No space left"):
        save(second, tmp_path, after)
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert_holds(tmp_path, first)


@pytest.mark.parametrize("renames", range(1, 6))
@pytest.mark.parametrize(("before", "after"), [(WHOLE, SHARDS), (SHARDS, WHOLE), (SHARDS, SHARDS)])
def test_a_stop_between_two_renames_leaves_one_whole_checkpoint(
    before: str, after: str, renames: int, first: Checkpoint, second: Checkpoint, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    save(first, tmp_path, before)
    with monkeypatch.context() as patch:
        rename = FailAfter(Path.replace, renames)
        patch.setattr(Path, "replace", lambda path, target: rename(path, target))
        try:
            save(second, tmp_path, after)
        except OSError:
            finished = False
        else:
            finished = True
    found = load_checkpoint(locate(tmp_path)).state_dict
    is_second = torch.equal(found["model.level_embedding"], second.state_dict["model.level_embedding"])
    assert is_second or not finished
    assert_holds(tmp_path, second if is_second else first)
    save(second, tmp_path, after)
    assert_holds(tmp_path, second)
    assert weights(tmp_path) == ({"model.safetensors"} if after == WHOLE else listed(tmp_path))


@pytest.mark.parametrize("layout", ["original", "mmdetection"])
def test_a_failed_save_of_one_file_keeps_the_previous(
    layout: str, first: Checkpoint, second: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.pth"
    save_checkpoint(first.state_dict, first.config, path, layout=layout)
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", FailAfter(torch.save, 1))
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(second.state_dict, second.config, path, layout=layout)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.pth"]
    assert path.read_bytes() == before


def test_over_its_own_source(first: Checkpoint, tmp_path: Path) -> None:
    """The tensors are mapped from the file that is replaced."""
    save(first, tmp_path, WHOLE)
    mapped = load_checkpoint(locate(tmp_path))
    save(mapped, tmp_path, WHOLE)
    assert_holds(tmp_path, first)


def test_tensors_that_share_memory_are_written_whole(first: Checkpoint, tmp_path: Path) -> None:
    names = [f"model.decoder.layers.0.self_attention.{part}.weight" for part in ("query", "key", "value")]
    together = torch.randn(3, 32, 32)
    tensors = first.state_dict | dict(zip(names, together, strict=True))
    tensors["model.level_embedding"] = torch.randn(32, 4).T
    save_checkpoint(tensors, first.config, tmp_path, max_shard_size=SHARDS)
    found = load_checkpoint(locate(tmp_path)).state_dict
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    size = sum((tmp_path / name).stat().st_size for name in listed(tmp_path) if name.endswith(".safetensors"))
    assert size < 1.2 * sum(tensor.nbytes for tensor in tensors.values())


def test_weights_may_be_read_by_whom_the_configuration_may(first: Checkpoint, tmp_path: Path) -> None:
    save(first, tmp_path, WHOLE)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1


REFUSED = [
    pytest.param({"layout": "onnx"}, "out", ConfigError, "layout='onnx' is unknown. Choose one of", id="layout"),
    pytest.param({"dtype": "int8"}, "out", ConfigError, "dtype='int8' is not a floating-point type", id="int8"),
    pytest.param({"dtype": "float31"}, "out", ConfigError, "dtype='float31' is not", id="no-dtype"),
    pytest.param({"max_shard_size": "big"}, "out", ConfigError, "max_shard_size='big' is not a size", id="size"),
    pytest.param({"max_shard_size": 0}, "out", ConfigError, "max_shard_size=0 is not a size", id="zero"),
    pytest.param({}, "file.pth", CheckpointError, "is a file, but the Hugging Face layout is a folder", id="file"),
    pytest.param({"layout": "original"}, ".", CheckpointError, "is a folder, but the original layout", id="folder"),
]


@pytest.mark.parametrize(("options", "name", "error", "message"), REFUSED)
def test_bad_arguments(
    options: dict[str, str], name: str, error: type[Exception], message: str, first: Checkpoint, tmp_path: Path
) -> None:
    (tmp_path / "file.pth").touch()
    with pytest.raises(error, match=message):
        save_checkpoint(first.state_dict, first.config, tmp_path / name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["file.pth"]


IMPOSSIBLE = [
    pytest.param("mm", {}, "original", "no place for the contrastive heads' biases of a mm-grounding", id="mm"),
    pytest.param("gd", {"base": True}, "original", "holds detection models only", id="base"),
    pytest.param("mm", {"base": True}, "mmdetection", "holds detection models only", id="mm-base"),
    pytest.param(
        "gd", {"position_embedding_type": "learned"}, "original", "no place for 2 of .*position_encoding", id="learned"
    ),
]


@pytest.mark.parametrize(("family", "values", "layout", "message"), IMPOSSIBLE)
def test_impossible_layouts(
    family: str, values: dict[str, object], layout: str, message: str, saved: Callable[..., Path], tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(locate(saved(family, **values)))
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(checkpoint.state_dict, checkpoint.config, tmp_path / "out.pth", layout=layout)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_a_fused_tensor_must_not_be_missing(first: Checkpoint, tmp_path: Path) -> None:
    tensors = dict(first.state_dict)
    del tensors["model.decoder.layers.0.self_attention.key.weight"]
    message = r"self_attn.in_proj_weight' holds 3 tensors in one, but only 2"
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(tensors, first.config, tmp_path / "out.pth", layout="original")


def test_unknown_names_are_not_dropped(first: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"hugging_face layout has no place for 1 of .* first: 'adapter.up'"):
        save_checkpoint(first.state_dict | {"adapter.up": torch.zeros(1)}, first.config, tmp_path)
    assert list(tmp_path.iterdir()) == []
