"""The recipes of examples/editing: what they change, what they leave alone, and how they end."""

import importlib
import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from groundling import Detections, GroundedSam, MaskOptions, Masks
from groundling.data.scenes import make_scene

FOLDER = Path(__file__).parents[2] / "examples" / "editing"
SCENE = FOLDER.parent / "images" / "scene.png"
HOUSE = ["brown house", "blue oval"]


@pytest.fixture(scope="module")
def recipes() -> Iterator[Any]:
    """The recipes as modules, found as Python finds them when one is run."""
    names = ("selection", "background", "blur", "inpainting_masks")
    sys.path.insert(0, str(FOLDER))
    modules = SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    modules.selection.GroundedSam = SimpleNamespace(from_pretrained=cache(GroundedSam.from_pretrained))  # loaded once
    yield modules
    sys.path.remove(str(FOLDER))
    for name in names:
        del sys.modules[name]


def detections(masks: np.ndarray, boxes: Any = None) -> Detections:
    made = Masks.from_array(masks)
    boxes = made.boxes_xyxy if boxes is None else np.array(boxes, np.float32)
    count = len(masks)
    scores, ids = np.full(count, 0.9, np.float32), np.zeros(count, np.int64)
    return Detections(boxes, scores, ids, ("thing",), made.image_wh, masks=made)


def rectangle(left: int, top: int, right: int, bottom: int, side: int = 64) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[top:bottom, left:right] = True
    return mask


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def noise(side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


# The edge of a mask


@pytest.mark.parametrize("grow", [0, 1, 5, -3])
def test_a_grown_rectangle_is_larger_on_each_side(recipes: Any, grow: int) -> None:
    share = recipes.selection.edge(rectangle(20, 24, 40, 44), grow=grow)
    assert set(np.unique(share)) <= {0.0, 1.0}
    middle = share[30] > 0
    assert np.flatnonzero(middle)[[0, -1]].tolist() == [20 - grow, 39 + grow]


def test_a_soft_edge_falls_across_the_edge_of_the_mask(recipes: Any) -> None:
    share = recipes.selection.edge(rectangle(20, 20, 44, 44), soften=2)
    np.testing.assert_allclose(share[32, 16:25], [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, 1], atol=1e-6)


@pytest.mark.parametrize(("value", "share"), [pytest.param(False, 0.0, id="empty"), pytest.param(True, 1.0, id="full")])
def test_a_mask_without_an_edge(recipes: Any, value: bool, share: float) -> None:
    assert (recipes.selection.edge(np.full((8, 8), value), grow=3, soften=2) == share).all()


# Background


def test_a_cut_out_keeps_the_inside_and_none_of_the_outside(recipes: Any) -> None:
    scene = make_scene(3, 5, size=160)
    mask = scene.masks.any(axis=0)
    cut = np.asarray(recipes.background.cut_out(scene.image, mask, 1.0))
    share = recipes.selection.edge(mask, soften=1.0)
    deep = recipes.selection.edge(mask, grow=-3) > 0
    assert cut.shape == (160, 160, 4)
    assert (cut[deep][:, :3] == np.asarray(scene.image)[deep]).all()
    assert (cut[deep][:, 3] == 255).all()
    assert (cut[share == 0] == 0).all()  # the colours are gone, not only hidden
    assert ((cut[..., 3] > 0) & (cut[..., 3] < 255)).any()


def test_colours_of_the_old_background_do_not_stay_at_the_edge(recipes: Any) -> None:
    image = np.full((64, 64, 3), (0, 0, 255), np.uint8)
    image[20:44, 20:44] = (255, 0, 0)
    image[19:45, [19, 44]] = image[[19, 44], 19:45] = (128, 0, 128)  # as a camera mixes them
    cut = np.asarray(recipes.background.cut_out(Image.fromarray(image), rectangle(19, 19, 45, 45), 1.0))
    assert (cut[cut[..., 3] > 0][:, :3] == (255, 0, 0)).all()


def test_a_thing_too_thin_for_an_inside_does_not_take_the_colours_of_another(recipes: Any) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[4:24, 4:24], image[40:60, 50:52] = (255, 0, 0), (0, 255, 0)
    cut = recipes.background.cut_out(Image.fromarray(image), rectangle(4, 4, 24, 24) | rectangle(50, 40, 52, 60), 1.0)
    assert cut.getpixel((50, 50))[:3] == (0, 255, 0)


def test_a_blurred_background_has_no_glow_of_the_things(recipes: Any) -> None:
    image = np.full((64, 64, 3), (0, 0, 200), np.uint8)
    image[20:44, 20:44] = (255, 0, 0)
    blurred = recipes.background.blurred_around(Image.fromarray(image), rectangle(20, 20, 44, 44), 6.0, 2.0)
    around = np.asarray(blurred)[recipes.selection.edge(rectangle(20, 20, 44, 44), grow=2) == 0]
    assert np.abs(around.astype(int) - (0, 0, 200)).max() <= 1


# Blur


@pytest.mark.parametrize("how", ["blur", "pixelate", "black"])
def test_what_is_hidden_is_the_thing_and_its_margin(recipes: Any, how: str) -> None:
    image, mask = noise(), rectangle(20, 24, 40, 44)
    hidden = recipes.blur.hide(image, detections(mask[None]), how, margin=0.2, detail=5)
    changed = (hidden != image).any(axis=-1)
    around, reach = recipes.selection.edge(mask, grow=4) > 0, recipes.selection.edge(mask, grow=10) > 0
    assert changed[around].mean() > 0.97  # a pixel may be its own mean
    assert not changed[~(around if how != "pixelate" else reach)].any()
    if how == "black":
        assert not hidden[around].any()
    else:
        assert hidden[mask].std() < 0.5 * image[mask].std()
    assert image.flags.owndata
    assert (image == noise()).all()


def test_squares_have_one_colour_each(recipes: Any) -> None:
    hidden = recipes.blur.pixelated(noise(20), np.ones((20, 20), bool), 6)
    for top in range(0, 20, 6):
        for left in range(0, 20, 6):
            square = hidden[top : top + 6, left : left + 6].reshape(-1, 3)
            assert (square == square[0]).all()


@pytest.mark.parametrize("boxes", [False, True])
def test_an_empty_mask_is_hidden_with_its_box(recipes: Any, boxes: bool) -> None:
    masks = np.stack([np.zeros((64, 64), bool), rectangle(50, 50, 54, 54)])
    found = detections(masks, [(10.4, 12, 20.2, 22), (40, 40, 60, 60)])
    hidden = recipes.blur.hide(noise(), found, "black", boxes=boxes)
    assert not hidden[12:22, 10:21].any()
    assert hidden[42:44, 42:44].any() != boxes


@pytest.mark.parametrize("box", [(0, 0, 64, 64), (-5, -5, 3, 3), (60, 60, 70, 70), (64, 64, 64, 64), (7, 7, 7, 7)])
def test_a_box_may_lie_anywhere(recipes: Any, box: tuple[int, ...]) -> None:
    found = detections(np.zeros((1, 64, 64), bool), [box])
    for how in recipes.blur.WAYS:
        assert recipes.blur.hide(noise(), found, how).shape == (64, 64, 3)


# Masks for inpainting


def export(recipes: Any, out: Path, mask: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray, list[int]]:
    usual = {"grow": 4, "soften": 2, "crop": None, "multiple": 1, "invert": False}
    side = mask.shape[0]
    given = SimpleNamespace(image="scene.png", out=out, **usual | options)
    recipes.inpainting_masks.edit(given, Image.fromarray(noise(side)), detections(mask[None]))
    picture, white = (read(out / name) for name in ("picture.png", "mask.png"))
    crop = json.loads((out / "crop.json").read_text(encoding="utf-8"))
    assert crop["image_wh"] == [side, side]
    return picture, white, crop["box_xyxy"]


def test_white_is_what_is_repainted(recipes: Any, tmp_path: Path) -> None:
    mask = rectangle(20, 20, 40, 40)
    picture, white, box = export(recipes, tmp_path, mask)
    assert box == [0, 0, 64, 64]
    assert (picture == noise()).all()
    assert white.shape == (64, 64)
    assert white.dtype == np.uint8
    assert (white[mask] == 255).all()
    assert (white[recipes.selection.edge(mask, grow=6.5) == 0] == 0).all()
    assert ((white >= 128) == (recipes.selection.edge(mask, grow=4) > 0)).all()  # as pipelines divide it
    _, other, _ = export(recipes, tmp_path, mask, invert=True, grow=0)
    assert ((other >= 128) == ~mask).all()


@pytest.mark.parametrize(
    ("where", "crop", "multiple"),
    [
        pytest.param((60, 60, 64, 64), 0, 8, id="in the corner"),
        pytest.param((20, 20, 40, 44), 3, 8, id="in the middle"),
        pytest.param((20, 20, 40, 44), 3, 1, id="any size"),
        pytest.param((0, 30, 70, 34), 10, 64, id="as wide as the picture"),
        pytest.param((20, 20, 40, 44), None, 64, id="not cropped"),
    ],
)
def test_a_crop_holds_the_mask_and_has_sides_of_a_multiple(
    recipes: Any, tmp_path: Path, where: tuple[int, ...], crop: int | None, multiple: int
) -> None:
    mask = rectangle(*where, side=70)
    picture, white, (left, top, right, bottom) = export(recipes, tmp_path, mask, crop=crop, multiple=multiple)
    assert (right - left) % multiple == (bottom - top) % multiple == 0
    assert picture.shape == (bottom - top, right - left, 3)
    assert white.shape == picture.shape[:2]
    assert min(left, top) >= 0
    _, whole, _ = export(recipes, tmp_path, mask)
    assert np.count_nonzero(white) == np.count_nonzero(whole)
    assert (white[: 70 - top, : 70 - left] == whole[top:bottom, left:right]).all()
    assert (picture[: 70 - top, : 70 - left] == noise(70)[top:bottom, left:right]).all()


def test_what_is_repainted_goes_back_where_it_came_from(recipes: Any, tmp_path: Path) -> None:
    """As docs/editing.md does it."""
    mask = rectangle(50, 10, 68, 30, side=70)
    picture, white, box = export(recipes, tmp_path, mask, crop=2, multiple=64)
    assert box[2] > 70 or box[3] > 70 or box[2] - box[0] == 64
    original, part = Image.fromarray(noise(70)), Image.fromarray(picture)
    original.paste(Image.composite(Image.new("RGB", part.size, "red"), part, Image.fromarray(white)), tuple(box))
    after, outside = np.asarray(original), recipes.selection.edge(mask, grow=6.5) == 0
    assert (after[outside] == noise(70)[outside]).all()
    assert (after[mask] == (255, 0, 0)).all()


# With the bundled models


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    path.write_bytes(SCENE.read_bytes())
    return path


def true_mask(recipes: Any, labels: list[str]) -> np.ndarray:
    """What the bundled detector and segmenter say belongs to the labels, without specks."""
    sam = recipes.selection.GroundedSam.from_pretrained("groundling/nano", None)
    found = sam(SCENE, labels, masks=MaskOptions(drop_islands=recipes.selection.SPECK))
    assert {item.label for item in found} == set(labels)
    assert found.masks is not None
    return found.masks.to_array().any(axis=0)


def test_every_recipe_runs_with_the_bundled_models(recipes: Any, scene: Path, tmp_path: Path, capsys: Any) -> None:
    mask, original = true_mask(recipes, HOUSE), read(SCENE)[..., :3]
    far = recipes.selection.edge(mask, grow=60) == 0
    words = [str(scene), "--labels", *HOUSE, "--out"]

    assert recipes.background.main([*words, str(tmp_path / "cut.png")]) == 0
    cut = read(tmp_path / "cut.png")
    assert ((cut[..., 3] > 127) == mask).all()

    assert recipes.background.main([*words, str(tmp_path / "white.jpg"), "--color", "white"]) == 0
    with Image.open(tmp_path / "white.jpg") as white:
        assert white.format == "JPEG"
        assert (np.asarray(white)[far] > 250).all()

    Image.new("L", (30, 90), 77).save(tmp_path / "grey.png")
    assert recipes.background.main([*words, str(tmp_path / "on.png"), "--picture", str(tmp_path / "grey.png")]) == 0
    assert (read(tmp_path / "on.png")[far] == 77).all()

    assert recipes.background.main([*words, str(tmp_path / "soft.png"), "--blur", "0"]) == 0
    assert np.abs(read(tmp_path / "soft.png")[far].astype(int) - original[far]).max() <= 1

    assert recipes.blur.main([*words, str(tmp_path / "hidden.png"), "--how", "black"]) == 0
    hidden = read(tmp_path / "hidden.png")
    assert not hidden[mask].any()
    assert (hidden[far] == original[far]).all()

    assert recipes.inpainting_masks.main([*words, str(tmp_path / "house"), "--crop", "16", "--multiple", "64"]) == 0
    assert read(tmp_path / "house" / "mask.png").max() == 255
    assert all(side % 64 == 0 for side in read(tmp_path / "house" / "picture.png").shape[:2])

    said = capsys.readouterr()
    assert "brown house  0." in said.out
    assert "not found" not in said.err
    assert not list(tmp_path.glob("**/.*"))


@pytest.mark.parametrize(("options", "parts"), [([], 1), (["--drop-islands", "0"], 3)])
def test_specks_on_other_things_are_dropped(recipes: Any, tmp_path: Path, options: list[str], parts: int) -> None:
    """The mask of the house has two specks on the bolt beside it."""
    words = [str(SCENE), "--labels", "brown house", "--threshold", "0.7", *options, "--out", str(tmp_path / "cut.png")]
    assert recipes.background.main(words) == 0
    inside = (read(tmp_path / "cut.png")[..., 3] > 127).astype(np.uint8)
    assert cv2.connectedComponents(inside)[0] - 1 == parts


def test_the_commands_of_the_document_run(recipes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (FOLDER.parents[1] / "docs" / "editing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("python ")]
    assert len(commands) > 5
    shutil.copytree(FOLDER.parent / "images", tmp_path / "examples" / "images")
    shutil.copy(FOLDER.parent / "images" / "shapes.png", tmp_path)
    monkeypatch.chdir(tmp_path)
    for _, script, *arguments in commands:
        assert (FOLDER.parents[1] / script).parent == FOLDER
        assert getattr(recipes, Path(script).stem).main(arguments) == 0, arguments
        assert Path(arguments[arguments.index("--out") + 1]).exists()


@pytest.mark.parametrize("kind", ["jpeg", "grey", "turned"])
def test_any_picture_will_do(recipes: Any, tmp_path: Path, kind: str) -> None:
    picture, path = Image.fromarray(read(SCENE)).convert("RGB"), tmp_path / "photo.jpg"
    if kind == "turned":  # a camera held on its side, with a small picture of the whole scene in what it notes
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "camera of a witness"
        picture.rotate(90).crop((0, 0, 448, 400)).save(path, quality=95, exif=exif)
    else:
        picture.convert("L" if kind == "grey" else "RGB").save(path, quality=95)
    out = tmp_path / "hidden.jpg"
    house = "gray house" if kind == "grey" else "brown house"
    assert recipes.blur.main([str(path), "--labels", house, "--out", str(out)]) == 0
    with Image.open(out) as hidden:
        assert hidden.size == ((400, 448) if kind == "turned" else (448, 448))
        assert not hidden.getexif()
    assert b"witness" not in out.read_bytes()


@pytest.mark.parametrize("recipe", ["background", "blur", "inpainting_masks"])
def test_nothing_found_is_said_and_nothing_written(
    recipes: Any, recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, out = tmp_path / "empty.png", tmp_path / "out.png"
    Image.new("RGB", (96, 64), "grey").save(empty)
    assert getattr(recipes, recipe).main([str(empty), "--labels", "red star", "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"not found in {empty}: red star\nNothing was written." in said.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([""], "blank", id="empty name"),
        pytest.param(["missing.png"], "no picture file", id="no picture"),
        pytest.param(["text.png"], "not a readable picture", id="no picture inside"),
        pytest.param(["{scene}", "--model", "nowhere/at-all"], "must be named", id="model without segmenter"),
        pytest.param(["{scene}", "--sam", "./nowhere"], "nowhere", id="no segmenter"),
        pytest.param(["{scene}", "--out", "cut.jpg"], "cannot be transparent", id="JPEG has no alpha"),
        pytest.param(["{scene}", "--out", "cut.xyz", "--color", "red"], "does not end in a picture", id="ending"),
        pytest.param(["{scene}", "--out", "{scene}"], "is the picture that is edited", id="over itself"),
        pytest.param(["{scene}", "--picture", "missing.jpg"], "no picture file", id="no background"),
        pytest.param(
            ["{scene}", "--picture", "beach.png", "--out", "beach.png"], "of the background", id="over the background"
        ),
    ],
)
def test_a_mistake_is_one_line(
    recipes: Any,
    scene: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(scene.parent)
    Path("text.png").write_text("no picture")
    Image.new("RGB", (8, 8), "blue").save("beach.png")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    picture, *rest = (argument.replace("{scene}", "scene.png") for argument in arguments)
    out = [] if "--out" in rest else ["--out", "out.png"]
    assert recipes.background.main([picture, "--labels", "brown house", *out, *rest]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "small model of drawn shapes" not in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_file_is_no_folder_for_a_mask(recipes: Any, scene: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = scene.read_bytes()
    assert recipes.inpainting_masks.main([str(scene), "--labels", "brown house", "--out", str(scene)]) == 2
    assert "is a file. Name a folder" in capsys.readouterr().err
    assert scene.read_bytes() == before


@pytest.mark.parametrize("arguments", [[], ["--soften", "-1"], ["--soften", "1e9"], ["--color", "no colour"]])
def test_an_option_that_cannot_be_is_refused(recipes: Any, arguments: list[str], capsys: Any) -> None:
    words = ["scene.png", "--labels", "star", "--out", "out.png"] if arguments else []
    with pytest.raises(SystemExit) as ended:
        recipes.background.main([*words, *arguments])
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err
