"""Labelling with masks: the same rules as without, and everything that is found has one."""

import json

import cv2
import numpy as np
import pytest

from groundling.data.check import check_dataset
from groundling.data.open import open_dataset
from groundling.errors import ConfigError, DatasetError, ImageError
from groundling.labelling import LabelSettings, check_output, label_folder
from groundling.pipeline import pictures as reading
from groundling.pipeline.grounded_sam import GroundedSam
from groundling.pipeline.tiles import Tiles
from groundling.postprocess.select import SelectionRules
from groundling.segmentation import MaskOptions, load_segmenter
from groundling.segmentation.cleaning import clean
from groundling.structures.masks import Masks
from labelling.drawn import LABELS, contents, folder_of, predictions, stop_after
from random_segmenters import write_segmenter


@pytest.fixture(scope="module")
def segmenter(segmenter_folder):
    return load_segmenter(segmenter_folder, device="cpu")


def masks_of(line):
    return Masks.from_coco([one["mask"] for one in line["detections"]], (line["width"], line["height"]))


def settings(**options):
    return LabelSettings(rules=SelectionRules(threshold=0.2, top_k=3), **options)


def test_it_is_what_grounded_sam_finds(nano, segmenter, photos, tmp_path, monkeypatch):
    opened, open_picture = [], reading.open_picture
    with monkeypatch.context() as patch:
        patch.setattr(reading, "open_picture", lambda name: opened.append(name) or open_picture(name))
        report = label_folder(nano, photos, LABELS, tmp_path / "out", segmenter=segmenter)
    assert len(opened) == report.pictures == 4  # each once, for both models
    lines = predictions(tmp_path / "out")
    assert sum(len(line["detections"]) for line in lines) > 3
    assert report.left_out == {}
    for line in lines:
        found = GroundedSam(nano, segmenter)(photos / line["picture"], LABELS)
        assert [one["mask"] for one in line["detections"]] == found.masks.to_coco()
        assert [one["mask_score"] for one in line["detections"]] == pytest.approx(found.mask_scores, abs=1e-6)
        if line["detections"]:
            assert list(line["detections"][0]) == list(found.to_dict()["detections"][0])
    assert check_dataset(tmp_path / "out") == []
    for record in open_dataset(tmp_path / "out", masks=True):
        (line,) = [line for line in lines if line["picture"] == record.key]
        assert record.masks == masks_of(line)


def test_a_break_changes_nothing(nano, segmenter, photos, tmp_path, monkeypatch):
    options = settings(batch_size=2, format="yolo", tighten=True, masks=MaskOptions(fill_holes=4))
    label_folder(nano, photos, LABELS, tmp_path / "whole", options, segmenter=segmenter)
    with monkeypatch.context() as patch:
        stop_after(patch, 1, OSError("stop"))
        with pytest.raises(DatasetError):
            label_folder(nano, photos, LABELS, tmp_path / "out", options, segmenter=segmenter)
    report = label_folder(nano, photos, LABELS, tmp_path / "out", options, segmenter=segmenter)
    assert report.computed < 4
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    for line in predictions(tmp_path / "out"):
        for one, mask in zip(line["detections"], masks_of(line), strict=True):
            box = Masks.from_array(mask[None]).boxes_xyxy[0]
            assert not mask.any() or one["box_xyxy"] == box.tolist()


def test_every_format_of_what_was_found(quick, segmenter, photos, tmp_path):
    """Another format, and COCO's other form of masks, take no model."""
    options = {"format": "coco"}, {"format": "coco", "polygons": True}, {"format": "png"}, {"format": "voc"}
    for number, some in enumerate(options):
        report = label_folder(quick, photos, LABELS, tmp_path / "out", settings(**some), segmenter=segmenter)
        assert (report.is_written, report.computed) == (True, 0 if number else 4)
        if some["format"] == "coco":
            annotations = json.loads((tmp_path / "out" / "annotations.json").read_text())["annotations"]
            assert {type(one["segmentation"]) for one in annotations if one["area"] > 100} == {list if number else dict}
        if some["format"] == "png":
            assert len(list((tmp_path / "out" / "masks").rglob("*.png"))) == sum(report.boxes.values())
        again = label_folder(quick, photos, LABELS, tmp_path / "out", settings(**some), segmenter=segmenter)
        assert not again.is_written
    assert report.left_out == {"masks": sum(report.boxes.values())}


def test_tiles(quick, segmenter, photos, tmp_path, monkeypatch):
    tiled = settings(tiles=Tiles(96, 0.2))
    label_folder(quick, photos, LABELS, tmp_path / "out", tiled, segmenter=segmenter)
    assert all("mask" in one for line in predictions(tmp_path / "out") for one in line["detections"])

    def too_large(*_, **__):
        raise ImageError("too large to be held whole")

    with monkeypatch.context() as patch:
        patch.setattr(GroundedSam, "segment", too_large)
        report = label_folder(quick, photos, LABELS, tmp_path / "large", tiled, segmenter=segmenter)
    assert "as masks need it (too large to be held whole). Label it without --sam." in report.unreadable[0].cause


@pytest.mark.parametrize("tiles", [None, Tiles(96, 0.2)], ids=["whole", "tiles"])
def test_masks_are_cleaned_as_the_options_say(quick, segmenter, tmp_path, tiles):
    photos = folder_of(tmp_path / "photos", "a.png", "b.png")
    options = {"plain": MaskOptions(), "cleaned": MaskOptions(fill_holes=50, drop_islands=5000)}
    masks = {}
    for name, some in options.items():
        label_folder(quick, photos, LABELS, tmp_path / name, settings(masks=some, tiles=tiles), segmenter=segmenter)
        masks[name] = [mask for line in predictions(tmp_path / name) for mask in masks_of(line)]
    pairs = list(zip(masks["plain"], masks["cleaned"], strict=True))
    assert any((plain != cleaned).any() for plain, cleaned in pairs)
    for plain, cleaned in pairs:
        assert np.array_equal(cleaned, clean(plain, fill_holes=50, drop_islands=5000))


def test_other_masks_are_not_mixed(quick, segmenter, photos, tmp_path):
    def label(some=None, segmenter=segmenter):
        label_folder(quick, photos, LABELS, tmp_path / "out", settings() if some is None else some, segmenter=segmenter)

    label()
    other = load_segmenter(write_segmenter("sam", tmp_path / "other", seed=12), device="cpu")
    with pytest.raises(DatasetError, match=r"segmenter \(--sam\) was \"[0-9a-f-]+\" and is now \"[0-9a-f-]+\""):
        label(segmenter=other)
    folder = write_segmenter("sam", tmp_path / "same weights")  # as the fixture's
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["layer_norm_eps"] = 0.1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DatasetError, match=r"segmenter \(--sam\) was \"[0-9a-f-]+\" and is now \"[0-9a-f-]+\""):
        label(segmenter=load_segmenter(folder, device="cpu"))
    with pytest.raises(DatasetError, match=r"segmenter \(--sam\) was \"[0-9a-f-]+\" and is now null"):
        label(segmenter=None)
    with pytest.raises(DatasetError, match="masks drop_islands was 0 and is now 9"):
        label(settings(masks=MaskOptions(drop_islands=9)))
    with pytest.raises(DatasetError, match="masks tighten was false and is now true"):
        label(settings(tighten=True))
    label(settings(masks=MaskOptions(chunk=2)))  # which changes nothing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"format": "png"}, r"holds nothing but masks, .* --sam \(segmenter=\), such as", id="png"),
        pytest.param({"polygons": True}, "There is no segmenter whose masks", id="polygons"),
        pytest.param({"tighten": True}, "or leave these settings out", id="tighten"),
        pytest.param({"masks": MaskOptions(best_of_three=True)}, "There is no segmenter", id="options"),
    ],
)
def test_settings_of_masks_need_a_segmenter(quick, photos, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        label_folder(quick, photos, LABELS, tmp_path / "out", LabelSettings(**options))
    with pytest.raises(ConfigError, match=message):
        check_output(tmp_path / "out", LabelSettings(**options))
    check_output(tmp_path / "out", LabelSettings(**options), has_segmenter=True)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_formats_without_polygons():
    with pytest.raises(ConfigError, match="csv holds no polygons"):
        LabelSettings(format="csv", polygons=True)


def test_nothing_found_has_empty_maps_and_no_masks(quick, segmenter, photos, tmp_path):
    nothing = LabelSettings(rules=SelectionRules(threshold=1.0), format="png")
    out = tmp_path / "out"
    report = label_folder(quick, photos, LABELS, out, nothing, segmenter=segmenter)
    assert report.without_boxes == 4
    assert not (out / "masks").exists()
    for line in predictions(out):
        assert not line["detections"]
        for folder, bits in (("labels", np.uint8), ("instances", np.uint16)):
            pixels = cv2.imread(str(out / folder / line["picture"]), cv2.IMREAD_UNCHANGED)
            assert (pixels.shape, pixels.dtype) == ((line["height"], line["width"]), bits)
            assert not pixels.any()
