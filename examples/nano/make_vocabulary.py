"""Write the vocabulary of groundling/nano: the marks at BERT's ids, the words of scenes, common words, and letters.

python examples/nano/make_vocabulary.py examples/nano/vocab.txt
"""

import string
import sys
from pathlib import Path

from groundling.data.scenes import COLORS, SHAPES, SIZES, TEXTURES
from groundling.processing.tokenizer import BUNDLED_VOCABULARY

FIXED = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
SCENE_WORDS = ["the", "a", "an", "thing", "left", "right", "of", "above", "below", "and", "with"]
MORE_SHAPES = ["pentagon", "octagon", "crescent", "spiral", "kite", "trapezoid", "pillar"]
MORE_THINGS = ["tree", "key", "flag", "cup", "leaf", "crown", "wave"]
SIZE = 2048


def vocabulary() -> list[str]:
    """Return the tokens in the order of their ids."""
    words = [*SCENE_WORDS, *COLORS, *SHAPES, *SIZES, *TEXTURES, *MORE_SHAPES, *MORE_THINGS]
    letters = [*string.ascii_lowercase, *string.digits, *"-,;:!'\"()/&+"]
    pieces = [f"##{letter}" for letter in string.ascii_lowercase + string.digits]
    # BERT's vocabulary is ordered by how common a word is.
    common = [
        line for line in BUNDLED_VOCABULARY.read_text(encoding="utf-8").split("\n") if line.isascii() and line.isalpha()
    ]
    tokens = iter(dict.fromkeys([*words, *letters, *pieces, *common]))
    by_id = {number: token for token, number in FIXED.items()}
    return [by_id[number] if number in by_id else next(tokens) for number in range(SIZE)]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
