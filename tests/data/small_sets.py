"""Small data sets, written by hand into a folder."""

import json
from pathlib import Path

from PIL import Image


def picture(path: Path, size: tuple[int, int] = (40, 30), **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path, **options)
    return path


def as_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def as_lines(path: Path, *values: object) -> Path:
    """One line for each value: JSON, unless it is text already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [value if isinstance(value, str) else json.dumps(value) for value in values]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def coco(**changes: object) -> dict[str, object]:
    """Two pictures, one without objects; ids with gaps, out of order; one name without objects; a crowd."""
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 40, "height": 30},
            {"id": 3, "file_name": "b.png", "width": 32, "height": 32},
        ],
        "categories": [{"id": 90, "name": "cat"}, {"id": 2, "name": "hot dog"}, {"id": 5, "name": "teddy"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1.5, 2.25, 10, 20.125]},
            {"id": 4, "image_id": 7, "category_id": 2, "bbox": [0, 0, 40, 5], "iscrowd": 1},
            {"id": 2, "image_id": 7, "category_id": 90, "bbox": [20, 10, 5, 5]},
        ],
    } | changes


def coco_folder(folder: Path, **changes: object) -> Path:
    """The data set `coco` with its pictures."""
    picture(folder / "images" / "a.jpg", (40, 30))
    picture(folder / "images" / "b.png", (32, 32))
    return as_json(folder / "annotations.json", coco(**changes))


def grounding(caption: str, *regions: dict[str, object], **changes: object) -> dict[str, object]:
    line = {"filename": "a.jpg", "width": 40, "height": 30}
    return line | {"grounding": {"caption": caption, "regions": list(regions)}} | changes


def detection(*instances: dict[str, object], **changes: object) -> dict[str, object]:
    return {"filename": "a.jpg", "width": 40, "height": 30, "detection": {"instances": list(instances)}} | changes


def refcoco_folder(folder: Path) -> Path:
    """Two references to objects of `coco` in the split val, one of testA."""
    as_json(folder / "instances.json", coco())
    sentences = [{"sent": "left cat", "raw": "Left cat!", "sent_id": 0}, {"sent": "big one", "sent_id": 1}]
    return as_json(
        folder / "refs.json",
        [
            {"ref_id": 1, "ann_id": 1, "image_id": 7, "split": "val", "sentences": sentences},
            {"ref_id": 2, "ann_id": 2, "image_id": 7, "split": "val", "sentences": sentences[:1]},
            {"ref_id": 3, "ann_id": 4, "image_id": 7, "split": "testA", "sentences": sentences[1:]},
        ],
    )


def flickr_folder(folder: Path) -> Path:
    """One picture with three sentences; entity 3 has two boxes, and one of them is entity 2 as well; 0 has none."""
    text(folder / "val.txt", "36\n")
    text(
        folder / "Sentences" / "36.txt",
        "[/EN#2/people A man] and [/EN#3/people two dogs] on [/EN#0/notvisual it] .\n"
        "[/EN#3/people/animals Two dogs] run .\n"
        "[/EN#4/scene Outside] it rains .\n",
    )

    def thing(entities: str, box: str) -> str:
        names = "".join(f"<name>{entity}</name>" for entity in entities)
        corners = "".join(
            f"<{name}>{number}</{name}>"
            for name, number in zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=False)
        )
        return f"<object>{names}<bndbox>{corners}</bndbox></object>"

    text(
        folder / "Annotations" / "36.xml",
        "<annotation><filename>36.jpg</filename><size><width>40</width><height>30</height><depth>3</depth></size>"
        f"{thing('23', '2 3 12 13')}{thing('3', '21 1 31 11')}"
        "<object><name>4</name><scene>1</scene><nobndbox>1</nobndbox></object></annotation>",
    )
    picture(folder / "flickr30k-images" / "36.jpg")
    return folder


def voc_xml(*objects: tuple[str, str], name: str = "a.jpg", size: str = "40 30", difficult: int = 0) -> str:
    """An annotation; an object is its name and its four corners."""
    parts = []
    for label, box in objects:
        corners = "".join(
            f"<{corner}>{number}</{corner}>"
            for corner, number in zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=False)
        )
        difficulty = f"<difficult>{difficult}</difficult>"
        parts.append(f"<object><name>{label}</name>{difficulty}<bndbox>{corners}</bndbox></object>")
    width, height = size.split()
    about = f"<filename>{name}</filename><size><width>{width}</width><height>{height}</height></size>"
    return f"<annotation>{about}{''.join(parts)}</annotation>"
