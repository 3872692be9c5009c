"""Prompts for training: what is there is asked for, within the budget, and every label has its own tokens."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from groundling import ConfigError, PromptError
from groundling.data.record import Record
from groundling.data.sampling import Grounded, PromptSampling, sample_prompt
from groundling.processing import GroundingDinoTokenizer
from groundling.structures.prompt import Caption

NAMES = ("cat", "dog", "hot dog", "car", "carrot", "traffic light", "remote control", "person", "cup", "bowl")


@pytest.fixture(scope="module")
def tokenizer() -> GroundingDinoTokenizer:
    return GroundingDinoTokenizer.default()


def record(*labels: str, objects: int | None = None, **options: Any) -> Record:
    """One object for each label, or so many objects with all labels."""
    positive_NL = np.eye(len(labels), dtype=bool) if objects is None else np.ones((objects, len(labels)), bool)
    boxes = np.tile(np.array([1, 2, 3, 4], np.float32), (len(positive_NL), 1))
    return Record("one", Image.new("RGB", (8, 8)), (8, 8), labels, boxes, positive_NL, **options)


def sample(
    tokenizer: GroundingDinoTokenizer, one: Record, seed: int = 0, *, unknown: tuple[str, ...] = (), **sampling: Any
) -> Grounded:
    rng = np.random.default_rng(seed)
    return sample_prompt(one, tokenizer, PromptSampling(**sampling), rng, names=NAMES, unknown=unknown)


def meanings(found: Grounded) -> list[set[str]]:
    """The labels of each object."""
    return [{found.prompt.labels[place] for place in np.flatnonzero(row)} for row in found.positive_NP]


def assert_tokens_spell_their_labels(tokenizer: GroundingDinoTokenizer, found: Grounded) -> None:
    for label, positions in zip(found.prompt.labels, found.prompt.label_tokens, strict=True):
        spelled = [found.prompt.token_ids[position] for position in positions]
        assert spelled == tokenizer.encode_with_offsets(label, add_special_tokens=False).ids


@pytest.mark.parametrize("seed", range(5))
def test_a_picture_without_objects_asks_for_what_is_absent(tokenizer: GroundingDinoTokenizer, seed: int) -> None:
    found = sample(tokenizer, record(), seed, negatives=3)
    assert found.positive_NP.shape == (0, len(found.prompt.labels))
    assert 1 <= len(found.prompt.labels) <= 3
    assert len(sample(tokenizer, record(), seed, negatives=0).prompt.labels) == 1  # a prompt needs a label


@pytest.mark.parametrize("seed", range(20))
def test_positives_are_always_there_and_mean_their_objects(tokenizer: GroundingDinoTokenizer, seed: int) -> None:
    own = ("car", "carrot", "hot dog", "dog")
    found = sample(tokenizer, record(*own), seed, negatives=4)
    assert meanings(found) == [{label} for label in own]
    assert set(found.prompt.labels) <= set(NAMES)
    assert len(set(found.prompt.labels)) == len(found.prompt.labels) <= 8
    assert_tokens_spell_their_labels(tokenizer, found)


def test_labels_inside_other_labels_have_tokens_of_their_own(tokenizer: GroundingDinoTokenizer) -> None:
    found = sample(tokenizer, record("hot dog", "dog", "car", "carrot"), negatives=0)
    positions = [position for own in found.prompt.label_tokens for position in own]
    assert len(set(positions)) == len(positions)
    assert_tokens_spell_their_labels(tokenizer, found)


def test_an_object_may_have_several_labels(tokenizer: GroundingDinoTokenizer) -> None:
    found = sample(tokenizer, record("dog", "small dog", objects=2), negatives=1, all_negatives=1.0)
    assert meanings(found) == [{"dog", "small dog"}] * 2
    assert len(found.prompt.labels) == 3


@pytest.mark.parametrize("max_tokens", range(4, 40, 3))
def test_the_budget_is_kept_and_absent_names_go_first(tokenizer: GroundingDinoTokenizer, max_tokens: int) -> None:
    own = ("car", "dog", "traffic light")  # 2 + 2 + 3 tokens with their separators, and [CLS] and [SEP]
    found = sample(tokenizer, record(*own), max_tokens=max_tokens, negatives=9, all_negatives=1.0)
    assert len(found.prompt.token_ids) <= max_tokens
    if max_tokens >= 9:
        assert set(own) <= set(found.prompt.labels)
    if max_tokens >= 2 + 7 + 16:  # all other names
        assert len(found.prompt.labels) == len(NAMES)


def test_an_object_whose_label_does_not_fit_has_no_phrase(tokenizer: GroundingDinoTokenizer) -> None:
    found = sample(tokenizer, record("car", "dog"), max_tokens=4)
    assert len(found.prompt.labels) == 1
    assert sorted(found.positive_NP.sum(axis=1)) == [0, 1]


def test_when_no_label_fits_the_budget_is_named(tokenizer: GroundingDinoTokenizer) -> None:
    with pytest.raises(PromptError, match=r"'remote control'\) has more tokens than fit .* max_tokens=4\b.* Raise it"):
        sample_prompt(record("remote control"), tokenizer, PromptSampling(max_tokens=4), np.random.default_rng(0))


def test_the_order_says_nothing(tokenizer: GroundingDinoTokenizer) -> None:
    firsts = [sample(tokenizer, record("car", "dog"), seed, negatives=4).prompt.labels[0] for seed in range(60)]
    assert 0.15 < np.mean([label in ("car", "dog") for label in firsts]) < 0.85
    assert {"car", "dog"} < set(firsts)


def test_the_number_of_negatives_varies(tokenizer: GroundingDinoTokenizer) -> None:
    def counts(all_negatives: float) -> list[int]:
        options = {"negatives": 5, "all_negatives": all_negatives}
        return [len(sample(tokenizer, record("car"), seed, **options).prompt.labels) - 1 for seed in range(80)]

    assert set(counts(1.0)) == {5}
    assert set(counts(0.0)) == {0, 1, 2, 3, 4, 5}
    assert 0.4 < np.mean(np.array(counts(0.5)) == 5) < 0.75


def test_labels_in_doubt_are_neither_there_nor_absent(tokenizer: GroundingDinoTokenizer) -> None:
    for seed in range(10):
        found = sample(tokenizer, record("car", "dog"), seed, unknown=("dog",), negatives=9, all_negatives=1.0)
        assert "dog" not in found.prompt.labels
        assert meanings(found) == [{"car"}, set()]


def test_when_all_labels_are_in_doubt_something_absent_is_asked_for(tokenizer: GroundingDinoTokenizer) -> None:
    for seed in range(10):
        found = sample(tokenizer, record("dog"), seed, unknown=("dog",), negatives=2, all_negatives=0.0)
        assert found.prompt.labels
        assert "dog" not in found.prompt.labels


@pytest.mark.parametrize("seed", range(5))
def test_a_name_that_only_a_group_has_is_not_asked_for(tokenizer: GroundingDinoTokenizer, seed: int) -> None:
    """Its members have no boxes, so finding one would be learned as wrong."""
    options: dict[str, Any] = {"negatives": 9, "all_negatives": 1.0}
    one = record("person", "dog", crowd_N=np.array([True, False]))
    found = sample(tokenizer, one, seed, **options)
    assert "person" not in found.prompt.labels
    assert meanings(found) == [set(), {"dog"}]
    both = record("person", objects=2, crowd_N=np.array([True, False]))
    assert "person" in sample(tokenizer, both, seed, **options).prompt.labels
    alone = record("person", absent=(), crowd_N=np.array([True]))
    assert sample(tokenizer, alone, seed, **options).prompt.labels == ("person",)  # a prompt needs a label


@pytest.mark.parametrize("seed", range(5))
def test_a_partly_labelled_name_is_not_asked_for(tokenizer: GroundingDinoTokenizer, seed: int) -> None:
    """A thing of it without a box would be learned as wrong, were it asked for as present or as absent."""
    one = record("car", "dog", partial=("dog", "cat"))
    found = sample(tokenizer, one, seed, negatives=9, all_negatives=1.0)
    assert set(found.prompt.labels) == {*NAMES} - {"dog", "cat"}
    assert meanings(found) == [{"car"}, set()]
    with pytest.raises(PromptError, match="There are no labels"):
        sample(tokenizer, record("dog", absent=("cat",), partial=("dog", "cat")), seed)


@pytest.mark.parametrize("seed", range(10))
def test_whether_there_is_a_prompt_does_not_depend_on_chance(tokenizer: GroundingDinoTokenizer, seed: int) -> None:
    long, unknown = "very " * 20 + "old car", "\u3121"
    for labels in ((), (long,), (unknown,)):
        one = record(*labels, absent=(long, unknown, "bus"))
        found = sample(tokenizer, one, seed, max_tokens=8, negatives=1, all_negatives=0.0)
        assert found.prompt.labels == ("bus",)
    with pytest.raises(PromptError, match=r"has more tokens than fit into a prompt of max_tokens=8, or no word that"):
        sample(tokenizer, record(long, absent=(unknown,)), seed, max_tokens=8)


def test_a_sentence_cannot_do_without_a_phrase_that_is_in_doubt(tokenizer: GroundingDinoTokenizer) -> None:
    one = record("A dog", caption=Caption("A dog runs", ((0, 5),)))
    with pytest.raises(PromptError, match=r"The caption of one cannot do without one of its phrases: \('A dog',\)"):
        sample(tokenizer, one, unknown=("A dog",))


def test_listed_absent_names_take_the_place_of_the_vocabulary(tokenizer: GroundingDinoTokenizer) -> None:
    one = record("car", absent=("truck", "bus"))
    assert set(sample(tokenizer, one, all_negatives=1.0).prompt.labels) == {"car", "truck", "bus"}
    assert sample(tokenizer, record("car", absent=())).prompt.labels == ("car",)


def test_captions_keep_their_words_and_spans(tokenizer: GroundingDinoTokenizer) -> None:
    text = "A dog eats a hot dog beside the dog"
    caption = Caption(text, ((0, 5), (11, 20), (28, 35)))
    one = record(*caption.phrases, caption=caption)
    found = sample(tokenizer, one, negatives=9)
    assert found.prompt.labels == ("A dog", "a hot dog", "the dog")
    assert found.positive_NP is one.positive_NL
    words = [[found.prompt.token_ids[position] for position in own] for own in found.prompt.label_tokens]
    assert words == [tokenizer.encode_with_offsets(label, add_special_tokens=False).ids for label in caption.phrases]
    assert found.prompt.label_tokens == ((1, 2), (4, 5, 6), (8, 9))


def test_a_caption_that_is_too_long_is_refused(tokenizer: GroundingDinoTokenizer) -> None:
    caption = Caption("one two three four five", ((0, 3),))
    with pytest.raises(PromptError, match=r"The prompt has 1 phrases and 8 tokens, but the model reads at most 7"):
        sample(tokenizer, record("one", caption=caption), max_tokens=7)


def test_the_same_random_numbers_give_the_same_prompt(tokenizer: GroundingDinoTokenizer) -> None:
    one = record("car", "dog")
    first, again = (sample(tokenizer, one, 3, negatives=5) for _ in range(2))
    assert first.prompt == again.prompt
    assert (first.positive_NP == again.positive_NP).all()
    assert len({sample(tokenizer, one, seed, negatives=5).prompt for seed in range(10)}) > 5


@pytest.mark.parametrize(
    "values", [{"max_tokens": 3}, {"max_tokens": float("nan")}, {"negatives": -1}, {"all_negatives": 1.5}]
)
def test_settings_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="A prompt needs max_tokens of at least 4, negatives of at least 0"):
        PromptSampling(**values)
