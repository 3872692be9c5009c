import random

import pytest
import torch

from groundling.model.text_mask import sub_sentence_mask
from reference.text_mask import sub_sentence_mask as naive


@pytest.mark.parametrize(
    ("ids", "positions"),
    [
        pytest.param([101, 102], [0, 0], id="empty prompt"),
        pytest.param(
            [101, 1037, 4937, 1012, 1037, 6556, 2491, 1012, 102, 0, 0], [0, 0, 1, 2, 0, 1, 2, 3, 0, 0, 0], id="two"
        ),
        pytest.param([101, 1037, 4937, 102], [0, 0, 0, 0], id="not closed: the last column closes nothing"),
        pytest.param([101, 1037, 4937, 102, 0], [0, 0, 1, 2, 0], id="closed by [SEP] before padding"),
        pytest.param([101, 1012, 1012, 5, 1029, 102], [0, 0, 0, 0, 1, 0], id="delimiters in a row"),
        pytest.param([7, 8, 1012, 102], [0, 1, 2, 0], id="no [CLS]"),
        pytest.param([0, 0, 101, 7, 1012, 102], [0, 1, 2, 0, 1, 0], id="padding on the left"),
    ],
)
def test_positions(ids: list[int], positions: list[int]) -> None:
    sees, found = sub_sentence_mask(torch.tensor([ids]))
    assert found[0].tolist() == positions
    assert sees[0].tolist() == naive(ids)[0]


def test_equals_the_naive_version_on_random_prompts() -> None:
    choose = random.Random(0)
    for _ in range(300):
        length = choose.randint(1, 12)
        batch = [[choose.choice([0, 5, 6, 101, 102, 1012, 1029]) for _ in range(length)] for _ in range(3)]
        sees, positions = sub_sentence_mask(torch.tensor(batch))
        for index, ids in enumerate(batch):
            expected_sees, expected_positions = naive(ids)
            assert sees[index].tolist() == expected_sees, ids
            assert positions[index].tolist() == expected_positions, ids
