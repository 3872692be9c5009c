"""Which checkpoints load, and what is said of those that do not."""

import json
import logging
import re
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from groundling.errors import CheckpointError, ConfigError, GroundlingError, MissingExtraError
from groundling.segmentation import Segmenter, load_segmenter, load_video_model
from random_segmenters import KINDS, picture, some_boxes

FolderOf = Callable[[str], Path]

TITLES = {
    "sam": "SAM",
    "sam_hq": "SAM-HQ",
    "sam2": "SAM 2",
    "sam2_video": "SAM 2",
    "edgetam": "EdgeTAM",
    "edgetam_video": "EdgeTAM",
}


@pytest.fixture
def copied(folder_of: FolderOf, tmp_path: Path) -> Path:
    """A copy of the tiny SAM that a test may damage."""
    return Path(shutil.copytree(folder_of("sam"), tmp_path / "sam"))


def _change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_loads(
    kind: str, segmenter_of: Callable[[str], Segmenter], capfd: pytest.CaptureFixture[str], folder_of: FolderOf
) -> None:
    assert segmenter_of(kind).family.title == TITLES[kind]
    assert repr(segmenter_of(kind)) == f"Segmenter({TITLES[kind]}, cpu, torch.float32)"
    assert segmenter_of(kind).folder == folder_of(kind)
    assert not segmenter_of(kind).model.training
    level = transformers.utils.logging.get_verbosity()
    transformers.logging.set_verbosity_warning()
    try:
        load_segmenter(folder_of(kind), device="cpu")
        assert transformers.utils.logging.get_verbosity() == logging.WARNING, "the user's setting was changed"
    finally:
        transformers.utils.logging.set_verbosity(level)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["sam2_video", "edgetam_video"])
def test_video_models(kind: str, segmenter_of: Callable[[str], Segmenter]) -> None:
    model = load_video_model(segmenter_of(kind))
    assert type(model).__name__ == segmenter_of(kind).family.video_model
    assert model.vision_encoder is segmenter_of(kind).model.vision_encoder, "most of the weights are there twice"
    assert not model.training


@pytest.mark.parametrize("kind", ["sam", "sam2", "edgetam"])
def test_image_models_cannot_follow(kind: str, segmenter_of: Callable[[str], Segmenter]) -> None:
    with pytest.raises(CheckpointError, match=f"model_type '{kind}', which segments pictures but cannot follow"):
        load_video_model(segmenter_of(kind))


def test_several_threads_load_at_once(folder_of: FolderOf) -> None:
    """Left alone, transformers finds that weights are missing."""
    settings = transformers.utils.logging
    before = settings.get_verbosity(), settings.is_progress_bar_enabled()
    expected = load_segmenter(folder_of("sam"), device="cpu").model.state_dict()
    with ThreadPoolExecutor(4) as pool:
        for loaded in pool.map(lambda _: load_segmenter(folder_of("sam"), device="cpu"), range(4)):
            _same(loaded, expected)
    assert (settings.get_verbosity(), settings.is_progress_bar_enabled()) == before


# Number formats and places


def test_half_precision_weights_are_computed_in_float32_on_a_cpu(folder_of: FolderOf, tmp_path: Path) -> None:
    transformers.SamModel.from_pretrained(folder_of("sam")).half().save_pretrained(tmp_path)
    assert load_segmenter(tmp_path, device="cpu").dtype == torch.float32
    assert load_segmenter(tmp_path, device="cpu", dtype="float16").dtype == torch.float16


@pytest.mark.parametrize("kind", ["sam", "sam_hq", "sam2", "edgetam"])
def test_bfloat16_decodes(kind: str, folder_of: FolderOf) -> None:
    segmenter = load_segmenter(folder_of(kind), device="cpu", dtype=torch.bfloat16)
    assert segmenter.dtype == torch.bfloat16
    masks, scores = segmenter.decode(segmenter.encode([picture(50, 40)])[0], some_boxes(2, 50, 40))
    assert len(masks) == len(scores) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"device": ""}, "The device '' cannot be used", id="empty"),
        pytest.param({"device": "gpu"}, "The device 'gpu' cannot be used", id="unknown device"),
        pytest.param({"dtype": "int8"}, "dtype='int8' is not a floating-point type", id="dtype"),
    ],
)
def test_impossible_options(folder_of: FolderOf, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_segmenter(folder_of("sam"), **options)


# Files


def test_pickled_and_split_weights_load(copied: Path) -> None:
    expected = load_segmenter(copied, device="cpu").model.state_dict()
    weights = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    torch.save(weights, copied / "pytorch_model.bin")
    _same(load_segmenter(copied, device="cpu"), expected)
    (copied / "pytorch_model.bin").unlink()
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for filename, some in parts.items():
        save_file({name: weights[name] for name in some}, copied / filename, {"format": "pt"})
    index = {name: filename for filename, some in parts.items() for name in some}
    (copied / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    _same(load_segmenter(copied, device="cpu"), expected)
    (copied / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no file 'model-00002-of-00002\.safetensors'"):
        load_segmenter(copied)


def _same(segmenter: Segmenter, expected: dict[str, torch.Tensor]) -> None:
    for name, weight in segmenter.model.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=0)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("was_here"),))


def _pickle_with_code(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": _Evil()}, folder / "pytorch_model.bin")


def _drop_a_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["mask_decoder.iou_token.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def _cut_the_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def _index_outside(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))


def _other_width(folder: Path) -> None:
    vision = json.loads((folder / "config.json").read_text())["vision_config"]
    _change_config(folder, vision_config=vision | {"output_channels": 48})


def _change_a_tensor(
    change: Callable[[torch.Tensor], torch.Tensor], *, is_pickled: bool = False
) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights["mask_decoder.iou_token.weight"] = change(weights["mask_decoder.iou_token.weight"]).contiguous()
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        if is_pickled:
            (folder / "model.safetensors").unlink()
            torch.save(weights, folder / "pytorch_model.bin")

    return damage


def _change_part(part: str, **values: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        _change_config(folder, **{part: json.loads((folder / "config.json").read_text())[part] | values})

    return damage


DAMAGE = [
    pytest.param(lambda folder: shutil.rmtree(folder) or folder.mkdir(), r"no file 'config\.json'", id="empty folder"),
    pytest.param(lambda folder: (folder / "config.json").write_text(""), r"config\.json", id="empty configuration"),
    pytest.param(lambda folder: (folder / "config.json").write_text("[]"), r"config\.json", id="a list"),
    pytest.param(lambda folder: _change_config(folder, model_type=None), "model_type None", id="no type"),
    pytest.param(lambda folder: _change_config(folder, model_type=["sam"]), "model_type \\['sam'\\]", id="odd type"),
    pytest.param(
        lambda folder: _change_config(folder, model_type="grounding-dino"),
        "model_type 'grounding-dino'.* one of these: sam, sam_hq, sam2, sam2_video, edgetam, edgetam_video",
        id="a detector",
    ),
    pytest.param(lambda folder: _change_config(folder, vision_config=7), "SAM checkpoint in", id="odd part"),
    pytest.param(_other_width, "belongs to (it|other weights)", id="another width"),
    pytest.param(lambda folder: _change_config(folder, model_type="sam2"), "SAM 2", id="another family"),
    pytest.param(lambda folder: (folder / "model.safetensors").unlink(), "has no weights", id="no weights"),
    pytest.param(
        lambda folder: (folder / "model.safetensors").write_bytes(b""), "cannot be loaded", id="empty weights"
    ),
    pytest.param(_cut_the_weights, "cannot be loaded", id="cut weights"),
    pytest.param(_drop_a_tensor, "lack 1 tensors of a SAM model: mask_decoder.iou_token.weight", id="missing tensor"),
    pytest.param(
        _pickle_with_code, "is no plain table of tensors; code in it is not run", id="a pickle that runs code"
    ),
    pytest.param(
        _change_a_tensor(lambda old: old.to(torch.int8)),
        "iou_token.weight' of the SAM checkpoint in .* holds I8 in place of floating",
        id="whole numbers",
    ),
    pytest.param(
        _change_a_tensor(lambda old: old.to(torch.int8), is_pickled=True),
        "iou_token.weight' of the SAM checkpoint in .* holds int8 in place of floating",
        id="whole numbers in a pickle",
    ),
    pytest.param(_change_a_tensor(lambda old: old * torch.nan), "holds NaN or infinity", id="not a number"),
    pytest.param(_change_a_tensor(lambda old: old / 0), "holds NaN or infinity", id="infinite"),
    pytest.param(
        _change_a_tensor(lambda old: old[:, :3]),
        r"have other shapes for 1 tensors of a SAM model: mask_decoder.iou_token.weight \(\[1, 3\] in place of",
        id="another shape",
    ),
    pytest.param(
        _change_part("vision_config", image_size="abc"),
        "Validation error for field 'image_size': TypeError: Field 'image_size' with value 'abc'",
        id="a size in words",
    ),
    pytest.param(_index_outside, "lists no files of weights", id="a part outside the folder"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damaged_checkpoints(
    copied: Path, damage: Callable[[Path], Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied.parent)
    damage(copied)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_segmenter(copied, device="cpu")
    assert "\n" not in str(caught.value)
    for advice in ("above report", "verbosity", "weights_only", "ignore_mismatched"):
        assert advice not in str(caught.value)
    assert not Path("was_here").exists(), "code in a checkpoint was run"


@pytest.mark.parametrize("name", ["", "no/such/folder/here", "./nothing", "missing.safetensors"])
def test_names_that_are_nothing(name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_segmenter(name, device="cpu")
    assert str(caught.value).endswith("Give a local folder, or a hub id such as 'facebook/sam2.1-hiera-tiny'.")


@pytest.mark.parametrize("values", [{"image_mean": [0.5, 0.5]}, {"rescale_factor": float("inf")}], ids=repr)
def test_an_impossible_processor_file_is_refused_when_it_is_read(copied: Path, values: dict[str, Any]) -> None:
    (copied / "preprocessor_config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=f"preprocessor_config.json of .*{next(iter(values))} must be"):
        load_segmenter(copied, device="cpu")


def test_a_hub_id_offline_says_what_to_do() -> None:
    with pytest.raises(CheckpointError, match="facebook/sam-vit-base"):
        load_segmenter("facebook/sam-vit-base", device="cpu", local_files_only=True)


def test_a_file_is_no_segmenter(copied: Path) -> None:
    with pytest.raises(CheckpointError, match="is one file, but a segmenter is a folder"):
        load_segmenter(copied / "model.safetensors", device="cpu")


def test_tensors_that_are_not_used_are_named(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = load_file(copied / "model.safetensors") | {"something.else": torch.zeros(2)}
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    load_segmenter(copied, device="cpu")
    assert "1 tensors that a SAM model does not know, such as something.else" in caplog.text


# Packages


def test_without_transformers(folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'groundling[sam]'")):
        load_segmenter(folder_of("sam"))


def test_with_an_old_transformers(folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers, "__version__", "4.57.1")
    with pytest.raises(MissingExtraError, match=re.escape("needs transformers 5.20 or newer, but 4.57.1 is installed")):
        load_segmenter(folder_of("sam"))


def test_edgetam_without_timm(folder_of: FolderOf, tmp_path: Path) -> None:
    values = json.loads((folder_of("edgetam") / "config.json").read_text())
    values["vision_config"]["backbone_config"] = {"model_type": "timm_wrapper", "architecture": "repvit_m1"}
    shutil.copytree(folder_of("edgetam"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").write_text(json.dumps(values))
    try:
        import timm  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match="pip install timm torchvision"):
            load_segmenter(tmp_path, device="cpu")
    else:
        with pytest.raises(GroundlingError):
            load_segmenter(tmp_path, device="cpu")
