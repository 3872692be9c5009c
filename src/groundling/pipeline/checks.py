"""What a detector is put together from is checked before anything is computed."""

from groundling.configuration import DetectorConfig
from groundling.errors import CheckpointError
from groundling.processing.tokenizer import GroundingDinoTokenizer
from groundling.structures.prompt import DELIMITER_IDS


def check_vocabulary(tokenizer: GroundingDinoTokenizer, config: DetectorConfig) -> None:
    """Refuse a tokenizer of another model: the phrases of a prompt are found by fixed ids.

    Raises:
        CheckpointError: its separators have other ids, or it has more words than the model.
    """
    marks = ["[CLS]", "[SEP]", ".", "?"]
    ids = tuple(tokenizer.convert_tokens_to_ids(marks))
    if ids != DELIMITER_IDS:
        raise CheckpointError(
            f"The tokenizer gives {', '.join(marks)} the ids {ids}, but the model needs {DELIMITER_IDS}. "
            "Use the tokenizer of the checkpoint."
        )
    if tokenizer.vocab_size > config.text_config.vocab_size:
        raise CheckpointError(
            f"The tokenizer has {tokenizer.vocab_size} words, but the model knows {config.text_config.vocab_size}. "
            "Use the tokenizer of the checkpoint."
        )
