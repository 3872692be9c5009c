"""What an evaluation was, in words and numbers: printed before it begins and stored beside its results."""

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from groundling.data.readers.rows import RowRecords
from groundling.data.record import Dataset
from groundling.evaluate.facts import Facts
from groundling.evaluate.protocol import EvaluationProtocol
from groundling.pipeline.detector import Detector
from groundling.pipeline.fingerprints import settings_fingerprint, weights_fingerprint

PACKAGES = ("torch", "numpy", "pillow", "tokenizers", "faster-coco-eval")
"""What can change figures, beside groundling itself."""

DIGEST_BYTES = 8


def describe(
    detector: Detector,
    dataset: Dataset,
    protocol: EvaluationProtocol,
    *,
    model: str,
    data: object,
    pictures: int,
    segmenter: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Return everything that the figures of an evaluation depend on.

    Args:
        detector: the model and its processor.
        dataset: the records.
        protocol: what is asked, kept and measured.
        model: what the user called the model.
        data: what the user called the data.
        pictures: how many of the data set are used, from the first.
        segmenter: what makes masks, from `MaskMaker.describe`; None where no masks are wanted.
    """
    processor = detector.processor.image_processor
    parameter = next(detector.model.parameters())
    facts = Facts(dataset)
    return {
        "model": model,
        "weights": weights_fingerprint(detector.model.state_dict().items()),
        "settings": settings_fingerprint(detector.model.config.to_dict(), processor.to_dict()),
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "max_text_len": detector.model.config.max_text_len,
        "queries": detector.model.config.num_queries,
        "resize": dict(processor.size) if processor.do_resize and processor.size else None,
        "data": data,
        "pictures": pictures,
        "names": len(dataset.names),
        "names_digest": _digest("\n".join(dataset.names).encode()),
        "records_digest": _records_digest(dataset, pictures, protocol, with_boxes=segmenter is not None),
        "counted_names": None if facts.counted_names is None else len(facts.counted_names),
        "areas": "annotations" if facts.areas_are_given else "boxes",
        "versions": versions(),
        **protocol.describe(),
        **({} if segmenter is None else {"segmenter": dict(segmenter)}),
    }


def versions() -> dict[str, str]:
    """Return the versions of groundling, Python and the packages that can change figures."""
    from groundling import __version__

    found = {"groundling": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _records_digest(dataset: Dataset, pictures: int, protocol: EvaluationProtocol, *, with_boxes: bool) -> str | None:
    """Return a digest of which pictures are asked what; None for scenes, which follow from what names them.

    Boxes are left out, unless masks are made of them: where they are corrected, what was found stays true. A picture's
    size in bytes stands for its pixels.
    """
    if not isinstance(dataset, RowRecords):
        return None
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for index in range(pictures):
        record, path = dataset[index], dataset.images / dataset.rows[index].file_name
        size = path.stat().st_size if path.is_file() else None
        caption = None if record.caption is None else (record.caption.text, record.caption.spans)
        asked = None if protocol.question == "names" else (record.labels, record.absent, caption)
        boxes = [record.boxes_xyxy.tolist()] if with_boxes else []
        digest.update(json.dumps([record.key, record.image_wh, size, asked, *boxes]).encode())
    return digest.hexdigest()


def lines_of(description: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return what people want to read of a description, as pairs of a title and a text."""

    def text(name: str) -> str:
        value = description.get(name)
        if isinstance(value, Mapping):
            return ", ".join(f"{key} {part}" for key, part in value.items())
        return "none" if value is None else str(value)

    is_recall = description.get("metric") == "recall"
    per = "phrase" if is_recall else "picture"
    chunk = description.get("chunk")
    return [
        ("model", f"{text('model')} (weights {text('weights')}, {text('dtype')}, {text('queries')} queries)"),
        ("data", f"{text('data')}, {text('pictures')} records, {text('names')} names"),
        ("asked", QUESTIONS[str(description.get("question"))] + (PLAIN if description.get("plain_names") else "")),
        ("prompts", f"at most {text('max_text_len')} tokens" + (f" and {chunk} names" if chunk else "")),
        ("score of a label", f"{text('aggregate')} of its tokens"),
        ("kept", f"the best {text('top_k')} pairs of box and label of each {per}"),
        ("threshold, NMS", f"{text('threshold')}, {text('nms_iou')}"),
        ("resize", text("resize")),
        ("metric", METRICS[str(description.get("metric"))]),
        *([("counted", f"{text('counted_names')} of the names")] if description.get("counted_names") else []),
        *([] if is_recall else [("areas", f"from the {text('areas')}")]),
        *_mask_lines(description.get("segmenter"), text("areas")),
        ("versions", text("versions")),
    ]


def _mask_lines(segmenter: object, areas: str) -> list[tuple[str, str]]:
    if not isinstance(segmenter, Mapping):
        return []
    made = ["the best of three for each box" if segmenter.get("best_of_three") else "one for each box"]
    made += [f"holes of up to {size} pixels filled" for size in [segmenter.get("fill_holes")] if size]
    made += [f"islands of less than {size} pixels dropped" for size in [segmenter.get("drop_islands")] if size]
    kind, weights, dtype = (segmenter.get(name) for name in ("kind", "weights", "dtype"))
    return [
        ("segmenter", f"{segmenter.get('name')} ({kind}, weights {weights}, {dtype})"),
        ("masks", ", ".join(made)),
        ("areas of masks", f"from the {'annotations' if areas == 'annotations' else 'masks'}"),
    ]


QUESTIONS = {
    "names": "all names of the data set",
    "labels": "the labels of each picture and those that are known to be absent",
    "expressions": "each expression in a prompt of its own",
    "caption": "the phrases of each caption, in the caption",
}
PLAIN = ", without brackets and underscores"
METRICS = {
    "coco": "COCO average precision, IoU 0.50:0.95, at most 100 boxes of a category in a picture",
    "lvis": "LVIS average precision, IoU 0.50:0.95",
    "lvis_fixed": "LVIS fixed AP: the best 10,000 boxes of each category in the whole data set",
    "recall": "share of phrases that one of the best k boxes hits with an IoU of at least 0.5",
}


def _digest(value: bytes) -> str:
    return hashlib.blake2b(value, digest_size=DIGEST_BYTES).hexdigest()
