import random

import pytest
import torch

from groundling.objective.positive_map import phrase_maps
from reference.text_mask import phrases as naive


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        pytest.param([101, 102], [], id="empty"),
        pytest.param(
            [101, 3869, 1012, 11420, 7, 1012, 1012, 5, 102, 0], [[1], [3, 4], [7]], id="empty phrases are skipped"
        ),
        pytest.param([5, 6, 102], [[0, 1]], id="no [CLS]"),
    ],
)
def test_phrases(ids: list[int], expected: list[list[int]]) -> None:
    (found,) = phrase_maps(torch.tensor([ids]))
    assert [row.nonzero().flatten().tolist() for row in found] == expected


def test_equals_the_naive_version_on_random_prompts() -> None:
    choose = random.Random(1)
    for _ in range(200):
        length = choose.randint(1, 10)
        batch = [[choose.choice([0, 5, 6, 7, 101, 102, 1012, 1029]) for _ in range(length)] for _ in range(2)]
        for ids, found in zip(batch, phrase_maps(torch.tensor(batch)), strict=True):
            assert [row.nonzero().flatten().tolist() for row in found] == naive(ids), ids
