"""The engine of the key maps, and the tables as tables."""

import pytest
import torch

from groundling.checkpoint.key_maps import key_map_for_writing
from groundling.checkpoint.rules import KeyMap, Rule, fused, read_names, rule, rules_below, write_names
from groundling.errors import CheckpointError

ONE = torch.arange(6.0).reshape(3, 2)
NAMES = [
    pytest.param(rule("a.{k}.b.*", "x{k}.*"), "a.3.b.weight", "x3.weight", id="number"),
    pytest.param(rule("a.{k}.{j}.*", "x.{j}.{k}.*"), "a.3.12.bias", "x.12.3.bias", id="two-numbers"),
    pytest.param(rule("a{n+1}.*", "x{n}.*"), "a1.bias", "x0.bias", id="offset"),
    pytest.param(rule("a.in_*", "x_*"), "a.in_weight", "x_weight", id="kind-within"),
    pytest.param(rule("a.b", "x.y"), "a.b", "x.y", id="plain"),
]


@pytest.mark.parametrize(("entry", "ours", "theirs"), NAMES)
def test_a_rule_reads_in_both_directions(entry: Rule, ours: str, theirs: str) -> None:
    key_map = KeyMap("test", (entry,))
    assert list(read_names({theirs: ONE}, key_map)[0]) == [ours]
    assert list(write_names({ours: ONE}, key_map)) == [theirs]


NO_MATCHES = ["", "a", "a.b", "a.x.b.weight", "a.1.b.gamma", "a.1.b.weight.c", "aa.1.b.weight", "a.1xb.weight"]


@pytest.mark.parametrize("name", NO_MATCHES)
def test_what_no_rule_knows_is_reported(name: str) -> None:
    key_map = KeyMap("test", (rule("a.{k}.b.*", "a.{k}.b.*"),))
    assert read_names({name: ONE}, key_map) == ({}, [name])
    with pytest.raises(CheckpointError, match=f"test layout has no place for 1 of 1 tensors, first: '{name}'"):
        write_names({name: ONE}, key_map)


def test_an_offset_never_gives_a_negative_number() -> None:
    key_map = KeyMap("test", (rule("a.{l+3}.*", "extra.{l}.*"), rule("a.{l}.*", "main.{l}.*")))
    names = {f"a.{level}.bias": ONE for level in range(5)}
    assert list(write_names(names, key_map)) == [*(f"main.{i}.bias" for i in range(3)), "extra.0.bias", "extra.1.bias"]


def test_fused_tensors() -> None:
    key_map = KeyMap("test", (fused(["q.*", "k.*", "v.*"], "qkv.*"),))
    found, _ = read_names({"qkv.weight": ONE}, key_map)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "q.weight": [[0, 1]], "k.weight": [[2, 3]], "v.weight": [[4, 5]],
    }  # fmt: skip
    shuffled = {name: found[name] for name in ("v.weight", "q.weight", "k.weight")}
    assert write_names(shuffled, key_map)["qkv.weight"].equal(ONE)


@pytest.mark.parametrize("shape", [(), (4, 2)])
def test_what_cannot_be_split_is_an_error(shape: tuple[int, ...]) -> None:
    key_map = KeyMap("test", (fused(["q.*", "k.*", "v.*"], "qkv.*"),))
    with pytest.raises(CheckpointError, match=r"'qkv.weight' has shape .* cannot be split into 3 equal parts"):
        read_names({"qkv.weight": torch.zeros(shape)}, key_map)


@pytest.mark.parametrize("other", [ONE + 1, ONE.to(torch.float16), ONE[:1]], ids=["values", "dtype", "shape"])
def test_copies_must_be_equal(other: torch.Tensor) -> None:
    key_map = KeyMap("test", (rule("a", "x"),), copies=(rule("a", "y"),))
    assert read_names({"y": ONE, "x": ONE.clone()}, key_map)[0].keys() == {"a"}
    assert write_names({"a": ONE}, key_map).keys() == {"x"}
    with pytest.raises(CheckpointError, match=r"'x' and 'y' are two names of the same weights \(a\)"):
        read_names({"x": ONE, "y": other}, key_map)


def test_rules_below() -> None:
    assert rules_below("a", "x", {"b": "y"}) == (rule("a.b.*", "x.y.*"),)


@pytest.mark.parametrize("layout", ["hugging_face", "original", "mmdetection"])
def test_no_name_is_mentioned_twice_in_a_table(layout: str) -> None:
    rules = key_map_for_writing(layout, backbone_maps=3, decoder_layers=6).rules
    for side in ([entry.theirs for entry in rules], [name for entry in rules for name in entry.ours]):
        assert sorted(set(side)) == sorted(side)
