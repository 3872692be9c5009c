"""Words for the things of a scene, and which things they mean: labels, hard negatives, referring expressions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import permutations

from numpy.random import Generator

from groundling.data.scenes.things import COLORS, SHAPES, SIZES, TEXTURES, Thing

RELATIONS = ("left of", "right of", "above", "below")
CLEAR_DISTANCE = 0.08
"""A relation holds when it is this much of the picture's side, so that nobody has to measure."""


@dataclass(frozen=True, slots=True)
class Query:
    """Some properties of a thing; None leaves one open.

    Attributes:
        size: one of SIZES.
        texture: one of TEXTURES.
        color: one of COLORS.
        shape: one of SHAPES or NEW_SHAPES.
    """

    size: str | None = None
    texture: str | None = None
    color: str | None = None
    shape: str | None = None

    @property
    def text(self) -> str:
        """The words, such as "small striped red star"; a thing of any shape is a "thing"."""
        return " ".join([word for word in (self.size, self.texture, self.color) if word] + [self.shape or "thing"])

    def means(self, thing: Thing) -> bool:
        """Whether a thing has all of the properties."""
        return all(getattr(self, f.name) in (None, getattr(thing, f.name)) for f in fields(self))


@dataclass(frozen=True, slots=True)
class Expression:
    """A sentence that means exactly one thing of its scene.

    Attributes:
        text: such as "the small star left of the blue ring".
        thing: index of the thing it means.
        phrase: characters [start, end) of `text` that name the thing itself.
    """

    text: str
    thing: int
    phrase: tuple[int, int]


def queries(
    things: Sequence[Thing], rng: Generator, *, negatives: int, shapes: Sequence[str] = SHAPES
) -> tuple[list[Query], list[Query]]:
    """Choose labels for a scene: some that are there, and some that are not.

    Args:
        things: what is in the scene.
        rng: chooses.
        negatives: how many labels that are not there; half of them share the colour or the shape of a thing.
        shapes: what they name.

    Returns:
        Labels that mean at least one thing, different from each other, together meaning every thing; and labels that
        mean none.
    """
    present: dict[Query, None] = {}
    for thing in things:
        if not any(query.means(thing) for query in present):
            present[_of(thing, rng)] = None
    absent: dict[Query, None] = {}
    for _ in range(20 * negatives):
        if len(absent) == negatives:
            break
        is_near = bool(things) and rng.random() < 0.5
        query = _near_miss(things[int(rng.integers(len(things)))], rng, shapes) if is_near else _any(rng, shapes)
        if not any(query.means(thing) for thing in things):
            absent[query] = None
    return list(present), list(absent)


def _of(thing: Thing, rng: Generator) -> Query:
    return Query(
        size=thing.size if rng.random() < 0.2 else None,
        texture=thing.texture if rng.random() < 0.3 else None,
        color=thing.color if rng.random() < 0.85 else None,
        shape=thing.shape,
    )


def _any(rng: Generator, shapes: Sequence[str]) -> Query:
    colors = list(COLORS)
    return Query(color=colors[int(rng.integers(len(colors)))], shape=shapes[int(rng.integers(len(shapes)))])


def _near_miss(thing: Thing, rng: Generator, shapes: Sequence[str]) -> Query:
    """Return the words for a thing with one property changed."""
    random = _any(rng, shapes)
    changes = (
        Query(color=thing.color, shape=random.shape),
        Query(color=random.color, shape=thing.shape),
        Query(texture=str(rng.choice(TEXTURES)), color=thing.color, shape=thing.shape),
        Query(size=str(rng.choice(list(SIZES))), color=thing.color, shape=thing.shape),
    )
    return changes[int(rng.integers(len(changes)))]


def expressions(things: Sequence[Thing], side: int) -> list[Expression]:
    """Return all expressions of two kinds that mean exactly one thing: by properties, and by place beside another.

    Args:
        things: what is in the scene.
        side: side of the picture in pixels.
    """
    found: dict[str, Expression] = {}
    for query in _descriptions(things):
        matching = [index for index, thing in enumerate(things) if query.means(thing)]
        if len(matching) == 1:
            text = f"the {query.text}"
            found[text] = Expression(text, matching[0], (0, len(text)))
    unique = {e.thing: e for e in found.values()}
    for query in _descriptions(things):
        matching = [index for index, thing in enumerate(things) if query.means(thing)]
        if len(matching) < 2:
            continue
        for landmark, relation in ((i, r) for i in unique if i not in matching for r in RELATIONS):
            there = [i for i in matching if _stands(things[i], relation, things[landmark], side)]
            doubtful = [i for i in matching if not _stands(things[i], _opposite(relation), things[landmark], side)]
            if len(there) == 1 and doubtful == there:
                own = f"the {query.text}"
                text = f"{own} {relation} {unique[landmark].text}"
                found[text] = Expression(text, there[0], (0, len(own)))
    return list(found.values())


def _descriptions(things: Sequence[Thing]) -> Iterator[Query]:
    """Yield the descriptions of the things, from the shape alone to all properties, each once."""
    seen: dict[Query, None] = {}
    for thing in things:
        for names in ((), ("color",), ("texture",), ("size",), ("size", "color"), ("texture", "color")):
            seen[Query(shape=thing.shape, **{name: getattr(thing, name) for name in names})] = None
    return iter(seen)


def _opposite(relation: str) -> str:
    pairs = dict(permutations(("left of", "right of"), 2)) | dict(permutations(("above", "below"), 2))
    return pairs[relation]


def _stands(thing: Thing, relation: str, landmark: Thing, side: int) -> bool:
    """Whether a thing clearly stands so beside another."""
    dx, dy = thing.center[0] - landmark.center[0], thing.center[1] - landmark.center[1]
    distance = {"left of": -dx, "right of": dx, "above": -dy, "below": dy}[relation]
    return distance > CLEAR_DISTANCE * side
