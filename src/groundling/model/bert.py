"""Text backbone: BERT (Devlin et al. 2019) under the sub-sentence mask.

Shapes: B image, T text token, D width of the text backbone.
"""

from torch import Tensor, nn

from groundling.model.layers import FeedForward, MultiHeadAttention


class Bert(nn.Module):
    """BERT encoder without a pooler.

    Args:
        vocabulary_size: number of word embeddings.
        width: width of a token.
        max_positions: longest phrase that has position embeddings.
        num_token_types: number of token type embeddings.
        padding_id: id of the padding token, whose embedding is not trained.
        dropout: chance to drop an embedding's activation.
        norm_eps: epsilon of the embeddings' norm.
        layers: the layers.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        width: int,
        max_positions: int,
        num_token_types: int,
        padding_id: int | None,
        dropout: float,
        norm_eps: float,
        layers: "list[BertLayer]",
    ) -> None:
        super().__init__()
        self.word_embedding = nn.Embedding(vocabulary_size, width, padding_idx=padding_id)
        self.position_embedding = nn.Embedding(max_positions, width)
        self.token_type_embedding = nn.Embedding(num_token_types, width)
        self.embedding_norm = nn.LayerNorm(width, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(layers)

    def forward(self, token_BT: Tensor, token_type_BT: Tensor, position_BT: Tensor, same_phrase_BTT: Tensor) -> Tensor:
        """Return the text tokens [B, T, D].

        Args:
            token_BT: token ids.
            token_type_BT: token type ids; zeros for a single text.
            position_BT: place of each token in its phrase.
            same_phrase_BTT: True where a token may attend to another.
        """
        x_BTD: Tensor = self.word_embedding(token_BT) + self.token_type_embedding(token_type_BT)
        x_BTD = x_BTD + self.position_embedding(position_BT)
        x_BTD = self.dropout(self.embedding_norm(x_BTD))
        for layer in self.layers:
            x_BTD = layer(x_BTD, same_phrase_BTT[:, None])
        return x_BTD


class BertLayer(nn.Module):
    """Self-attention and a feed-forward network, each with a residual and a norm after it."""

    def __init__(
        self,
        *,
        width: int,
        num_heads: int,
        feed_forward_width: int,
        activation: str,
        dropout: float,
        attention_dropout: float,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width=width, num_heads=num_heads, dropout=attention_dropout)
        self.dropout = nn.Dropout(dropout)
        self.attention_norm = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward = FeedForward(
            width=width, hidden_width=feed_forward_width, activation=activation, dropout=dropout
        )
        self.feed_forward_norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, x_BTD: Tensor, mask_B1TT: Tensor) -> Tensor:
        """Return the tokens after this layer [B, T, D]."""
        attended_BTD, _ = self.attention(x_BTD, x_BTD, x_BTD, mask=mask_B1TT)
        x_BTD = self.attention_norm(self.dropout(attended_BTD) + x_BTD)
        output_BTD: Tensor = self.feed_forward_norm(x_BTD + self.feed_forward(x_BTD))
        return output_BTD
