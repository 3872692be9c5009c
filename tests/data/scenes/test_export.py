"""Scenes as files are the scenes: boxes, masks and words, whatever the number of processes."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from groundling import ConfigError, DatasetError
from groundling.data.scenes import make_scene
from groundling.data.scenes.export import MOST_CAPTIONS, NAMES, SceneFiles, run_lengths, write_scenes

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own

FILES = SceneFiles(count=6, split="held_out", seed=3, size=64)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "new" / "set"
    write_scenes(folder, FILES)
    return folder


def test_coco_has_the_boxes_and_masks(written):
    coco = COCO(written / "annotations.json")
    assert len(coco.imgs) == FILES.count
    assert {path.name for path in (written / "images").iterdir()} == {i["file_name"] for i in coco.imgs.values()}
    for number, (image_id, image) in enumerate(sorted(coco.imgs.items())):
        scene = make_scene(FILES.seed, number, split=FILES.split, size=FILES.size)
        with Image.open(written / "images" / image["file_name"]) as picture:
            assert np.array_equal(np.asarray(picture), np.asarray(scene.image))
            assert picture.size == (image["width"], image["height"])
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
        assert [coco.cats[a["category_id"]]["name"] for a in annotations] == [thing.name for thing in scene.things]
        boxes = np.array([a["bbox"] for a in annotations])
        boxes[:, 2:] += boxes[:, :2]
        assert np.array_equal(boxes, scene.boxes_xyxy)
        for annotation, mask in zip(annotations, scene.masks, strict=True):
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert annotation["area"] == mask.sum()
            tight = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
            assert coco_masks.iou([coco.annToRLE(annotation)], [tight], [0]) == 1.0
            assert coco_masks.toBbox(tight).tolist() == annotation["bbox"]
    assert [a["id"] for a in coco.dataset["annotations"]] == list(range(1, len(coco.anns) + 1))


def test_odvg_has_the_names_and_the_expressions(written):
    label_map = json.loads((written / "label_map.json").read_text())
    assert list(label_map.values()) == list(NAMES)
    assert len(label_map) == 180
    lines = [json.loads(line) for line in (written / "odvg.jsonl").read_text().splitlines()]
    captions: dict[int, list[str]] = {}
    for line in lines:
        number = int(line["filename"].removesuffix(".png"))
        scene = make_scene(FILES.seed, number, split=FILES.split, size=FILES.size)
        boxes = scene.boxes_xyxy.tolist()
        assert (line["width"], line["height"]) == (64, 64)
        if "detection" in line:
            instances = line["detection"]["instances"]
            assert [i["bbox"] for i in instances] == boxes
            assert [label_map[str(i["label"])] for i in instances] == [i["category"] for i in instances]
            assert [i["category"] for i in instances] == [thing.name for thing in scene.things]
            captions[number] = []
            continue
        caption = line["grounding"]["caption"]
        (region,) = line["grounding"]["regions"]
        ((start, end),) = region["tokens_positive"]
        assert caption[start:end] == region["phrase"]
        thing = scene.things[boxes.index(region["bbox"])]
        assert region["phrase"].endswith((thing.shape, "thing"))
        captions[number].append(caption)
    assert sorted(captions) == list(range(FILES.count))
    assert all(len(set(texts)) == len(texts) <= MOST_CAPTIONS for texts in captions.values())
    assert any(captions.values())


def test_several_processes_write_the_same(written, tmp_path):
    calls = []
    write_scenes(tmp_path / "set", FILES, jobs=2, advance=lambda: calls.append(1))
    assert contents(tmp_path / "set") == contents(written)
    assert len(calls) == FILES.count


def test_a_longer_set_begins_with_the_shorter_one(written, tmp_path):
    write_scenes(tmp_path, SceneFiles(count=1, split=FILES.split, seed=FILES.seed, size=FILES.size))
    assert (written / "odvg.jsonl").read_text().startswith((tmp_path / "odvg.jsonl").read_text())


@pytest.mark.parametrize("exists", [False, True])
def test_nothing_is_left_after_an_interruption(tmp_path, exists):
    out = tmp_path / "set"
    if exists:
        out.mkdir()

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenes(out, FILES, advance=interrupt)
    assert [path.name for path in tmp_path.rglob("*")] == (["set"] if exists else [])
    write_scenes(out, SceneFiles(count=1, size=64))
    assert sorted(p.name for p in out.iterdir()) == ["annotations.json", "images", "label_map.json", "odvg.jsonl"]


@pytest.mark.parametrize(
    ("files", "jobs", "message"),
    [
        pytest.param(SceneFiles(count=0), 1, "count=0 and jobs=1 must be at least 1", id="empty"),
        pytest.param(SceneFiles(count=1), 0, "jobs=0 must be at least 1", id="jobs"),
        pytest.param(SceneFiles(count=1, split="test"), 1, "split='test' is unknown", id="split"),
        pytest.param(SceneFiles(count=1, size=32), 1, "size=32 must be 64 to 4096", id="size"),
        pytest.param(SceneFiles(count=1, seed=-1), 1, "seed=-1", id="seed"),
    ],
)
def test_bad_arguments(tmp_path, files, jobs, message):
    with pytest.raises(ConfigError, match=message):
        write_scenes(tmp_path / "set", files, jobs=jobs)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"is not empty: there is 'notes.txt' in it\. Name a folder that is empty"):
        write_scenes(tmp_path, FILES)
    with pytest.raises(DatasetError, match=r"notes.txt is a file\. Name a folder"):
        write_scenes(tmp_path / "notes.txt", FILES)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        pytest.param([[0, 0], [0, 0]], [4], id="empty"),
        pytest.param([[1, 1], [1, 1]], [0, 4], id="full"),
        pytest.param([[1, 0], [0, 0]], [0, 1, 3], id="first pixel"),
        pytest.param([[0, 0], [0, 1]], [3, 1], id="last pixel"),
        pytest.param([[0, 0, 0], [1, 1, 0]], [1, 1, 1, 1, 2], id="down the columns"),
    ],
)
def test_run_lengths(mask, counts):
    mask = np.array(mask, bool)
    found = run_lengths(mask)
    assert found == {"counts": counts, "size": list(mask.shape)}
    assert np.array_equal(coco_masks.decode(coco_masks.frPyObjects(found, *mask.shape)), mask)
