"""Prompts are encoded once, and again when the weights have changed."""

import copy
import pickle
import threading
import weakref

import pytest
import torch
from torch import nn

from groundling.pipeline.text_cache import TEXTS_AT_A_TIME, TextCache
from groundling.structures.features import TextFeatures
from groundling.structures.prompt import Prompt


def prompt(*token_ids):
    return Prompt("x.", ("x",), (101, *token_ids, 102), ((1,),))


ONE = 3 * 4 + 3 + 9 + 3 * 8
"""Bytes of the features of a prompt of three tokens, one wide."""


class Counting:
    """Encodes a prompt as its token ids times a weight, and remembers what it was asked."""

    def __init__(self, most_bytes=10**6):
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.asked = []
        self.cache = TextCache(self.encode, self.weights, most_bytes)

    def weights(self):
        return [self.weight]

    def encode(self, prompts):
        self.asked.append([one.token_ids for one in prompts])
        length = max(len(one.token_ids) for one in prompts)
        ids = torch.tensor([[*one.token_ids, *[0] * (length - len(one.token_ids))] for one in prompts])
        valid = ids > 0
        same = valid[:, None] & valid[:, :, None]
        return TextFeatures((ids * self.weight.detach())[..., None], valid, same, ids * 0)


def test_each_prompt_is_encoded_once_and_given_in_order():
    counting = Counting()
    first = counting.cache.encode([prompt(7), prompt(8, 9), prompt(7)])
    again = counting.cache.encode([prompt(8, 9), prompt(7)])
    assert counting.asked == [[(101, 7, 102), (101, 8, 9, 102)]]
    assert [one.token_BTD.flatten().tolist() for one in first] == [[202, 14, 204], [202, 16, 18, 204], [202, 14, 204]]
    assert torch.equal(again[0].token_BTD, first[1].token_BTD)
    assert counting.cache.encode([]) == []


def test_the_last_used_stay():
    counting = Counting(most_bytes=2 * ONE)
    for token in (1, 2, 1, 3, 1, 2):
        counting.cache.encode([prompt(token)])
    assert [ids[0][1] for ids in counting.asked] == [1, 2, 3, 2]


def test_more_prompts_than_are_kept():
    counting = Counting(most_bytes=3 * ONE)
    prompts = [prompt(number) for number in range(1, 2 * TEXTS_AT_A_TIME + 2)]
    found = counting.cache.encode(prompts)
    assert [one.token_BTD[0, 1, 0].item() for one in found] == [2 * number for number in range(1, len(prompts) + 1)]
    assert [len(ids) for ids in counting.asked] == [TEXTS_AT_A_TIME, TEXTS_AT_A_TIME, 1]


def change_in_place(counting):
    with torch.no_grad():
        counting.weight.add_(1)


def load(counting):
    counting.weight = nn.Parameter(torch.tensor(3.0))


def convert(counting):
    counting.weight.data = counting.weight.data.double()


@pytest.mark.parametrize("change", [change_in_place, load, convert])
def test_other_weights_encode_anew(change):
    counting = Counting()
    counting.cache.encode([prompt(7)])
    change(counting)
    counting.cache.encode([prompt(7)])
    assert len(counting.asked) == 2


def test_weights_at_an_address_of_the_past_encode_anew():
    """Memory that is freed comes back soon; the features of who was there before must not."""
    counting = Counting()
    for value in range(20):
        counting.weight = None
        counting.weight = nn.Parameter(torch.tensor(float(value)))
        (found,) = counting.cache.encode([prompt(7)])
        assert found.token_BTD[0, 1, 0] == 7 * value


def test_what_was_encoded_before_is_let_go():
    counting = Counting()
    (found,) = counting.cache.encode([prompt(7)])
    kept = weakref.ref(found.token_BTD)
    del found
    assert kept() is not None
    change_in_place(counting)
    counting.cache.encode([prompt(8)])
    assert kept() is None


def test_no_batch_is_kept_behind_its_rows():
    for found in Counting().cache.encode([prompt(1), prompt(2, 3, 4)]):
        assert found.token_BTD.untyped_storage().nbytes() == found.token_BTD.nbytes


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_begins_empty_and_has_weights_of_its_own(copied):
    counting = Counting()
    counting.cache.encode([prompt(7)])
    other = copied(counting)
    with torch.no_grad():
        other.weight.fill_(5)
    assert other.cache.encode([prompt(7)])[0].token_BTD[0, 1, 0] == 35
    assert counting.cache.encode([prompt(7)])[0].token_BTD[0, 1, 0] == 14


def test_autocast_encodes_anew():
    counting = Counting()
    counting.cache.encode([prompt(7)])
    with torch.autocast("cpu", torch.bfloat16):
        counting.cache.encode([prompt(7)])
    counting.cache.encode([prompt(7)])
    assert len(counting.asked) == 2


def test_threads():
    counting = Counting(most_bytes=4 * ONE)
    wrong = []

    def work(start):
        for number in range(60):
            token = 1 + (start + number) % 9
            (found,) = counting.cache.encode([prompt(token)])
            if found.token_BTD[0, 1, 0] != 2 * token:
                wrong.append(token)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
