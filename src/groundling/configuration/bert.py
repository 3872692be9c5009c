"""The text backbone's sizes (BERT, Devlin et al. 2019)."""

from typing import ClassVar

from groundling.configuration import checks
from groundling.configuration.base import Config


class BertConfig(Config):
    """Sizes of a BERT encoder."""

    model_type: ClassVar[str] = "bert"

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    use_cache: bool = True
    classifier_dropout: float | int | None = None
    is_decoder: bool = False
    add_cross_attention: bool = False
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    tie_word_embeddings: bool = True

    def validate(self) -> None:
        """Check sizes against each other.

        Raises:
            ConfigError: a size is out of range or does not fit another.
        """
        name = "BertConfig"
        checks.at_least(
            name,
            1,
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            max_position_embeddings=self.max_position_embeddings,
            type_vocab_size=self.type_vocab_size,
        )
        checks.at_least(name, 0, num_hidden_layers=self.num_hidden_layers)
        checks.at_most(name, 1000, num_hidden_layers=self.num_hidden_layers)
        checks.at_most(name, 2**20, hidden_size=self.hidden_size, intermediate_size=self.intermediate_size)
        checks.at_most(name, 2**24, vocab_size=self.vocab_size, max_position_embeddings=self.max_position_embeddings)
        checks.probability(
            name,
            hidden_dropout_prob=self.hidden_dropout_prob,
            attention_probs_dropout_prob=self.attention_probs_dropout_prob,
        )
        checks.positive(name, layer_norm_eps=self.layer_norm_eps)
        checks.one_of(name, "hidden_act", self.hidden_act, checks.ACTIVATIONS)
        checks.divisible(name, "hidden_size", self.hidden_size, "num_attention_heads", self.num_attention_heads)
