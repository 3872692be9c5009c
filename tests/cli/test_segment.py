"""`groundling segment` with the models that come with the package."""

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from groundling.cli.footage import VIDEO_NMS
from groundling.cli.main import run
from groundling.cli.mask_files import save_cutouts, save_masks
from groundling.cli.search import Outcome, Search
from groundling.cli.segment import USUAL_EVERY, is_video
from groundling.data.scenes import make_scene
from groundling.errors import ImageError
from groundling.pipeline.grounded_sam import GroundedSam
from groundling.pipeline.tiles import Tiles
from groundling.pipeline.video.mask_tracking import track_masks
from groundling.pipeline.video.tracking import TrackedFrame, track
from groundling.postprocess.select import SelectionRules
from groundling.segmentation import MaskOptions
from groundling.structures.detections import Detections
from groundling.structures.masks import Masks
from pipeline.video.drawn_clips import CIRCLE, STAR, draw, write_clip

SCENE = make_scene(3, 0, split="seen", size=192)
NAMES = sorted({thing.name for thing in SCENE.things})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a drawn scene in it."""
    SCENE.image.save(tmp_path / "scene.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def segment(*arguments, labels=NAMES):
    return run(["segment", *map(str, arguments), "--labels", *labels, "--device", "cpu"])


def opened(path):
    with PIL.Image.open(path) as image:
        return np.asarray(image).copy()


def test_nothing_found(folder, capsys):
    assert segment("scene.png", "--threshold", "1", "--masks", "masks", "--out", "drawn.png") == 0
    assert "nothing found" in capsys.readouterr().out
    assert np.array_equal(opened("drawn.png"), np.asarray(SCENE.image))
    assert sorted(path.name for path in Path("masks/scene").iterdir()) == ["instances.png", "labels.png", "things.json"]
    assert opened("masks/scene/labels.png").max() == 0


def test_a_drawing_masks_and_cutouts(folder, capsys):
    assert segment("scene.png", "--out", "drawn.png", "--masks", "masks", "--cutouts", "cut", "--tighten") == 0
    out = capsys.readouterr().out
    for path in ("drawn.png", Path("masks/scene"), Path("cut/scene")):
        assert f"wrote {path}\n" in out
    assert (opened("drawn.png") != np.asarray(SCENE.image)).any()
    files = sorted(Path("masks/scene").glob("0*.png"))
    assert len(files) == len(sorted(Path("cut/scene").glob("*.png"))) > 0
    listed = json.loads(Path("masks/scene/things.json").read_text(encoding="utf-8"))
    assert [thing["file"] for thing in listed["things"]] == [path.name for path in files]
    assert [label["label"] for label in listed["labels"]] == NAMES
    masks = [opened(path) for path in files]
    assert all(set(np.unique(mask)) == {0, 255} for mask in masks)
    instances, labels = opened("masks/scene/instances.png"), opened("masks/scene/labels.png")
    assert instances.max() == len(files)
    assert ((instances > 0) == np.any(masks, axis=0)).all()
    assert set(np.unique(labels[labels > 0])) <= set(range(1, len(NAMES) + 1))
    made = Masks.from_array(np.stack(masks) > 0)
    assert Masks.from_array(SCENE.masks).iou(made).max(axis=0).mean() > 0.8
    assert [thing["box_xyxy"] for thing in listed["things"]] == made.boxes_xyxy.tolist()


def test_json_holds_masks_and_draws_nothing(folder, capsys):
    assert segment("scene.png", "--json") == 0
    found = Detections.from_json(capsys.readouterr().out)
    assert len(found.masks) == len(found) > 0
    assert found.mask_scores is not None
    assert sorted(path.name for path in folder.iterdir()) == ["scene.png"]


def test_tightened_boxes_are_those_of_the_masks(folder, capsys):
    assert segment("scene.png", "--json", "--tighten") == 0
    found = Detections.from_json(capsys.readouterr().out)
    assert len(found) > 0
    assert np.array_equal(found.boxes_xyxy, found.masks.boxes_xyxy)


@pytest.fixture(scope="module")
def sam():
    return GroundedSam.from_pretrained(device="cpu")


@pytest.fixture
def asked(sam, monkeypatch):
    """What is asked of the models, which find nothing."""
    reached = {}
    nothing = Detections(np.zeros((0, 4)), [], [], NAMES, SCENE.image.size)

    def search(self, paths, batch_size):
        reached.update(rules=self.rules, tiles=self.tiles, batch_size=batch_size)
        return iter([Outcome(SCENE.image, nothing)])

    def make_masks(self, image, found, **options):
        reached.update(options)
        return found

    def follow(self, source, labels, **options):
        reached.update(options, fps=source.fps)
        return iter([TrackedFrame(0, 0.0, np.asarray(SCENE.image), nothing, np.zeros(0, bool))])

    monkeypatch.setattr("groundling.cli.segment.load_grounded_sam", lambda *_, **__: sam)
    monkeypatch.setattr(Search, "run", search)
    monkeypatch.setattr(GroundedSam, "segment", make_masks)
    monkeypatch.setattr(GroundedSam, "track", follow)
    return reached


USUAL = {"rules": SelectionRules(), "tiles": None, "batch_size": 1, "masks": MaskOptions(), "tighten": False}
OF_PICTURES = {
    "": {},
    "--threshold 0.4": {"rules": SelectionRules(threshold=0.4)},
    "--nms 0.6": {"rules": SelectionRules(nms_iou=0.6)},
    "--top-k 2": {"rules": SelectionRules(top_k=2)},
    "--nms-across-labels": {"rules": SelectionRules(nms_across_labels=True)},
    "--drop-groups": {"rules": SelectionRules(drop_groups=True)},
    "--tile 96 --overlap 0.3": {"tiles": Tiles(96, 0.3)},
    "--batch-size 3": {"batch_size": 3},
    "--best-of-three": {"masks": MaskOptions(best_of_three=True)},
    "--fill-holes 7": {"masks": MaskOptions(fill_holes=7)},
    "--drop-islands 8": {"masks": MaskOptions(drop_islands=8)},
    "--tighten": {"tighten": True},
}


@pytest.mark.parametrize("options", OF_PICTURES)
def test_options_of_pictures_reach_the_models(folder, asked, options):
    assert segment("scene.png", "--json", *options.split()) == 0
    assert asked == USUAL | OF_PICTURES[options]


USUAL_OF_VIDEOS = {
    "every": 10,
    "threshold": SelectionRules().threshold,
    "nms_iou": VIDEO_NMS,
    "remember": 1.0,
    "start": 0.0,
    "stop": None,
    "masks": MaskOptions(),
    "fps": 5.0,
}
OF_VIDEOS = {
    "": {},
    "--every 3": {"every": 3},
    "--threshold 0.4": {"threshold": 0.4},
    "--nms 0.6": {"nms_iou": 0.6},
    "--remember 2.5": {"remember": 2.5},
    "--start 1.5": {"start": 1.5},
    "--stop 4.5": {"stop": 4.5},
    "--fill-holes 7": {"masks": MaskOptions(fill_holes=7)},
    "--drop-islands 8": {"masks": MaskOptions(drop_islands=8)},
    "--best-of-three": {"masks": MaskOptions(best_of_three=True)},
}


@pytest.mark.parametrize("options", OF_VIDEOS)
def test_options_of_videos_reach_the_models(folder, asked, options):
    """A folder of frames, which knows no rate of its own."""
    assert segment(".", "--fps", "5", "--tracks", "tracks.jsonl", *options.split()) == 0
    assert asked == USUAL_OF_VIDEOS | OF_VIDEOS[options]


def test_pictures_of_one_name_and_one_that_is_broken(folder, capsys):
    (folder / "other").mkdir()
    shutil.copy("scene.png", "other/scene.png")
    Path("broken.png").write_bytes(b"no picture")
    assert segment("scene.png", "other", "broken.png", "--masks", "masks") == 1
    assert "broken.png" in capsys.readouterr().err
    assert sorted(path.name for path in Path("masks").iterdir()) == ["scene", "scene-2"]


@pytest.mark.parametrize("kept", [0, 1])
def test_things_of_an_earlier_call_do_not_stay(tmp_path, kept):
    masks = np.zeros((3, 8, 8), bool)
    for row, mask in enumerate(masks):
        mask[row : row + 2, 2:5] = True
    made = Masks.from_array(masks)
    found = Detections(made.boxes_xyxy, [0.9, 0.8, 0.7], [0, 1, 0], ["a", "b"], (8, 8), masks=made)
    picture = np.zeros((8, 8, 3), np.uint8)
    writers = {"masks": save_masks, "cut": lambda some, folder: save_cutouts(some, picture, folder)}
    for name, save in writers.items():
        folder, maps = tmp_path / name, ["instances.png", "labels.png"] if name == "masks" else []
        save(found, folder)
        assert sorted(path.name for path in folder.iterdir()) == [
            *("0001-a.png", "0002-b.png", "0003-a.png"),
            *maps,
            "things.json",
        ]
        own = ("0004-c.png", "2024-summer.png")
        for mine in own:
            (folder / mine).write_bytes(b"somebody's own")
        save(found.only("b")[:kept], folder)
        names = sorted(path.name for path in folder.iterdir())
        assert names == [*["0001-b.png"][:kept], *own, *maps, "things.json"]


@pytest.mark.parametrize("mine", ["0001-a.png", "0001-A.png", "labels.png", "things.json"])
def test_what_somebody_else_put_there_is_not_replaced(tmp_path, mine):
    made = Masks.from_array(np.ones((1, 8, 8), bool))
    found = Detections(made.boxes_xyxy, [0.9], [0], ["a"], (8, 8), masks=made)
    if mine in ("0001-a.png", "0001-A.png"):  # beside what an earlier call has found: nothing
        save_masks(found[:0], tmp_path)
    (tmp_path / mine).write_bytes(b"somebody's own")
    with pytest.raises(ImageError, match="not made by groundling"):
        save_masks(found, tmp_path)
    assert (tmp_path / mine).read_bytes() == b"somebody's own"


def test_a_list_that_leads_elsewhere_removes_nothing(tmp_path):
    made = Masks.from_array(np.ones((1, 8, 8), bool))
    found = Detections(made.boxes_xyxy, [0.9], [0], ["a"], (8, 8), masks=made)
    (tmp_path / "mine.png").write_bytes(b"somebody's own")
    save_masks(found, tmp_path / "things")
    path = tmp_path / "things" / "things.json"
    path.write_text(path.read_text(encoding="utf-8").replace("labels.png", "../mine.png"), encoding="utf-8")
    with pytest.raises(ImageError, match="not made by groundling"):
        save_masks(found, tmp_path / "things")
    assert (tmp_path / "mine.png").exists()


LOSSES = {
    "things of somebody else": (["hol/holiday.png", "--masks", "hol"], "holds '0001-beach.png'"),
    "masks over the picture that is read": (["labels/labels.png", "--masks", "."], "is read"),
    "cut-outs over a file": (["labels/labels.png", "--cutouts", "."], "is read"),
    "cut-outs over somebody else's": (["hol/holiday.png", "--cutouts", "hol"], "holds '0001-beach.png'"),
    "a picture among several": (["hol/holiday.png", "hol/holiday/labels.png", "--masks", "hol"], "is read"),
    "a file in the place of the folder": (["scene.png", "--masks", "taken"], "is a file"),
}


@pytest.mark.parametrize(("arguments", "message"), LOSSES.values(), ids=LOSSES)
def test_nothing_of_the_user_is_lost(folder, capsys, arguments, message):
    for name in ("hol/holiday.png", "hol/holiday/0001-beach.png", "hol/holiday/labels.png", "labels/labels.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        SCENE.image.save(name)
    Path("taken").mkdir()
    Path("taken/scene").write_bytes(b"a file")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert segment(*arguments, "--sam", "./never-loaded") == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("first", "second"), [("--masks", "--cutouts"), ("--cutouts", "--masks")])
def test_masks_and_cutouts_do_not_replace_each_other(folder, capsys, first, second):
    assert segment("scene.png", first, "things") == 0
    before = {path.name: path.read_bytes() for path in Path("things/scene").iterdir()}
    capsys.readouterr()
    assert segment("scene.png", second, "things") == 2
    assert f"was made by groundling segment {first}, so" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in Path("things/scene").iterdir()} == before


def test_things_of_another_picture_are_not_replaced(folder, capsys):
    (folder / "other").mkdir()
    shutil.copy("scene.png", "other/scene.png")
    assert segment("scene.png", "--cutouts", "things") == 0
    before = {path.name: path.read_bytes() for path in Path("things/scene").iterdir()}
    capsys.readouterr()
    assert segment("other/scene.png", "--cutouts", "things") == 2
    assert "holds what was made of 'scene.png', which would be replaced by" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in Path("things/scene").iterdir()} == before
    Path("scene.png").unlink()  # moved, perhaps
    assert segment("other/scene.png", "--cutouts", "things") == 0


def test_a_cutout_can_be_laid_back(folder):
    assert segment("scene.png", "--cutouts", "cut") == 0
    listed = json.loads(Path("cut/scene/things.json").read_text(encoding="utf-8"))["things"]
    assert len(listed) > 0
    for thing in listed:
        cut, (left, top, right, bottom) = opened(f"cut/scene/{thing['file']}"), thing["mask_box_xyxy"]
        inside = cut[..., 3] > 0
        assert inside.sum() == thing["mask_area"] > 0
        assert 0 <= thing["mask_score"] <= 1
        assert (cut[..., :3] == np.asarray(SCENE.image)[top:bottom, left:right])[inside].all()


def test_masks_may_be_made_again(folder):
    for _ in range(2):
        assert segment("scene.png", "--masks", "masks", "--cutouts", "cut") == 0


def test_a_picture_too_large_for_masks(folder, capsys, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100 * 100)
    PIL.Image.new("RGB", (64, 64)).save("small.png")
    assert segment("scene.png", "--tile", "96", "--sam", "./never-loaded") == 2
    err = capsys.readouterr().err
    assert "'scene.png' is too large" in err
    assert "Reduce it or cut it" in err
    assert segment("scene.png", "small.png", "--tile", "96", "--json") == 1
    out, err = capsys.readouterr()
    assert "'scene.png' is too large" in err
    assert len(out.splitlines()) == 1


def test_a_video(folder, capsys):
    write_clip(Path("clip.mp4"), draw([STAR, CIRCLE], [number / 25 for number in range(6)]))
    status = segment("clip.mp4", "--every", "3", "--out", "out.mp4", "--tracks", "t.jsonl", labels=["red star"])
    assert status == 0, capsys.readouterr().err
    assert Path("out.mp4").stat().st_size > 0
    lines = [json.loads(line) for line in Path("t.jsonl").read_text().splitlines()]
    things = [[(item["track_id"], item["predicted"]) for item in line["detections"]] for line in lines]
    is_between = False, True, True, False, True, False  # it looks at the last one too
    assert things == [[(1, is_predicted)] for is_predicted in is_between]
    assert all(set(item["mask"]) == {"size", "counts"} for line in lines for item in line["detections"])


MISTAKES = {
    "no source": ([], "No picture is given"),
    "no label": (["scene.png", "--labels"], "Nothing to find"),
    "missing": (["missing.png"], "no picture file 'missing.png'"),
    "missing video": (["missing.mp4"], "no video 'missing.mp4'"),
    "missing, of a kind that is neither": (["photo.heic"], "no picture file 'photo.heic'"),
    "address of a picture": (["https://example.org/a.jpg?size=2"], "Download the picture first"),
    "two videos": (["a.mp4", "b.mp4"], "one video is read at a time"),
    "a picture and a video": (["scene.png", "b.mp4"], "'b.mp4' is a video"),
    "detector without segmenter": (["scene.png", "--model", "a/b"], "must be named"),
    "no such segmenter": (["scene.png", "--sam", "./nothing"], "no file or folder './nothing'"),
    "a detector as segmenter": (["scene.png", "--sam", "groundling/nano"], "model_type"),
    "option of videos": (["scene.png", "--every", "5"], "--every is for videos"),
    "option of videos that is 0": (["scene.png", "--stop", "0"], "--stop is for videos"),
    "option of videos with a default": (["scene.png", "--remember", "5"], "--remember is for videos"),
    "option of pictures": (["clip.mp4", "--json"], "--json is for pictures"),
    "option of pictures with a default": (["clip.mp4", "--overlap", "0.5"], "--overlap is for pictures"),
    "one folder for two": (["scene.png", "--masks", "m", "--cutouts", "./m"], "both name 'm'. Give two folders"),
    "a blank folder": (["scene.png", "--masks", ""], "--masks is blank"),
    "a folder that cannot be": (["scene.png", "--cutouts", "/dev/null/x"], "Nothing can be written"),
    "a file as folder": (["scene.png", "--masks", "scene.png"], "is a file"),
    "holes": (["scene.png", "--fill-holes", "-1"], "fill-holes"),
    "a span": (["clip.mp4", "--start", "5", "--stop", "3"], "leave no frames"),
    "onto itself": (["scene.png", "--out", "scene.png"], "would be lost"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line(folder, capsys, arguments, message):
    labels = [] if "--labels" in arguments else ["--labels", "red star"]
    assert run(["segment", *arguments, *labels]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("verb", ["segment", "track"])
def test_tracks_named_from_the_home_folder(folder, capsys, monkeypatch, verb):
    """Shells leave the ~ of --tracks=~/a as it is."""
    monkeypatch.setenv("HOME", str(folder))
    Path("clip.jsonl").mkdir()
    assert run([verb, "clip.mp4", "--labels", "red star", "--tracks=~/clip.jsonl"]) == 2
    assert "is a folder. Name a file in it" in capsys.readouterr().err


def test_a_video_named_from_the_home_folder(folder, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    Path("clip.mp4").write_bytes(b"no video")
    assert run(["segment", "~/clip.mp4", "--labels", "red star", "--out", "clip.mp4"]) == 2
    assert "'clip.mp4' is the video itself, which would be lost" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.jfif", "a.avif", "a.ppm", "a.heic", "a", "a.mp4.png"])
def test_pictures_of_rare_kinds_are_no_videos(tmp_path, name):
    (tmp_path / name).touch()
    assert not is_video([str(tmp_path / name)], is_frames=False)


@pytest.mark.parametrize("name", ["a.mp4", "a.MPG", "a.mpeg", "a.mjpeg", "a.h264", "a.ts"])
def test_videos_of_rare_kinds_are_videos(tmp_path, name):
    (tmp_path / name).touch()
    assert is_video([str(tmp_path / name)], is_frames=False)


def test_the_defaults_are_those_of_python():
    usual = inspect.signature(track_masks).parameters
    assert usual["every"].default == USUAL_EVERY
    assert usual["nms_iou"].default == inspect.signature(track).parameters["nms_iou"].default == VIDEO_NMS
