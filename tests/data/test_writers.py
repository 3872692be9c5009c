"""Formats that are written and not read back: tables and labelme; and scores, where there are any."""

import csv
import gc
import json
from pathlib import Path

import numpy as np
import pytest

from data.small_sets import coco, coco_folder, picture
from groundling.data.convert import Placing, convert_dataset, write_records
from groundling.data.open import open_dataset
from groundling.data.record import Record, one_label_each
from groundling.data.writers import tables
from groundling.errors import DatasetError

NAMES = ("cat", "dog")


def scored(path, **changes):
    """A picture with a dog and a cat, found by a model."""
    values = {
        "key": path.name,
        "picture": path,
        "image_wh": (40, 30),
        "labels": ("dog", "cat"),
        "boxes_xyxy": np.array([[1.5, 2.25, 11.5, 22], [0, 0, 40, 5]], np.float32),
        "positive_NL": one_label_each([0, 1], 2),
        "score_N": np.array([0.875, 0.5], np.float32),
    }
    return Record(**(values | changes))


def write(tmp_path, to, *records, flat=False):
    out = tmp_path / to
    out.mkdir()
    placing = Placing(tmp_path / "in", copy=False, doomed=tmp_path / "none", flat=flat)
    return out, write_records(out, to, records, NAMES, placing)


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_scores_have_a_place():
    with pytest.raises(DatasetError, match=r"score_N must have the shape \[2\], but has \(1,\)"):
        scored(Path("a.png"), score_N=np.zeros(1, np.float32))


@pytest.mark.parametrize("to", ["coco", "yolo", "voc", "odvg", "csv", "parquet", "labelme"])
def test_nothing_at_all(tmp_path, to):
    out, left_out = write(tmp_path, to)
    assert left_out == {}
    assert list(out.iterdir())


def test_coco_keeps_scores(tmp_path):
    out, _ = write(tmp_path, "coco", scored(picture(tmp_path / "in" / "a.png")))
    found = json.loads((out / "annotations.json").read_text())["annotations"]
    assert [(one["category_id"], one["score"]) for one in found] == [(2, 0.875), (1, 0.5)]
    convert_dataset(open_dataset(coco_folder(tmp_path / "drawn")), tmp_path / "again", "coco")
    found = json.loads((tmp_path / "again" / "annotations.json").read_text())["annotations"]
    assert not any("score" in one for one in found)


def test_csv(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_ROWS", 3)  # so that they are written in several parts
    records = [scored(picture(tmp_path / "in" / name)) for name in ('a, "b".png', "ü 夜.png", "c.png")]
    empty = np.zeros((0, 4), np.float32)
    nothing = scored(
        picture(tmp_path / "in" / "d.png"), boxes_xyxy=empty, positive_NL=one_label_each([], 2), score_N=None
    )
    out, left_out = write(tmp_path, "csv", *records, nothing)
    assert left_out == {}
    assert sorted(path.name for path in out.iterdir()) == ["boxes.csv", "pictures.csv"]
    found = rows(out / "boxes.csv")
    assert found[0] == ["picture", "width", "height", "label", "label_id", "score", "left", "top", "right", "bottom"]
    assert found[1] == ['a, "b".png', "40", "30", "dog", "1", "0.875", "1.5", "2.25", "11.5", "22.0"]
    assert [row[0] for row in found[1:]] == [name for record in records for name in (record.key,) * 2]
    assert rows(out / "pictures.csv")[1:] == [[r.key, "40", "30", "2"] for r in records] + [["d.png", "40", "30", "0"]]


def test_parquet(tmp_path, monkeypatch):
    import pyarrow.parquet

    monkeypatch.setattr(tables, "_ROWS", 3)
    records = [scored(picture(tmp_path / "in" / name)) for name in ("a.png", "ü 夜.png", "c.png")]
    out, _ = write(tmp_path, "parquet", *records)
    table = pyarrow.parquet.read_table(out / "boxes.parquet")
    assert {name: str(table.schema.field(name).type) for name in ("picture", "width", "label_id", "score", "left")} == {
        "picture": "string",
        "width": "int32",
        "label_id": "int32",
        "score": "double",
        "left": "double",
    }
    assert table.num_rows == 6
    assert table.slice(3, 1).to_pylist() == [
        {"picture": "ü 夜.png", "width": 40, "height": 30, "label": "cat", "label_id": 0, "score": 0.5}
        | {"left": 0.0, "top": 0.0, "right": 40.0, "bottom": 5.0}
    ]
    assert pyarrow.parquet.read_table(out / "pictures.parquet")["boxes"].to_pylist() == [2, 2, 2]


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_tables_of_what_people_have_drawn(tmp_path, to):
    import pandas

    source = open_dataset(coco_folder(tmp_path))
    left_out = convert_dataset(source, tmp_path / "out", to).left_out
    assert left_out == {"crowds": 1}
    boxes = getattr(pandas, f"read_{to}")(tmp_path / "out" / f"boxes.{to}")
    assert boxes["score"].isna().all()
    assert boxes["label"].tolist() == ["cat", "cat"]
    pictures = getattr(pandas, f"read_{to}")(tmp_path / "out" / f"pictures.{to}")
    assert dict(zip(pictures["picture"], pictures["boxes"], strict=True)) == {"a.jpg": 2, "b.png": 0}


def test_labelme(tmp_path):
    images = [*coco()["images"], {"id": 1, "file_name": "sub/c.d.jpg"}]
    picture(tmp_path / "images" / "sub" / "c.d.jpg", (20, 50))
    source = open_dataset(coco_folder(tmp_path, images=images))
    assert convert_dataset(source, tmp_path / "out", "labelme").left_out == {}
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))
    assert files == [
        *("images/a.jpg", "images/a.json", "images/b.json", "images/b.png"),
        *("images/sub/c.d.jpg", "images/sub/c.d.json", "labels.txt"),
    ]
    content = json.loads((tmp_path / "out" / "images" / "a.json").read_text())
    assert (content["imagePath"], content["imageWidth"], content["imageHeight"]) == ("a.jpg", 40, 30)
    assert [(one["label"], one["points"], one["flags"]) for one in content["shapes"]] == [
        ("cat", [[1.5, 2.25], [11.5, 22.375]], {}),
        ("hot dog", [[0.0, 0.0], [40.0, 5.0]], {"crowd": True}),
        ("cat", [[20.0, 10.0], [25.0, 15.0]], {}),
    ]
    assert "score" not in content["shapes"][0]
    assert (tmp_path / "out" / "labels.txt").read_text() == "hot dog\nteddy\ncat\n"


def test_one_folder_for_all_pictures(tmp_path):
    names = ("a.png", "x/a.png", "x_a.png", "x/y/b.jpg")
    records = [scored(picture(tmp_path / "in" / name), key=name) for name in names]
    out, _ = write(tmp_path, "voc", *records, flat=True)
    assert sorted(path.name for path in (out / "JPEGImages").iterdir()) == [
        "a.png",
        "x_a-2.png",
        "x_a.png",
        "x_y_b.jpg",
    ]
    assert sorted(path.stem for path in (out / "Annotations").iterdir()) == ["a", "x_a", "x_a-2", "x_y_b"]


@pytest.mark.parametrize("to", ["coco", "csv", "parquet"])
def test_no_file_stays_open_after_an_error(tmp_path, monkeypatch, to):
    """Windows cannot remove the folder otherwise."""
    monkeypatch.setattr(tables, "_ROWS", 1)

    def records():
        yield scored(picture(tmp_path / "in" / "a.png"))
        raise ValueError("broken")

    (tmp_path / "out").mkdir()
    placing = Placing(tmp_path / "in", copy=False, doomed=tmp_path / "x")
    with pytest.raises(ValueError, match="broken") as caught:  # which keeps alive what an error in flight does
        write_records(tmp_path / "out", to, records(), NAMES, placing)
    assert open_files(tmp_path) == []
    del caught


@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_a_full_disk_is_the_error_that_is_seen(tmp_path, to):
    if not Path("/dev/full").exists():
        pytest.skip("there is no disk that is always full")
    (tmp_path / "out").mkdir()
    for table in ("boxes", "pictures"):
        (tmp_path / "out" / f"{table}.{to}").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_records(
            tmp_path / "out",
            to,
            [scored(picture(tmp_path / "in" / "a.png"))],
            NAMES,
            Placing(tmp_path / "in", copy=False, doomed=tmp_path / "x"),
        )
    gc.collect()  # nothing tries again when it is forgotten
    assert open_files(tmp_path) == []


def open_files(folder):
    """The files in a folder that this process holds open."""
    numbers = Path("/proc/self/fd")
    if not numbers.is_dir():
        pytest.skip("only Linux lists them")
    opened = [str(link.readlink()) for link in numbers.iterdir() if link.is_symlink()]
    return [path for path in opened if path.startswith((str(folder), "/dev/full"))]
