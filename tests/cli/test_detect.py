"""`groundling detect` with a tiny model of random weights."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from groundling import Tiles, Vocabulary
from groundling.cli.detect import detect
from groundling.cli.main import run
from groundling.cli.options import DEFAULT_NMS, DEFAULT_OVERLAP, DEFAULT_THRESHOLD
from groundling.pipeline.detector import Detector
from groundling.postprocess.select import SelectionRules
from groundling.structures.detections import Detections

SHAPES = Path(__file__).parents[2] / "examples" / "images" / "shapes.png"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the demo picture in it."""
    shutil.copy(SHAPES, tmp_path / "shapes.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def find(*arguments, model, labels=("a red circle", "a blue square"), threshold="0.01"):
    return run(["detect", *map(str, arguments), "--labels", *labels, "--model", str(model), "--threshold", threshold])


def json_lines(text):
    return [Detections.from_json(line) for line in text.splitlines()]


def size_of(path):
    with PIL.Image.open(path) as image:
        return image.size


def test_nothing_found(folder, checkpoint, capsys):
    assert find("shapes.png", model=checkpoint, threshold="1") == 0
    out, err = capsys.readouterr()
    assert "nothing found" in out
    assert err == ""
    assert size_of("shapes.detected.png") == (640, 480)


def test_one_picture(folder, checkpoint, capsys):
    assert find("shapes.png", "--top-k", "3", model=checkpoint) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("a blue square") + out.count("a red circle") == 3
    assert out.endswith("wrote shapes.detected.png\n")
    assert size_of("shapes.detected.png") == (640, 480)
    assert sorted(path.name for path in folder.iterdir()) == ["shapes.detected.png", "shapes.png"]


def test_json_is_what_the_detector_finds(folder, checkpoint, capsys):
    assert find("shapes.png", "--json", "--nms", "0.5", "--batch-size", "2", model=checkpoint) == 0
    out, err = capsys.readouterr()
    (found,) = json_lines(out)
    assert err == ""
    assert not Path("shapes.detected.png").exists()
    expected = Detector.from_pretrained(checkpoint)(
        "shapes.png", ["a red circle", "a blue square"], threshold=0.01, nms_iou=0.5
    )
    assert len(found) > 1
    assert (found.source, found.labels, found.image_wh) == ("shapes.png", expected.labels, (640, 480))
    assert np.array_equal(found.boxes_xyxy, expected.boxes_xyxy)
    assert np.array_equal(found.scores, expected.scores)


def test_json_with_pictures(folder, checkpoint, capsys):
    assert find("shapes.png", "--json", "--out", "found.jpg", model=checkpoint) == 0
    assert len(json_lines(capsys.readouterr().out)) == 1
    assert size_of("found.jpg") == (640, 480)


def test_tiles(folder, checkpoint, capsys):
    assert find("shapes.png", "--json", "--tile", "320", "--overlap", "0.1", "--top-k", "9", model=checkpoint) == 0
    out, err = capsys.readouterr()
    assert err == ""
    labels = ["a red circle", "a blue square"]
    detector = Detector.from_pretrained(checkpoint)
    expected = detector("shapes.png", labels, threshold=0.01, top_k=9, tiles=Tiles(320, overlap=0.1), batch_size=1)
    assert json_lines(out) == [expected]
    assert len(expected) == 9
    assert expected != detector("shapes.png", labels, threshold=0.01, top_k=9)


def test_tiles_of_a_file_that_pillow_refuses(folder, checkpoint, capsys, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100_000)
    monkeypatch.setattr("groundling.pictures.strips.WHOLE_PIXELS", 100_000)
    monkeypatch.setattr("groundling.structures.detections_shown.MOST_DRAWN", 40_000)
    assert find("shapes.png", "--json", "--tile", "320", "--out", "found.png", model=checkpoint) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json_lines(out)[0].image_wh == (640, 480)
    assert size_of("found.png") == (213, 160)


@pytest.mark.parametrize("batch_size", ["1", "2", "9"])
def test_a_folder_with_a_broken_picture(folder, checkpoint, capsys, batch_size):
    pictures = folder / "pictures"
    pictures.mkdir()
    for number, size in enumerate([(60, 40), (40, 60), (60, 40)]):
        PIL.Image.new("RGB", size, "gray").save(pictures / f"{number}.png")
    (pictures / "1a.png").write_bytes(b"not a picture")
    status = find("pictures", "--json", "--out", "found", "--batch-size", batch_size, model=checkpoint)
    out, err = capsys.readouterr()
    assert status == 1
    assert re.fullmatch(r"groundling: '.*1a.png' is not a readable picture .*\n", err)
    assert [(Path(one.source).name, one.image_wh) for one in json_lines(out)] == [
        ("0.png", (60, 40)),
        ("1.png", (40, 60)),
        ("2.png", (60, 40)),
    ]
    assert sorted(p.name for p in Path("found").iterdir()) == [f"{n}.detected.png" for n in (0, 1, 2)]


def test_a_missing_picture_among_several(folder, checkpoint, capsys):
    assert find("shapes.png", "missing.png", "--json", model=checkpoint) == 1
    out, err = capsys.readouterr()
    assert len(json_lines(out)) == 1
    assert err == "groundling: There is no picture file 'missing.png'. Check the path.\n"


def test_deep_transparent_and_turned_pictures(folder, checkpoint, capsys):
    PIL.Image.fromarray(np.full((40, 60), 30000, np.uint16)).save("deep.png")
    PIL.Image.new("RGBA", (60, 40), (9, 9, 9, 90)).save("clear.png")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (60, 40)).save("turned.jpg", exif=exif)
    assert find("deep.png", "clear.png", "turned.jpg", "--json", "--out", "found", model=checkpoint) == 0
    assert [one.image_wh for one in json_lines(capsys.readouterr().out)] == [(60, 40), (60, 40), (40, 60)]
    assert size_of("found/turned.detected.png") == (40, 60)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--text", "a red circle. a blue square."], id="text"),
        pytest.param(["--labels=a red circle", "--labels=a blue square"], id="repeated"),
    ],
)
def test_other_ways_to_name_things(folder, checkpoint, capsys, words):
    assert find("shapes.png", "--json", model=checkpoint) == 0
    expected = capsys.readouterr().out
    arguments = ["detect", *words, "--model", str(checkpoint), "--threshold", "0.01", "--json", "shapes.png"]
    assert run(arguments) == 0
    assert capsys.readouterr().out == expected


def test_more_labels_than_a_prompt_holds(folder, checkpoint, capsys):
    names = [f"a red circle {number}" for number in range(120)]
    assert find("shapes.png", "--json", model=checkpoint, labels=names) == 0
    (found,) = json_lines(capsys.readouterr().out)
    assert found.labels == tuple(names)
    Path("names.txt").write_text("\n".join(names))
    assert (
        run(
            [
                "detect",
                "shapes.png",
                "--vocabulary",
                "names.txt",
                "--model",
                str(checkpoint),
                "--json",
                "--threshold",
                "0.01",
            ]
        )
        == 0
    )
    assert json_lines(capsys.readouterr().out) == [found]


def test_negatives_and_suppression(folder, checkpoint, capsys):
    command = ["detect", "shapes.png", "--model", str(checkpoint), "--json", "--threshold", "0.01"]
    wanted = ["--labels", "a red circle", "--negatives", "a blue square", "a tree"]
    assert run([*command, *wanted, "--nms", "0.3", "--nms-across-labels", "--drop-groups"]) == 0
    (found,) = json_lines(capsys.readouterr().out)
    expected = Detector.from_pretrained(checkpoint)(
        "shapes.png",
        Vocabulary(("a red circle",), negatives=("a blue square", "a tree")),
        threshold=0.01,
        nms_iou=0.3,
        nms_across_labels=True,
        drop_groups=True,
    )
    assert found.labels == ("a red circle",)
    assert np.array_equal(found.boxes_xyxy, expected.boxes_xyxy)


def test_pictures_after_the_labels(folder, checkpoint, capsys):
    command = ["detect", "--model", str(checkpoint), "--json", "--labels", "a", "b", "--", "shapes.png"]
    assert run(command) == 0
    assert json_lines(capsys.readouterr().out)[0].labels == ("a", "b")


def test_number_format_and_device(folder, checkpoint, capsys):
    assert find("shapes.png", "--json", "--dtype", "bfloat16", "--device", "cpu", model=checkpoint) == 0
    assert len(json_lines(capsys.readouterr().out)) == 1


MODEL = ["--model", "MODEL"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "Nothing to find is named. Use for example: --labels", id="empty"),
        pytest.param(["shapes.png", *MODEL], "Nothing to find is named", id="no labels"),
        pytest.param(["shapes.png", *MODEL, "--labels"], "Nothing to find is named", id="labels without words"),
        pytest.param(["shapes.png", *MODEL, "--labels", ""], "Label 0 is blank", id="blank label"),
        pytest.param(["shapes.png", *MODEL, "--text", "\udcff"], "'\\udcff' is not UTF-8 text", id="no text"),
        pytest.param(["shapes.png", *MODEL, "--text", ""], "The prompt '' names nothing to find", id="blank text"),
        pytest.param(["shapes.png", *MODEL, "--labels", "a", "--text", "a"], "--labels and --text both", id="both"),
        pytest.param(
            ["shapes.png", *MODEL, "--labels", "a cat " * 150],
            "The label 'a cat a cat",
            id="long label",
        ),
        pytest.param(
            ["shapes.png", *MODEL, "--labels", "a", "--vocabulary", "b.txt"],
            "--labels and --vocabulary both say what to find",
            id="two ways",
        ),
        pytest.param(["shapes.png", *MODEL, "--vocabulary", "b.txt"], "b.txt: No such file", id="no vocabulary"),
        pytest.param(
            ["shapes.png", *MODEL, "--text", "a.", "--negatives", "b"], "--negatives go with --labels", id="negatives"
        ),
        pytest.param(
            ["shapes.png", *MODEL, "--labels", "a", "--negatives", "a"],
            "'a' is a negative, but 'a' is to be found",
            id="both",
        ),
        pytest.param(["shapes.png", *MODEL, "--labels", "a", "--overlap", "5"], "--overlap 5 belongs", id="overlap"),
        pytest.param(["shapes.png", *MODEL, "--labels", "a", "--tile", "3"], "The size of a tile must be", id="tile"),
        pytest.param([*MODEL, "--labels", "a"], "No picture is given. Put one or more before", id="no picture"),
        pytest.param(
            [*MODEL, "--labels", "a cat", "shapes.png"],
            "No picture is given: --labels takes all words up to the next option, also 'shapes.png'. Put pictures "
            "before --labels, or end the labels with --, as in: --labels 'a cat' -- shapes.png",
            id="labels took the picture",
        ),
        pytest.param(["missing.png", *MODEL, "--labels", "a"], "There is no picture file 'missing.png'", id="no file"),
        pytest.param(["no.png", "x.png", *MODEL, "--labels", "a"], "There is no picture file 'no.png'", id="no files"),
        pytest.param(["note.txt", *MODEL, "--labels", "a"], "'note.txt' is not a readable picture", id="no image"),
        pytest.param(["nothing", *MODEL, "--labels", "a"], "The folder 'nothing' has no pictures", id="empty folder"),
        pytest.param(
            ["shapes.png", "--labels", "a", "--model", "./no"], "There is no file or folder './no'", id="model"
        ),
        pytest.param(["shapes.png", "--labels", "a", "--model", ""], "There is no file or folder ''", id="blank model"),
        pytest.param(
            ["shapes.png", "--labels", "a", "--model", "~nobody-here/m"], "A path begins with ~", id="no such home"
        ),
        pytest.param(["shapes.png", "--labels", "a", "--model", "nothing"], "'nothing' has no ", id="empty model"),
        pytest.param(
            ["shapes.png", "--labels", "a", *MODEL, "--threshold", "2"], "Invalid value for '--thr", id="high"
        ),
        pytest.param(["shapes.png", "--labels", "a", *MODEL, "--threshold", "nan"], "", id="threshold nan"),
        pytest.param(
            ["shapes.png", "--labels", "a", *MODEL, "--threshold", "x"], "Invalid value for '--thr", id="word"
        ),
        pytest.param(
            ["shapes.png", "--labels", "a", *MODEL, "--top-k", "0"], "Invalid value for '--top-k'", id="top-k"
        ),
        pytest.param(["shapes.png", "--labels", "a", *MODEL, "--nms", "-1"], "Invalid value for '--nms'", id="nms"),
        pytest.param(
            ["shapes.png", "--labels", "a", *MODEL, "--dtype", "int8"], "Invalid value for '--dty", id="dtype"
        ),
        pytest.param(
            ["shapes.png", "--labels", "a", *MODEL, "--device", "gpu"], "The device 'gpu' cannot", id="device"
        ),
        pytest.param(
            ["shapes.png", "--labels", "a", *MODEL, "--batch-size", "0"], "Invalid value for '--b", id="batch"
        ),
        pytest.param(["shapes.png", "--labels", "a", *MODEL, "--out", "a.txt"], "--out 'a.txt' does not end", id="out"),
        pytest.param(
            ["shapes.png", "--labels", "a", *MODEL, "--out", "note.txt/a.png"], "Nothing can be", id="out in file"
        ),
        pytest.param(
            ["shapes.png", "--labels", "a", *MODEL, "--out", "shapes.png"], "--out 'shapes.png' is the p", id="self"
        ),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(folder, checkpoint, capsys, arguments, message):
    (folder / "note.txt").write_text("not a picture")
    (folder / "nothing").mkdir()
    before = sorted(folder.iterdir())
    assert run(["detect", *[str(checkpoint) if word == "MODEL" else word for word in arguments]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"groundling: {message}")
    assert err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_the_example_in_the_help_works(folder, checkpoint):
    (example,) = re.findall(r"Example: groundling (.+)", detect.__doc__)
    assert run([str(checkpoint) if word == "MODEL" else word for word in shlex.split(example)]) == 0
    assert size_of("found.png") == (640, 480)


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are not text")
@pytest.mark.parametrize("extra", [[], ["--json"]], ids=["table", "json"])
def test_in_its_own_process_with_letters_that_the_terminal_lacks(folder, checkpoint, extra):
    odd_name = b"\xff.png"
    shutil.copy("shapes.png", os.fsdecode(odd_name))
    start = [sys.executable, "-c", "from groundling.cli.main import main; main()", "detect"]
    words = ["--labels", "кошка", "--model", str(checkpoint), "--threshold", "0.01", *extra]
    settings = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [*map(os.fsencode, start), odd_name, *map(os.fsencode, words)]
    done = subprocess.run(command, capture_output=True, env=settings, timeout=120, check=True)
    assert done.stderr == b""
    if extra:
        assert b'"source": "\xff.png"' in done.stdout
        assert json_lines(done.stdout.decode(errors="surrogateescape"))[0].labels == ("кошка",)


def test_defaults_are_those_of_the_detector():
    assert SelectionRules().threshold == DEFAULT_THRESHOLD
    assert SelectionRules().nms_iou == DEFAULT_NMS
    assert Tiles().overlap == DEFAULT_OVERLAP
