"""The prompts: the names of COCO, cut to length, and a long list made of them."""

from itertools import islice, product

from groundling.processing import GroundingDinoTokenizer
from groundling.processing.packing import build_prompts
from groundling.processing.prompt import build_prompt
from groundling.structures.prompt import Prompt

MAX_TOKENS = 256
TWO_LABELS = ["a cat", "a remote control"]
# fmt: off
COCO_NAMES = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis",
    "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed",
    "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven",
    "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier",
    "toothbrush",
]
# fmt: on
KINDS = ["", "red", "small", "old", "wooden", "metal", "plastic", "open", "wet", "striped", "round", "toy", "broken"]
KINDS += ["black", "tall", "white"]


def prompt_of_length(tokens: int) -> Prompt:
    """Return the classic two labels (9 tokens) or the first names of COCO (27 names have 64 tokens, all 80 have 195).

    Raises:
        ValueError: no prompt has exactly this length.
    """
    tokenizer = GroundingDinoTokenizer.default()
    for labels in (TWO_LABELS, *(COCO_NAMES[:count] for count in range(1, len(COCO_NAMES) + 1))):
        prompt = build_prompt(tokenizer, labels, MAX_TOKENS)
        if len(prompt.token_ids) == tokens:
            return prompt
    raise ValueError(f"There is no prompt of {tokens} tokens; there are ones of 9, 64 and 195.")


def many_labels(count: int) -> list[str]:
    """Return `count` (at most 1,280) different labels: the names of COCO, then the same with a word before them."""
    pairs = ((kind, name) for kind, name in product(KINDS, COCO_NAMES))
    return [f"{kind} {name}".strip() for kind, name in islice(pairs, count)]


def packed_prompts(labels: list[str]) -> list[Prompt]:
    """Pack labels into as few prompts as fit them in their order, each of at most 256 tokens, as `Detector` does."""
    return list(build_prompts(GroundingDinoTokenizer.default(), labels, MAX_TOKENS).prompts)
