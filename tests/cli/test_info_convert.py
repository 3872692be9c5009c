"""`groundling info` and `groundling convert` with a tiny model of random weights."""

import json
import re
import shlex
import shutil

import pytest
from safetensors.torch import load_file, save_file

from groundling.cli.convert import convert
from groundling.cli.info import info
from groundling.cli.main import run
from groundling.configuration.presets import tiny
from groundling.model import GroundingDinoModel
from groundling.pipeline.detector import Detector


def facts(model, capsys):
    assert run(["info", str(model), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


@pytest.fixture(scope="module")
def parameters(checkpoint):
    return Detector.from_pretrained(checkpoint).model.num_parameters()


def test_info(checkpoint, parameters, capsys):
    found = facts(checkpoint, capsys)
    assert found["model"] == str(checkpoint)
    assert (found["family"], found["layout"], found["dtype"]) == ("grounding-dino", "hugging_face", "float32")
    assert found["parameters"] == parameters
    assert (found["width"], found["queries"], found["prompt_limit"]) == (tiny().d_model, tiny().num_queries, 256)
    assert found["image_size"] == "longest edge 128, shortest edge 64"


def test_info_as_a_table(checkpoint, parameters, capsys):
    assert run(["info", str(checkpoint)]) == 0
    out = capsys.readouterr().out
    for words in ("grounding-dino", f"{parameters:,}", "prompt limit", "256", "longest edge 128, shortest edge 64"):
        assert words in out


def test_info_of_weights_without_a_processor(checkpoint, tmp_path, capsys):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(checkpoint / name, tmp_path)
    assert facts(tmp_path, capsys)["image_size"] is None
    assert run(["info", str(tmp_path)]) == 0
    assert "not stated" in capsys.readouterr().out


def test_there_and_back(checkpoint, parameters, tmp_path, capsys):
    assert run(["convert", str(checkpoint), str(tmp_path / "one.pth")]) == 0
    assert capsys.readouterr().out == (
        f"wrote {tmp_path / 'one.pth'}: grounding-dino, {parameters:,} parameters, read as hugging_face\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["one.pth"]
    assert facts(tmp_path / "one.pth", capsys)["layout"] == "original"
    assert run(["convert", str(tmp_path / "one.pth"), str(tmp_path / "back"), "--dtype", "float16"]) == 0
    capsys.readouterr()
    found = facts(tmp_path / "back", capsys)
    assert (found["layout"], found["dtype"]) == ("hugging_face", "float16")
    assert Detector.from_pretrained(tmp_path / "back").prompt(["a cat"]).token_ids == (101, 1037, 4937, 1012, 102)


def test_processor_and_tokenizer_files_are_copied_as_they_are(checkpoint, tmp_path):
    assert run(["convert", str(checkpoint), str(tmp_path / "copy"), "--layout", "hugging_face"]) == 0
    for name in ("processor_config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (checkpoint / name).read_bytes()


def test_published_processor_files_are_made_where_there_are_none(checkpoint, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "bare").mkdir(exist_ok=True)
        shutil.copy(checkpoint / name, tmp_path / "bare")
    assert run(["convert", str(tmp_path / "bare"), str(tmp_path / "full")]) == 0
    processor = Detector.from_pretrained(tmp_path / "full").processor
    assert dict(processor.image_processor.size) == {"shortest_edge": 800, "longest_edge": 1333}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["info", ""], "There is no file or folder ''", id="info empty name"),
        pytest.param(["info", "./no"], "There is no file or folder './no'", id="info nothing"),
        pytest.param(["info", "empty"], "'empty' has no", id="info empty folder"),
        pytest.param(["info", "text.pth"], "text.pth is not a file of torch.save", id="info text"),
        pytest.param(["convert", "./no", "out"], "There is no file or folder './no'", id="nothing"),
        pytest.param(["convert", "MODEL", "text.pth/out"], "text.pth", id="unwritable"),
        pytest.param(["convert", "MODEL", "text.pth", "--layout", "hugging_face"], "text.pth is a file", id="file"),
        pytest.param(["convert", "MODEL", "empty", "--layout", "original"], "empty is a folder", id="folder"),
        pytest.param(["convert", "MODEL", "MODEL"], "would be converted onto itself", id="onto itself"),
        pytest.param(["convert", "MODEL", "out.txt"], "ends neither like a folder nor like a .pth file", id="ending"),
        pytest.param(["convert", "MODEL", "."], "holds other files", id="folder of other files"),
        pytest.param(["convert", "MODEL", "out.pth", "--layout", "onnx"], "Invalid value for '--layout'", id="layout"),
        pytest.param(["convert", "MODEL", "out.pth", "--dtype", "int8"], "Invalid value for '--dtype'", id="dtype"),
    ],
)
def test_a_mistake_is_one_line(checkpoint, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pth").write_text("no weights")
    assert run([str(checkpoint) if word == "MODEL" else word for word in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("groundling: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "text.pth"]


@pytest.mark.parametrize("verb", [info, convert])
def test_the_example_in_the_help_works(checkpoint, tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"Example: groundling (.+)", verb.__doc__)
    assert run([str(checkpoint) if word == "MODEL" else word for word in shlex.split(example)]) == 0


def test_half_a_checkpoint_is_not_converted(checkpoint, tmp_path, capsys):
    shutil.copytree(checkpoint, tmp_path / "half")
    tensors = load_file(tmp_path / "half" / "model.safetensors")
    del tensors["model.level_embed"]
    save_file(tensors, tmp_path / "half" / "model.safetensors")
    assert run(["convert", str(tmp_path / "half"), str(tmp_path / "out")]) == 2
    assert re.search(r"groundling: .*half does not fit the model: it lacks 1 of \d+ tensors", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_model_without_heads(checkpoint, tmp_path, capsys):
    GroundingDinoModel.from_pretrained(checkpoint).save_pretrained(tmp_path / "base")
    assert run(["convert", str(tmp_path / "base"), str(tmp_path / "out"), "--dtype", "float16"]) == 0
    capsys.readouterr()
    assert facts(tmp_path / "out", capsys)["dtype"] == "float16"
