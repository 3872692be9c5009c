"""`GroundingDinoTokenizer`: BERT's WordPiece, from the files of any checkpoint or from the vocabulary shipped here."""

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack, overload

from tokenizers import AddedToken, Encoding, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from torch import Tensor

from groundling.errors import CheckpointError, PromptError
from groundling.files import Location, atomic_path, locate, read_json, split_hub_options, write_json
from groundling.keywords import check_keywords
from groundling.processing.batch_feature import BatchFeature
from groundling.processing.text_batch import CALL_OPTIONS, TextOptions, TokenRow, text_batch

logger = logging.getLogger(__name__)

TOKENIZER_FILE, TOKENIZER_CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"
VOCABULARY_FILE, SPECIAL_TOKENS_FILE = "vocab.txt", "special_tokens_map.json"
BUNDLED_VOCABULARY = Path(__file__).with_name("bert_base_uncased_vocab.txt")
NO_LIMIT = int(1e30)
_SPECIAL_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
# how text is read; each may stand in tokenizer_config.json
_NORMALISATION = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}
_OWN_SETTINGS = _NORMALISATION | {"model_max_length": NO_LIMIT, "clean_up_tokenization_spaces": False}
SETTINGS = frozenset({*_OWN_SETTINGS, *_SPECIAL_TOKENS, *CALL_OPTIONS, "padding_side"})
# a second round of what the decoder does to each token
_SPACED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class GroundingDinoTokenizer:
    """Splits text into BERT's word pieces. One tokenizer may be used by several threads at once.

    Args:
        tokenizer: the engine, with model, normaliser and [CLS] ... [SEP] template. It is not changed afterwards.
        **settings: `do_lower_case`, `strip_accents`, `tokenize_chinese_chars`, `model_max_length`,
            `clean_up_tokenization_spaces`, the five special tokens, and defaults for the options of a call such as
            `padding` and `max_length`.

    Raises:
        CheckpointError: a special token is not in the vocabulary.
        TypeError: a setting does not exist.
    """

    model_input_names: ClassVar[list[str]] = ["input_ids", "token_type_ids", "attention_mask"]

    def __init__(self, tokenizer: Tokenizer, **settings: Any) -> None:
        check_keywords(type(self).__name__, settings, SETTINGS)
        self._tokenizer = tokenizer
        self._settings = _OWN_SETTINGS | _SPECIAL_TOKENS | settings
        self.call_defaults: dict[str, Any] = {key: settings[key] for key in settings if key in CALL_OPTIONS}
        self.model_max_length = int(self._settings["model_max_length"] or NO_LIMIT)
        self.clean_up_tokenization_spaces = bool(self._settings["clean_up_tokenization_spaces"])
        self.unk_token, self.sep_token, self.pad_token, self.cls_token, self.mask_token = (
            str(self._settings[name]) for name in _SPECIAL_TOKENS
        )
        self.unk_token_id, self.sep_token_id, self.pad_token_id, self.cls_token_id, self.mask_token_id = (
            self._id(str(self._settings[name])) for name in _SPECIAL_TOKENS
        )

    @classmethod
    def default(cls, **settings: Any) -> Self:
        """Build the tokenizer of the published checkpoints from the vocabulary shipped with groundling."""
        return cls.from_vocabulary(BUNDLED_VOCABULARY, **settings)

    @classmethod
    def from_vocabulary(cls, path: str | os.PathLike[str], **settings: Any) -> Self:
        """Build a tokenizer from a `vocab.txt`: one token a line, its id is its line.

        Raises:
            CheckpointError: the file cannot be read or lacks a special token.
        """
        check_keywords(f"{cls.__name__}.from_vocabulary", settings, SETTINGS)
        try:
            lines = Path(path).read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"The vocabulary {os.fspath(path)!r} cannot be read ({error}).") from error
        if lines[-1] == "":
            lines.pop()
        vocabulary = {line.rstrip("\r"): index for index, line in enumerate(lines)}
        return cls(_engine(vocabulary, settings, os.fspath(path)), **settings)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **options: Any) -> Self:
        """Read a tokenizer from a folder or a hub repository: `tokenizer.json`, else `vocab.txt`.

        Settings in `tokenizer_config.json` and `special_tokens_map.json` are followed.

        Args:
            pretrained_model_name_or_path: the checkpoint's name.
            **options: those of `HubOptions` say where to look; all others are settings that replace the files'.

        Raises:
            CheckpointError: there is no such place, or its tokenizer files are missing or damaged.
            TypeError: an option does not exist.
        """
        hub, settings = split_hub_options(options)
        return cls.from_location(locate(pretrained_model_name_or_path, **hub), **settings)

    @classmethod
    def from_location(cls, location: Location, **settings: Any) -> Self:
        """Do what `from_pretrained` does, for a place that was found before."""
        check_keywords(f"{cls.__name__}.from_pretrained", settings, SETTINGS)
        file = location.first_of(TOKENIZER_FILE, VOCABULARY_FILE)
        if file is None:
            raise CheckpointError(
                f"{location.name!r} has no tokenizer: neither {TOKENIZER_FILE!r} nor {VOCABULARY_FILE!r}. "
                f"{location.contents()} If it was trained with bert-base-uncased, as the published checkpoints were, "
                "use GroundingDinoTokenizer.default(), and GroundingDinoProcessor(image_processor, tokenizer)."
            )
        settings = _saved_settings(location) | settings
        if file.name == VOCABULARY_FILE:
            return cls.from_vocabulary(file, **settings)
        return cls(_read_engine(file, settings), **settings)

    def __call__(
        self, text: str | Sequence[str] | Sequence[Sequence[str]], **options: Unpack[TextOptions]
    ) -> BatchFeature:
        """Tokenise one text or several.

        Args:
            text: a text, a list of texts, or lists of words with `is_split_into_words`.
            **options: see `TextOptions`; what is not given is the tokenizer's own setting.

        Returns:
            `input_ids`, `token_type_ids` (all 0) and `attention_mask` (1 on real tokens). One text gives lists of
            integers, several texts lists of lists; tensors are always [B, L].

        Raises:
            PromptError: the text is no text, or rows of different lengths were to be made a tensor.
            TypeError: an option does not exist.
        """
        check_keywords(type(self).__name__, options, CALL_OPTIONS)
        merged: TextOptions = {**self.call_defaults, **options}  # type: ignore[typeddict-item]
        is_split, add_special = merged.get("is_split_into_words", False), merged.get("add_special_tokens", True)
        rows, is_single = _rows(text, is_split=is_split)
        # one by one: encode_batch would start threads, after which a process may not be forked safely
        encode = self._tokenizer.encode
        tokens = [_row(encode(row, is_pretokenized=is_split, add_special_tokens=add_special)) for row in rows]
        self._warn_if_long(tokens, merged)
        return text_batch(
            tokens, merged, is_single=is_single, pad_id=self.pad_token_id, model_max_length=self.model_max_length
        )

    def encode_with_offsets(self, text: str, *, add_special_tokens: bool = True) -> TokenRow:
        """Tokenise one text without cutting; `offsets` are the character ranges [start, end) in `text`."""
        return _row(self._tokenizer.encode(text, add_special_tokens=add_special_tokens))

    def encode(self, text: str, **options: Unpack[TextOptions]) -> list[int]:
        """Return the ids of one text."""
        ids: list[int] = self(text, **options)["input_ids"]
        return ids

    def tokenize(self, text: str) -> list[str]:
        """Return the word pieces of one text, without [CLS] and [SEP]."""
        tokens: list[str] = self._tokenizer.encode(text, add_special_tokens=False).tokens
        return tokens

    def decode(
        self,
        token_ids: int | Sequence[int] | Tensor,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """Return the text of one row of ids; word pieces are joined and punctuation is pulled to the left.

        Args:
            token_ids: ids of one text.
            skip_special_tokens: leave out [CLS], [SEP], [PAD] and the like.
            clean_up_tokenization_spaces: clean the whole text a second time ("cat ' s" becomes "cat's"); None is the
                tokenizer's setting.
        """
        ids = token_ids.tolist() if isinstance(token_ids, Tensor) else token_ids
        row = [ids] if isinstance(ids, int) else [int(token) for token in ids]
        text: str = self._tokenizer.decode(row, skip_special_tokens=skip_special_tokens)
        clean = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return _cleaned(text) if clean else text

    def batch_decode(
        self,
        sequences: Iterable[Sequence[int]] | Tensor,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        """Return the text of each row of ids, as `decode` does; no rows give no texts."""
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in sequences]

    @overload
    def convert_ids_to_tokens(self, ids: int) -> str: ...

    @overload
    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]: ...

    def convert_ids_to_tokens(self, ids: int | Iterable[int]) -> str | list[str]:
        """Return the word piece of an id, or of each."""
        if isinstance(ids, int):
            return str(self._tokenizer.id_to_token(ids))
        return [str(self._tokenizer.id_to_token(int(token))) for token in ids]

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...  # type: ignore[overload-overlap]

    @overload
    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]: ...

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> int | list[int]:
        """Return the id of a word piece, or of each; one that does not exist has the id of [UNK]."""
        if isinstance(tokens, str):
            found = self._tokenizer.token_to_id(tokens)
            return self.unk_token_id if found is None else int(found)
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def get_vocab(self) -> dict[str, int]:
        """Return every token with its id."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return vocabulary

    @property
    def vocab_size(self) -> int:
        """Number of tokens, without those added after training."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def all_special_tokens(self) -> list[str]:
        """The five special tokens."""
        return [self.unk_token, self.sep_token, self.pad_token, self.cls_token, self.mask_token]

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of the five special tokens."""
        return [self.unk_token_id, self.sep_token_id, self.pad_token_id, self.cls_token_id, self.mask_token_id]

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json` into a folder, which is made if need be."""
        folder = Path(save_directory)
        with atomic_path(folder / TOKENIZER_FILE) as temporary:
            self._tokenizer.save(str(temporary), pretty=True)
        write_json(folder / TOKENIZER_CONFIG_FILE, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return what `tokenizer_config.json` holds."""
        settings = dict(self._settings)
        if not self.clean_up_tokenization_spaces:
            settings.pop("clean_up_tokenization_spaces")
        return settings | {"backend": "tokenizers", "tokenizer_class": "BertTokenizer"}

    def __repr__(self) -> str:
        limit = "none" if self.model_max_length >= NO_LIMIT else self.model_max_length
        return f"{type(self).__name__}(vocab_size={self.vocab_size}, model_max_length={limit})"

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise CheckpointError(f"The special token {token!r} is not in the vocabulary of {len(self)} tokens.")
        return int(found)

    def _warn_if_long(self, tokens: Sequence[TokenRow], options: TextOptions) -> None:
        longest = max((len(row.ids) for row in tokens), default=0)
        if longest > self.model_max_length and not options.get("truncation") and options.get("max_length") is None:
            logger.warning(
                "A text has %d tokens, more than the %d that the model reads.", longest, self.model_max_length
            )


def _rows(text: Any, *, is_split: bool) -> tuple[list[Any], bool]:
    """Return the texts (or lists of words) and whether a single one was given."""
    if isinstance(text, str) and not is_split:
        return [text], True
    if isinstance(text, list | tuple):
        if is_split and text and all(isinstance(word, str) for word in text):
            return [list(text)], True
        rows = [list(row) if is_split and isinstance(row, list | tuple) else row for row in text]
        if rows and all(isinstance(row, list if is_split else str) for row in rows):
            return rows, False
        if not rows:
            raise PromptError("There is no text: the list is empty. Give a text or a list of texts.")
    wanted = "a list of words, or a list of such lists" if is_split else "a string or a list of strings"
    raise PromptError(f"The text must be {wanted}, got {type(text).__name__}: {text!r:.80}.")


def _row(encoding: Encoding) -> TokenRow:
    return TokenRow(encoding.ids, encoding.type_ids, encoding.offsets, encoding.special_tokens_mask)


def _cleaned(text: str) -> str:
    for spaced in _SPACED:
        text = text.replace(spaced, "'" if spaced == " ' " else spaced[1:])
    return text


def _normalizer(settings: Mapping[str, Any]) -> normalizers.BertNormalizer:
    values = _NORMALISATION | {key: settings[key] for key in _NORMALISATION if key in settings}
    return normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=values["tokenize_chinese_chars"],
        strip_accents=values["strip_accents"],
        lowercase=values["do_lower_case"],
    )


def _engine(vocabulary: dict[str, int], settings: Mapping[str, Any], source: str) -> Tokenizer:
    special = {name: str(settings.get(name, token)) for name, token in _SPECIAL_TOKENS.items()}
    if missing := [token for token in special.values() if token not in vocabulary]:
        raise CheckpointError(
            f"The vocabulary {source!r} of {len(vocabulary)} tokens lacks {missing[0]!r}. It must have one token a "
            "line, with [PAD], [UNK], [CLS], [SEP] and [MASK] among them."
        )
    engine = Tokenizer(WordPiece(vocabulary, unk_token=special["unk_token"], max_input_chars_per_word=100))
    engine.normalizer = _normalizer(settings)
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    engine.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    engine.post_processor = _template(vocabulary, settings)
    engine.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special.values()])
    return engine


def _template(vocabulary: Mapping[str, int], settings: Mapping[str, Any]) -> processors.TemplateProcessing:
    first, last = (str(settings.get(name, _SPECIAL_TOKENS[name])) for name in ("cls_token", "sep_token"))
    return processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0",
        pair=f"{first}:0 $A:0 {last}:0 $B:1 {last}:1",
        special_tokens=[(first, vocabulary[first]), (last, vocabulary[last])],
    )


def _read_engine(path: Path | None, settings: Mapping[str, Any]) -> Tokenizer:
    try:
        engine = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for a file that it cannot read
        raise CheckpointError(f"{str(path)!r} is not a readable tokenizer ({error}). Download it again.") from error
    # older files keep the padding and cutting of their last call
    engine.no_padding()
    engine.no_truncation()
    if engine.decoder is None:
        engine.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    if settings.keys() & _NORMALISATION.keys() and isinstance(engine.normalizer, normalizers.BertNormalizer):
        written = json.loads(engine.normalizer.__getstate__())
        own = {
            "do_lower_case": written["lowercase"],
            "strip_accents": written["strip_accents"],
            "tokenize_chinese_chars": written["handle_chinese_chars"],
        }
        engine.normalizer = _normalizer(own | dict(settings))
    return engine


def _saved_settings(location: Location) -> dict[str, Any]:
    """Return the settings in a checkpoint's files that groundling knows; special tokens as plain text."""
    found: dict[str, Any] = {}
    for filename in (SPECIAL_TOKENS_FILE, TOKENIZER_CONFIG_FILE):
        path = location.find(filename)
        if path is not None:
            found |= {key: value for key, value in read_json(path).items() if key in SETTINGS}
    for name in _SPECIAL_TOKENS:
        if isinstance(found.get(name), Mapping):
            found[name] = found[name]["content"]
        elif name in found and found[name] is None:
            del found[name]
    return found
