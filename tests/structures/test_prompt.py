import pytest

from groundling.errors import PromptError
from groundling.structures.prompt import Caption, Prompt


@pytest.mark.parametrize(
    ("text", "spans", "message"),
    [
        pytest.param("", (((0, 1),),), "caption is empty", id="empty"),
        pytest.param("a cat", (), "has no spans", id="no spans"),
        pytest.param("a cat", ((),), "Phrase 0 .* has no character range", id="phrase without range"),
        pytest.param("a cat", (((2, 2),),), r"span \[2, 2\)", id="empty range"),
        pytest.param("a cat", (((0, 9),),), "has 5 characters", id="too long"),
        pytest.param("a cat", (((-1, 2),),), r"span \[-1, 2\)", id="negative"),
    ],
)
def test_captions_that_are_refused(text: str, spans: tuple[tuple[tuple[int, int], ...], ...], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Caption(text, spans)


def test_a_range_alone_is_a_phrase() -> None:
    assert Caption("a cat", ((0, 5),)).spans == (((0, 5),),)  # type: ignore[arg-type]
    with pytest.raises(PromptError, match=r"Phrase 0 has the span 'a'. A span is a pair"):
        Caption("a cat", ("ab",))  # type: ignore[arg-type]


def test_phrases() -> None:
    assert Caption("a cat left of a dog", (((2, 5),), ((6, 10), (16, 19)))).phrases == ("cat", "left dog")


@pytest.mark.parametrize(
    ("labels", "tokens", "message"),
    [
        pytest.param(("a",), (), "1 labels and 0 token lists", id="counts"),
        pytest.param(("a",), ((),), "label 'a' has no tokens", id="no tokens"),
        pytest.param(("a",), ((9,),), "the prompt has 3 tokens", id="outside"),
    ],
)
def test_prompts_that_are_refused(labels: tuple[str, ...], tokens: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Prompt("a.", labels, (101, 1012, 102), tokens)
