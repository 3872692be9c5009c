"""What a vocabulary takes, refuses and keeps in a file."""

import json
import pickle

import pytest

from groundling import Vocabulary
from groundling.errors import PromptError

FULL = Vocabulary(("sofa", "cat"), {"sofa": ("couch", "settee")}, ("a toy cat",), {"cat": 0.4}, "sorted", 40)


def test_it_survives_files_dictionaries_and_pickles(tmp_path):
    FULL.write(tmp_path / "v.json")
    assert Vocabulary.read(tmp_path / "v.json") == FULL == Vocabulary.from_dict(FULL.to_dict())
    assert pickle.loads(pickle.dumps(FULL)) == FULL
    assert Vocabulary.from_dict({"labels": ["cat"]}) == Vocabulary(("cat",))


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("names.txt", "a cat\n\n  dog  \r\nbird", ("a cat", "dog", "bird")),
        ("names.TXT", "\ufeffcat", ("cat",)),
        ("names", "cat", ("cat",)),
        ("names.json", '["cat", "dog"]', ("cat", "dog")),
    ],
)
def test_lists_of_labels(tmp_path, name, text, labels):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert Vocabulary.read(tmp_path / name).labels == labels


def test_it_cannot_be_changed():
    with pytest.raises(TypeError):
        FULL.thresholds["sofa"] = 0.1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"labels": ()}, "There are no labels", id="empty"),
        ({"labels": "cat"}, "The labels are one string, 'cat'"),
        ({"labels": ("cat", " ")}, "Label 1 is blank"),
        ({"labels": ("cat", "dog", "cat")}, "The label 'cat' stands twice"),
        ({"labels": ("cat",), "negatives": ("cat",)}, "'cat' is a negative, but 'cat' is to be found"),
        ({"labels": ("cat",), "negatives": ("Cat",)}, "'Cat' is a negative, but 'cat' is to be found"),
        (
            {"labels": ("sofa",), "synonyms": {"sofa": ("couch",)}, "negatives": ("couch",)},
            "'couch' is a negative, but 'couch' is to be found",
        ),
        ({"labels": ("cat",), "negatives": None}, "negatives must be a list of names, got NoneType"),
        ({"labels": ("cat",), "negatives": 5}, "negatives must be a list of names, got int"),
        ({"labels": ("cat",), "negatives": ""}, "The negatives are one string"),
        ({"labels": ("cat",), "thresholds": {"cat": float("nan")}}, "threshold of 'cat' must be a number"),
        ({"labels": ("cat",), "negatives": (3,)}, "Negative 0 is of type int"),
        ({"labels": ("cat",), "synonyms": {"dog": ("hound",)}}, "synonyms name 'dog', which is not a label"),
        ({"labels": ("cat",), "synonyms": {"cat": "kitten"}}, "'cat': The synonyms are one string"),
        ({"labels": ("cat",), "synonyms": [("cat", "kitten")]}, "synonyms must be a mapping"),
        ({"labels": ("a sofa",), "thresholds": {"sofa": 0.5}}, "Did you mean 'a sofa'"),
        (
            {"labels": ("cat",), "thresholds": {"cat": 1.5}},
            r"threshold of 'cat' must be a number within 0\.\.1, got 1.5",
        ),
        ({"labels": ("cat",), "thresholds": {"cat": True}}, "threshold of 'cat' must be a number"),
        ({"labels": ("cat",), "packing": "random"}, "packing='random' is not known"),
        ({"labels": ("cat",), "per_prompt": 0}, "per_prompt must be at least 1 label, or None for no limit; got 0"),
    ],
)
def test_mistakes(given, message):
    with pytest.raises(PromptError, match=message):
        Vocabulary(**given)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("v.json", b"", "v.json is not valid JSON", id="empty"),
        pytest.param("v.txt", b" \n", "v.txt: There are no labels", id="empty text"),
        pytest.param("v.json", b"3", 'must be an object with the key "labels"', id="number"),
        pytest.param("v.json", b'{"labels": ["a"], "label": 1}', "has no key 'label'", id="unknown key"),
        pytest.param("v.json", b'{"labels": [1]}', "Label 0 is of type int", id="no text"),
        pytest.param("v.txt", b"\xff\xfe\x00", "v.txt is not UTF-8 text", id="binary"),
        pytest.param(
            "v.json", b'{"labels": ["a"], "negatives": null}', "v.json: The negatives must be a list", id="null"
        ),
        pytest.param("v.json", b'{"labels": ["a"], "negatives": 5}', "v.json: The negatives must be a list", id="5"),
        pytest.param("v.json", b"[" * 100_000, "cannot be read as a vocabulary", id="endless brackets"),
        pytest.param("v.json", b"9" * 5000, "cannot be read as a vocabulary", id="endless number"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PromptError, match=message):
        Vocabulary.read(tmp_path / name)


@pytest.mark.parametrize("path", ["a\0b.txt", "~nobody-of-this-name/v.txt"])
def test_paths_that_cannot_be(path):
    with pytest.raises(PromptError, match="cannot be read as a vocabulary"):
        Vocabulary.read(path)


def test_equal_vocabularies_are_one_key():
    assert len({FULL, Vocabulary.from_dict(FULL.to_dict()), Vocabulary(("cat",))}) == 2


def test_a_label_twice_among_many_is_found_at_once():
    with pytest.raises(PromptError, match="'name 7' stands twice"):
        Vocabulary((*(f"name {number}" for number in range(200_000)), "name 7"))


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Vocabulary.read(tmp_path / "nowhere.txt")


def test_the_file_is_for_people_too(tmp_path):
    FULL.write(tmp_path / "v.json")
    assert json.loads((tmp_path / "v.json").read_text())["thresholds"] == {"cat": 0.4}
