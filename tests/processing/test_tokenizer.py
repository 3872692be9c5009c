import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertTokenizer

from groundling.errors import CheckpointError, ConfigError, PromptError
from groundling.processing import GroundingDinoTokenizer
from groundling.processing.tokenizer import BUNDLED_VOCABULARY

OURS = GroundingDinoTokenizer.default()
THEIRS = BertTokenizer(vocab=str(BUNDLED_VOCABULARY))
TEXTS = [
    "",
    " ",
    "a cat. a remote control.",
    "A Cat's TOFU, isn't it?!",
    "naïve café Ångström ŒUVRE straße İstanbul",
    "猫と犬 and 東京 고양이",
    "emoji 🐶🐱👩‍👩‍👧 flags 🇫🇷",
    "tabs\tand\nnew\r\nlines\u00a0\u2003spaces\u200bzero",
    "control\x00\x01\x7f\ufffd characters\u00ad soft",
    "[CLS] a [SEP] b [PAD] [MASK] [UNK] [sep]",
    "x" * 101,
    "y" * 100,
    "..?!--__//\\$£€~^`|<>=+@#%&*(){}",
    "e\u0301 o\u0308 combining n\u0303",
    "##ing un##able",
    "Ελληνικά Кириллица עברית العربية हिन्दी",
]


def random_texts(count: int) -> list[str]:
    rng = random.Random(7)
    ranges = [(32, 126)] * 4 + [(0, 31), (0xA0, 0x24F), (0x300, 0x36F), (0x4E00, 0x4F00), (0x1F300, 0x1F64F)]
    ranges += [(0x2000, 0x206F), (0xAC00, 0xAC50), (0x400, 0x45F), (0xFE00, 0xFE0F)]
    return ["".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(0, 40))) for _ in range(count)]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="default"),
        {"do_lower_case": False},
        {"strip_accents": True, "do_lower_case": False},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
    ],
    ids=str,
)
def test_ids_equal_the_reference(settings) -> None:
    ours = GroundingDinoTokenizer.default(**settings)
    theirs = BertTokenizer(vocab=str(BUNDLED_VOCABULARY), **settings)
    texts = TEXTS + random_texts(300)
    assert ours(texts)["input_ids"] == theirs(texts)["input_ids"]


@pytest.mark.parametrize(
    "text", ["a cat and a dog.", ["a cat", "a dog and a remote control"], ("b",), ["", "x"]], ids=str
)
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="none"),
        {"padding": True},
        {"padding": "longest", "padding_side": "left"},
        {"padding": "max_length", "max_length": 9},
        {"padding": "max_length"},
        {"padding": "max_length", "truncation": True, "max_length": 5, "return_tensors": "pt"},
        {"truncation": True, "max_length": 4},
        {"truncation": "only_first", "max_length": 3},
        {"truncation": True},
        {"truncation": False, "max_length": 4},
        {"max_length": 4},
        {"max_length": 4, "padding": "max_length"},
        {"max_length": 4, "stride": 1},
        {"padding": True, "pad_to_multiple_of": 8, "return_tensors": "np"},
        {"pad_to_multiple_of": 8},
        {"add_special_tokens": False},
        {"add_special_tokens": False, "max_length": 2, "truncation": True},
        {"return_token_type_ids": False, "return_attention_mask": False},
        {"return_offsets_mapping": True, "return_special_tokens_mask": True, "padding": True},
        {"return_length": True},
    ],
    ids=str,
)
def test_calls_equal_the_reference(text, options) -> None:
    ours, theirs = OURS(text, **options), THEIRS(text, **options)
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        other = theirs[key]
        if "return_tensors" in options:
            assert type(value) is type(other)
            assert value.dtype == other.dtype
            value, other = value.tolist(), other.tolist()
        assert value == other, key


def test_words_can_be_split_by_the_caller() -> None:
    for words in (["a", "cat's"], [["a", "cat"], ["dog"]]):
        ours = OURS(words, is_split_into_words=True)
        assert ours["input_ids"] == THEIRS(words, is_split_into_words=True)["input_ids"]


def test_offsets_count_characters() -> None:
    text = "Ünï 猫 cat 🐶 tofu"
    row = OURS.encode_with_offsets(text)
    assert row.offsets == THEIRS(text, return_offsets_mapping=True)["offset_mapping"]
    assert [text[start:end] for start, end in row.offsets][1:-1][-2:] == ["to", "fu"]


@pytest.mark.parametrize("clean", [False, True])
def test_decoding_equals_the_reference(clean) -> None:
    theirs = BertTokenizer(vocab=str(BUNDLED_VOCABULARY), clean_up_tokenization_spaces=clean)
    ours = GroundingDinoTokenizer.default(clean_up_tokenization_spaces=clean)
    rows = ours(TEXTS + random_texts(100))["input_ids"]
    rng = random.Random(3)
    rows += [[], [0], [1012], *([rng.randrange(30522) for _ in range(8)] for _ in range(200))]
    for skip in (False, True):
        assert ours.batch_decode(rows, skip_special_tokens=skip) == theirs.batch_decode(rows, skip_special_tokens=skip)


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        pytest.param([], "", id="empty"),
        ([1037, 4937, 1012], "a cat."),
        ([4937, 1012, 102], "cat. [SEP]"),
        ([2000, 11263], "tofu"),
        ([1037, 1011, 4937], "a - cat"),
        (1037, "a"),
        (torch.tensor([1037, 4937]), "a cat"),
    ],
)
def test_decoded_text(ids, text) -> None:
    assert OURS.decode(ids) == text


def test_the_second_cleaning_can_be_asked_for() -> None:
    assert OURS.decode([4937, 1005, 1055]) == "cat ' s"
    assert OURS.decode([4937, 1005, 1055], clean_up_tokenization_spaces=True) == "cat's"
    assert OURS.batch_decode([]) == []
    assert OURS.batch_decode(torch.tensor([[1037], [4937]])) == ["a", "cat"]


def test_tokens_and_ids() -> None:
    assert (OURS.vocab_size, len(OURS), len(OURS.get_vocab())) == (30522, 30522, 30522)
    assert (OURS.pad_token_id, OURS.unk_token_id, OURS.cls_token_id, OURS.sep_token_id, OURS.mask_token_id) == (
        0,
        100,
        101,
        102,
        103,
    )
    assert OURS.all_special_ids == THEIRS.all_special_ids
    assert OURS.all_special_tokens == THEIRS.all_special_tokens
    assert OURS.convert_tokens_to_ids(["a", "cat", "zzzqq"]) == [1037, 4937, 100]
    assert OURS.convert_tokens_to_ids(".") == 1012
    assert OURS.convert_ids_to_tokens([1037, 4937]) == ["a", "cat"]
    assert OURS.convert_ids_to_tokens(1037) == "a"
    assert OURS.tokenize("A cat's tofu") == ["a", "cat", "'", "s", "to", "##fu"]
    assert OURS.encode("a cat") == [101, 1037, 4937, 102]


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        pytest.param([], {}, PromptError, "There is no text: the list is empty", id="empty"),
        (None, {}, PromptError, "must be a string or a list of strings, got NoneType"),
        (3, {}, PromptError, "got int: 3"),
        (["a", None], {}, PromptError, "got list"),
        ("a cat", {"is_split_into_words": True}, PromptError, "must be a list of words"),
        (["a cat", "b"], {"return_tensors": "pt"}, PromptError, "Unable to create tensor: the texts have 4, 3 tokens"),
        ("a", {"return_tensors": "zz"}, ValueError, "return_tensors='zz'"),
        ("a", {"padding": "zz"}, ConfigError, "padding='zz' is not a valid strategy"),
        ("a", {"truncation": "zz"}, ConfigError, "truncation='zz' is not a valid strategy"),
        ("a", {"truncation": "only_second"}, ConfigError, "there are no pairs"),
        ("a", {"padding_side": "top"}, ConfigError, "padding_side='top' is not known"),
        ("a", {"max_length": 0}, ConfigError, "max_length must be a positive integer"),
        ("a", {"max_length": 1}, ConfigError, "no room for the 2 special tokens"),
        ("a", {"padding": True, "pad_to_multiple_of": 0}, ConfigError, "pad_to_multiple_of must be a positive"),
        ("a", {"paddin": True}, TypeError, "unexpected keyword argument 'paddin'. Did you mean 'padding'"),
        ("a", {"text_pair": "b"}, TypeError, "unexpected keyword argument 'text_pair'"),
    ],
)
def test_bad_calls(text, options, error, message) -> None:
    with pytest.raises(error, match=message):
        OURS(text, **options)


def reference_folder(path: Path, **settings) -> Path:
    BertTokenizer(vocab=str(BUNDLED_VOCABULARY), **settings).save_pretrained(path)
    return path


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="default"),
        {"do_lower_case": False, "strip_accents": False},
        {"tokenize_chinese_chars": False},
        {"model_max_length": 5, "clean_up_tokenization_spaces": True},
    ],
    ids=str,
)
def test_files_go_both_ways(tmp_path: Path, settings) -> None:
    texts = [*TEXTS, "cat ' s"]
    theirs = BertTokenizer.from_pretrained(reference_folder(tmp_path / "theirs", **settings))
    ours = GroundingDinoTokenizer.from_pretrained(tmp_path / "theirs")
    GroundingDinoTokenizer.default(**settings).save_pretrained(tmp_path / "ours")
    ids = theirs(texts)["input_ids"]
    for tokenizer in (
        ours,
        GroundingDinoTokenizer.from_pretrained(tmp_path / "ours"),
        BertTokenizer.from_pretrained(tmp_path / "ours"),
        AutoTokenizer.from_pretrained(tmp_path / "ours"),
    ):
        assert tokenizer(texts)["input_ids"] == ids
        assert tokenizer.batch_decode(ids) == theirs.batch_decode(ids)
        assert tokenizer.model_max_length == theirs.model_max_length
    written = json.loads((tmp_path / "ours" / "tokenizer_config.json").read_text())
    assert written == json.loads((tmp_path / "theirs" / "tokenizer_config.json").read_text())
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def test_older_files_are_read(tmp_path: Path) -> None:
    shutil.copy(BUNDLED_VOCABULARY, tmp_path / "vocab.txt")
    assert GroundingDinoTokenizer.from_pretrained(tmp_path)("A Cat")["input_ids"] == [101, 1037, 4937, 102]
    pad = {"content": "[PAD]", "lstrip": False, "normalized": False, "single_word": False, "__type": "AddedToken"}
    config = {"do_lower_case": False, "model_max_length": 512, "never_split": None, "pad_token": pad, "cls_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"unk_token": "[MASK]"}))
    cased = GroundingDinoTokenizer.from_pretrained(tmp_path)
    assert cased("A cat")["input_ids"] == [101, 103, 4937, 102]
    assert (cased.model_max_length, cased.pad_token, cased.cls_token) == (512, "[PAD]", "[CLS]")


def test_windows_line_ends_in_a_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(BUNDLED_VOCABULARY.read_bytes().replace(b"\n", b"\r\n"))
    assert GroundingDinoTokenizer.from_pretrained(tmp_path)("a cat")["input_ids"] == [101, 1037, 4937, 102]


def test_the_config_wins_over_the_engine_file(tmp_path: Path) -> None:
    reference_folder(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"do_lower_case": False}))
    for tokenizer in (GroundingDinoTokenizer.from_pretrained(tmp_path), BertTokenizer.from_pretrained(tmp_path)):
        assert tokenizer("A cat 猫")["input_ids"] == [101, 100, 4937, 100, 102]
    lower = GroundingDinoTokenizer.from_pretrained(tmp_path, do_lower_case=True)
    assert lower("A cat")["input_ids"] == [101, 1037, 4937, 102]


def test_padding_left_in_an_engine_file_is_dropped(tmp_path: Path) -> None:
    reference_folder(tmp_path)
    path = tmp_path / "tokenizer.json"
    engine = json.loads(path.read_text())
    engine["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    engine["padding"] = {
        "strategy": {"Fixed": 9},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    path.write_text(json.dumps(engine))
    assert GroundingDinoTokenizer.from_pretrained(tmp_path)("a cat")["input_ids"] == [101, 1037, 4937, 102]


def test_call_defaults_come_from_the_file(tmp_path: Path) -> None:
    GroundingDinoTokenizer.default(padding="max_length", max_length=7).save_pretrained(tmp_path)
    tokenizer = GroundingDinoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("a cat")["input_ids"] == [101, 1037, 4937, 102, 0, 0, 0]
    assert tokenizer("a cat", padding=False)["input_ids"] == [101, 1037, 4937, 102]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({}, r"has no tokenizer: neither 'tokenizer.json' nor 'vocab.txt'.*default\(\)", id="empty"),
        ({"vocab.txt": "a\nb\n"}, r"vocab.txt' of 2 tokens lacks '\[UNK\]'"),
        ({"vocab.txt": b"\xff\xfe"}, "cannot be read"),
        ({"tokenizer.json": "{}"}, "is not a readable tokenizer"),
        ({"tokenizer.json": ""}, "is not a readable tokenizer"),
        ({"vocab.txt": "[UNK]", "tokenizer_config.json": "nothing"}, "is not valid JSON"),
    ],
    ids=str,
)
def test_bad_files(tmp_path: Path, files, message) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CheckpointError, match=message):
        GroundingDinoTokenizer.from_pretrained(tmp_path)


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'do_lowercase'\. Did you mean 'do_lower_case'"):
        GroundingDinoTokenizer.default(do_lowercase=False)
    with pytest.raises(CheckpointError, match=r"lacks '\[pad\]'"):
        GroundingDinoTokenizer.default(pad_token="[pad]")


def test_a_text_beyond_the_models_length_is_logged(caplog) -> None:
    short = GroundingDinoTokenizer.default(model_max_length=5)
    assert len(short("a cat and a dog")["input_ids"]) == 7
    assert "A text has 7 tokens, more than the 5" in caplog.text
    assert short("a cat and a dog", truncation=True)["input_ids"] == [101, 1037, 4937, 1998, 102]


def test_threads_with_different_options_do_not_disturb_each_other() -> None:
    jobs = [{}, {"padding": "max_length", "max_length": 20}, {"truncation": True, "max_length": 4}] * 60
    expected = [OURS("a cat and a dog", **options)["input_ids"] for options in jobs[:3]]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda options: OURS("a cat and a dog", **options)["input_ids"], jobs))
    assert found == expected * 60
