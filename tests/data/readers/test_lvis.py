"""LVIS: what was looked for and not found is known, of the rest nobody knows."""

import pytest

from data.small_sets import as_json, coco
from groundling.data.readers.lvis import LvisRecords
from groundling.errors import DatasetError

URL = "http://images.cocodataset.org/val2017/000000000007.jpg"


def read(folder, **image):
    content = {
        "images": [
            {
                "id": 7,
                "coco_url": URL,
                "width": 40,
                "height": 30,
                "neg_category_ids": [3],
                "not_exhaustive_category_ids": [1],
            }
            | image
        ],
        "categories": [
            {"id": 3, "name": "aerosol_can", "frequency": "c", "synonyms": ["aerosol_can", "spray_can"]},
            {"id": 1, "synonyms": ["bow_(weapon)"], "frequency": "r"},
            {"id": 2, "name": "cat", "frequency": "f"},
        ],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    return LvisRecords(as_json(folder / "lvis.json", content))


def test_what_is_known(tmp_path):
    records = read(tmp_path)
    assert records.names == ("bow (weapon)", "cat", "aerosol can")
    assert records.category_ids == (1, 2, 3)
    assert records.frequencies == {"bow (weapon)": "rare", "cat": "frequent", "aerosol can": "common"}
    record = records[0]
    assert (record.labels, record.absent) == (("bow (weapon)",), ("aerosol can",))
    assert record.partial == ("bow (weapon)",)
    assert records.image_id(0) == 7


def test_the_file_is_found_by_its_name_or_its_address(tmp_path):
    assert read(tmp_path, file_name="x.jpg")[0].key == "x.jpg"
    assert read(tmp_path)[0].key == "000000000007.jpg"
    (tmp_path / "images" / "val2017").mkdir(parents=True)
    assert read(tmp_path)[0].picture == tmp_path / "images" / "val2017" / "000000000007.jpg"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        pytest.param({"coco_url": None}, "file name None is not usable text", id="empty"),
        pytest.param({"neg_category_ids": [4]}, "there is no category with the id 4", id="unknown"),
        pytest.param({"neg_category_ids": "3"}, "neg_category_ids='3' must be a list of category ids", id="no list"),
        pytest.param({"not_exhaustive_category_ids": ["a"]}, r"not_exhaustive_category_ids=\['a'\]", id="no ids"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, image, message):
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, **image)


def test_coco_annotations_are_not_taken_for_lvis(tmp_path):
    with pytest.raises(DatasetError, match=r"no picture has 'neg_category_ids', .* Read it as coco"):
        LvisRecords(as_json(tmp_path / "coco.json", coco()))
