"""Why boxes were found: what each token said to them, and where in the picture each token looked."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from groundling.errors import ConfigError, PromptError
from groundling.pictures.heat import ScoreTable, add_scale, draw_table, lay_over, plot_table
from groundling.structures.detections import Detections

if TYPE_CHECKING:
    import PIL.Image
    from matplotlib.axes import Axes

MapKind = Literal["similarity", "attention"]
"""Ways to ask where a word looked; see `Explanation.map`."""

SMALLEST_SCALE = 0.2
"""Similarity that the strongest colour stands for at least, so that noise does not look like something found."""

_MARKS = ("[CLS]", "[SEP]", ".", "?")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Explanation:
    """What the model saw of one prompt in one picture, for N boxes and T tokens.

    Attributes:
        detections: the boxes, as the detector finds them.
        picture: the picture that was searched, upright and RGB.
        tokens: the pieces of the prompt that the model reads, with its marks "[CLS]", "." and "[SEP]"; a piece that
            begins with "##" belongs to the one before it.
        words: the labels, and their synonyms and negatives where there are some.
        word_tokens: for each word the positions of its tokens.
        word_labels: for each word the label that it stands for, an index into `detections.labels`; -1 for a negative.
        token_scores: similarity of each box with each token, 0 to 1, float32 [N, T]. A word's score is the mean of its
            tokens' scores, and a label's score that of its best word.
        similarity: for each token a map over the picture, 0 to 1, float32 [T, h, w]; see `map`.
        attention: for each token a map over the picture, of sum 1, float32 [T, h, w]; see `map`.
    """

    detections: Detections
    picture: "PIL.Image.Image"
    tokens: tuple[str, ...]
    words: tuple[str, ...]
    word_tokens: tuple[tuple[int, ...], ...]
    word_labels: tuple[int, ...]
    token_scores: NDArray[np.float32]
    similarity: NDArray[np.float32]
    attention: NDArray[np.float32]

    def __repr__(self) -> str:
        return f"Explanation({len(self.detections)} boxes, words {', '.join(map(repr, self.words))})"

    def positions(self, word: str | int) -> tuple[int, ...]:
        """Return the positions of a word's tokens.

        Args:
            word: one of `words`; a token that stands in the prompt once; or the position of a token.

        Raises:
            PromptError: there is no such word or token, or the token stands in several places.
        """
        if isinstance(word, int):
            if not 0 <= word < len(self.tokens):
                raise PromptError(f"There is no token {word}: there are {len(self.tokens)}, counted from 0.")
            return (word,)
        if word in self.words:
            return self.word_tokens[self.words.index(word)]
        places = [place for place, token in enumerate(self.tokens) if token == word]
        if len(places) > 1:
            raise PromptError(
                f"The token {word!r} stands in {len(places)} places, {places}. Give one of these numbers in its place."
            )
        if not places:
            raise PromptError(
                f"{word!r:.80} is not in the prompt. Its words are {', '.join(map(repr, self.words))}; "
                f"its tokens are {', '.join(map(repr, self.tokens))}."
            )
        return (places[0],)

    def map(self, word: str | int, kind: MapKind = "similarity") -> NDArray[np.float32]:
        """Return where in the picture a word is found, float32 [h, w] in 0 to 1, in cells of the finest feature map.

        "similarity" is what language-guided query selection reads to choose where the decoder starts: the score of
        each image token, the mean of the word's tokens, and of coarse and fine tokens in one place the greater one. It
        can be compared with a threshold and between words.

        "attention" is how the word's tokens divide their attention over the picture in the last layer of the feature
        enhancer, the mean of its heads and of the tokens, with the strongest place set to 1. It says where, never how
        sure: a word for something that is not there has a strongest place too.

        Args:
            word: see `positions`.
            kind: what the map shows.

        Raises:
            PromptError: there is no such word.
            ConfigError: there is no such kind of map.
        """
        if kind not in get_args(MapKind):
            raise ConfigError(f"kind={kind!r} is not known. Use {' or '.join(map(repr, get_args(MapKind)))}.")
        maps_THW = self.similarity if kind == "similarity" else self.attention
        map_HW: NDArray[np.float32] = maps_THW[list(self.positions(word))].mean(axis=0)
        return map_HW if kind == "similarity" else map_HW / map_HW.max()

    def draw_map(self, word: str | int, kind: MapKind = "similarity") -> "PIL.Image.Image":
        """Lay the map of a word over the picture, with the boxes of that label and a scale below.

        Args:
            word: see `positions`.
            kind: what the map shows; see `map`.

        Returns:
            A new RGB picture, as wide as the picture and a little higher.

        Raises:
            PromptError: there is no such word.
            ConfigError: there is no such kind of map.
        """
        map_HW = self.map(word, kind)
        strongest = max(float(map_HW.max()), SMALLEST_SCALE)
        shown = lay_over(self.picture, map_HW / strongest)
        if word in self.detections.labels:
            shown = self.detections.only(str(word)).draw(shown)
        name = word if isinstance(word, str) else self.tokens[word]
        return add_scale(shown, name, kind, strongest)

    def tokens_of(self, row: int) -> tuple[list[int], list[int]]:
        """Return the positions of the tokens of a box's label, and of all others by their score, best first.

        The prompt's marks are left out. Words that stand for the same label count as its own.

        Args:
            row: number of the box.
        """
        shown = self._shown_tokens()
        own = self._own_tokens(int(self.detections.label_ids[row]))
        others = [place for place in shown if place not in own]
        return sorted(own), sorted(others, key=lambda place: -self.token_scores[row, place])

    def _shown_tokens(self) -> list[int]:
        return [place for place, token in enumerate(self.tokens) if token not in _MARKS]

    def plot_scores(self, ax: "Axes | None" = None) -> "Axes":
        """Show `token_scores` with matplotlib: a row for each box, a column for each token that is no mark.

        The tokens of a box's own label have a frame. Of many boxes the best are shown.

        Args:
            ax: where to show it; None makes a new figure.

        Returns:
            The axes.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        return plot_table(self._score_table(), ax)

    def draw_scores(self) -> "PIL.Image.Image":
        """Return what `plot_scores` shows as an RGB picture."""
        return draw_table(self._score_table())

    def _score_table(self) -> ScoreTable:
        columns = self._shown_tokens()
        rows = [f"{row}  {item.label} {item.score:.2f}" for row, item in enumerate(self.detections)]
        own = [self._own_tokens(item.label_id) for item in self.detections]
        framed = [[column for column, place in enumerate(columns) if place in places] for places in own]
        return ScoreTable(rows, [self.tokens[place] for place in columns], self.token_scores[:, columns], framed)

    def _own_tokens(self, label_id: int) -> set[int]:
        """Return the tokens of all words that stand for a label."""
        words = zip(self.word_tokens, self.word_labels, strict=True)
        return {place for tokens, label in words if label == label_id for place in tokens}

    def to_dict(self) -> dict[str, Any]:
        """Convert all but the picture and the maps to plain lists, strings and numbers.

        Returns:
            `detections` as in `Detections.to_dict`, `tokens`, `words` (each with `word`, the `label` that it stands for
            or None for a negative, and `tokens`, the positions of its tokens) and `token_scores`, a list for each box.
        """
        labels = self.detections.labels
        words = [
            {"word": word, "label": labels[label] if label >= 0 else None, "tokens": list(tokens)}
            for word, label, tokens in zip(self.words, self.word_labels, self.word_tokens, strict=True)
        ]
        scores = self.token_scores.astype(np.str_).astype(np.float64).tolist()  # the shortest numbers, as in Detections
        return {
            "detections": self.detections.to_dict(),
            "tokens": list(self.tokens),
            "words": words,
            "token_scores": scores,
        }
