"""Scenes as a data set: every number is a record, made when it is asked for."""

import numpy as np
from numpy.random import Generator

from groundling.data.record import Record
from groundling.data.scenes.generator import Scene, check_scenes, make_scene
from groundling.data.scenes.things import HELD_OUT, NEW_SHAPES, SHAPES, Thing, pair_names
from groundling.data.scenes.words import Query, expressions, queries
from groundling.errors import ConfigError
from groundling.structures.masks import Masks

RECORD_SPLITS = ("train", "seen", "held_out", "referring", "new")
"""The splits of scenes, and unseen pictures with referring expressions only. A split's place is part of its seed."""

MOST_EXPRESSIONS = 4
NEGATIVES = 12
"""Labels of things that are not there, for each scene; half of them near misses."""


class SceneRecords:
    """Scenes of one split, numbered from 0; nothing is kept, and every access makes the scene anew.

    In "train" the labels are descriptions of things, from "star" to "small dotted blue star", and referring
    expressions. In "seen" and "held_out" they are colour and shape, such as "blue star", as an evaluation asks for
    them. In "referring" they are expressions. In "new" they are colour and shape, and only the things of new shapes are
    labelled, as where someone labels what a model does not know yet.

    Args:
        split: one of RECORD_SPLITS.
        seed: of the data set.
        size: side of the pictures in pixels.
        count: number of scenes.
        masks: give each record the masks of what can be seen of its things, which takes longer.

    Raises:
        ConfigError: the split is unknown or a number is out of range.
    """

    def __init__(
        self, *, split: str = "train", seed: int = 0, size: int = 192, count: int = 10_000, masks: bool = False
    ) -> None:
        if split not in RECORD_SPLITS:
            raise ConfigError(f"split={split!r} is unknown. Use one of {', '.join(RECORD_SPLITS)}.")
        if count < 1:
            raise ConfigError(f"count={count} must be at least 1.")
        check_scenes(seed, size)
        self.split, self.seed, self.size, self.count, self.masks = split, seed, size, count, masks

    @property
    def names(self) -> tuple[str, ...]:
        """Every colour with every shape of the labels; the labels of a record may be finer."""
        return pair_names(self._shapes)

    @property
    def counted_names(self) -> tuple[str, ...] | None:
        """The names that an evaluation is about: in "held_out" the pairs that training never shows; None is all.

        Things of the other pairs stand in these pictures too, and most names are theirs.
        """
        if self.split != "held_out":
            return None
        return tuple(name for name in self.names if tuple(name.split()) in HELD_OUT)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < self.count:
            raise IndexError(f"Scene {index} of {self.count}.")
        scene_split = "seen" if self.split == "referring" else self.split
        scene = make_scene(self.seed, index, split=scene_split, size=self.size)
        # The scene's own random numbers must not depend on the words, nor the words on how many it drew.
        rng = np.random.default_rng([self.seed, RECORD_SPLITS.index(self.split), index, 1])
        labels, absent = self._words(scene, rng)
        texts = list(labels)
        known = [thing for thing in range(len(scene.things)) if self._is_labelled(scene.things[thing])]
        positive_NL = np.array([[thing in labels[text] for text in texts] for thing in known], bool)
        return Record(
            key=f"{self.split}-{self.seed}-{index}",
            picture=scene.image,
            image_wh=scene.image.size,
            labels=tuple(texts),
            boxes_xyxy=scene.boxes_xyxy[known],
            positive_NL=positive_NL.reshape(len(known), len(texts)),
            absent=tuple(absent),
            masks=Masks.from_array(scene.masks[known], scene.image.size) if self.masks else None,
        )

    @property
    def _shapes(self) -> tuple[str, ...]:
        return NEW_SHAPES if self.split == "new" else SHAPES

    def _is_labelled(self, thing: Thing) -> bool:
        return self.split != "new" or thing.shape in NEW_SHAPES

    def _words(self, scene: Scene, rng: Generator) -> tuple[dict[str, set[int]], list[str]]:
        """Return labels with the things that each means, and labels that mean none."""
        if self.split == "referring":
            return _expressions(scene, rng, most=len(scene.things) + 2), []
        if self.split != "train":
            labelled = [thing for thing in scene.things if self._is_labelled(thing)]
            pairs = [Query(color=thing.color, shape=thing.shape) for thing in labelled]
            _, absent = queries(scene.things, rng, negatives=NEGATIVES, shapes=self._shapes)
            misses = dict.fromkeys(Query(color=q.color, shape=q.shape) for q in absent)
            absent_texts = [
                query.text
                for query in misses
                if query.shape in self._shapes and not any(query.means(thing) for thing in scene.things)
            ]
            return {query.text: _meant(query, scene.things) for query in pairs}, absent_texts
        present, absent = queries(scene.things, rng, negatives=NEGATIVES)
        labels = {query.text: _meant(query, scene.things) for query in present}
        if rng.random() < 0.5:
            labels |= _expressions(scene, rng, most=MOST_EXPRESSIONS)
        return labels, [query.text for query in absent]


def _meant(query: Query, things: tuple[Thing, ...]) -> set[int]:
    return {index for index, thing in enumerate(things) if query.means(thing)}


def _expressions(scene: Scene, rng: Generator, *, most: int) -> dict[str, set[int]]:
    """Choose expressions, those with a landmark as often as those without."""
    found = expressions(scene.things, scene.image.width)
    found = [found[place] for place in rng.permutation(len(found))]
    placed = [one for one in found if one.phrase[1] < len(one.text)]
    plain = [one for one in found if one.phrase[1] == len(one.text)]
    chosen = [one for pair in zip(placed, plain, strict=False) for one in pair] or found
    return {expression.text: {expression.thing} for expression in chosen[:most]}
