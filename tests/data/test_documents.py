"""The smallest examples in docs/data.md are whole data sets with nothing wrong in them."""

import re
from pathlib import Path

import pytest

from data.small_sets import picture, text
from groundling.data.check import check_dataset
from groundling.data.open import READERS, open_dataset

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_format_has_its_example():
    assert list(SECTIONS) == list(READERS)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_example_is_right(tmp_path, name):
    files = re.findall(r"^`(\S+)`:\n\n```text\n(.*?)^```", SECTIONS[name], re.MULTILINE | re.DOTALL)
    for file, content in files:
        text(tmp_path / file, content)
    for folder in ("images", "flickr30k-images"):
        picture(tmp_path / folder / "a.jpg", (40, 30))
    spec = {"format": name, "annotations": str(tmp_path if name in ("flickr", "voc") else tmp_path / files[0][0])}
    assert check_dataset(spec) == []
    for record in open_dataset(spec):
        assert record.boxes_xyxy.round(3).tolist() == [[5, 5, 25, 15]]
