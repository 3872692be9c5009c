"""Language-guided query selection (section 3.2 of the paper): the words choose where the decoder looks first.

Shapes: B image, S image token, T text token, Q query, D width.
"""

from torch import Tensor, nn

from groundling.model.heads import ContrastiveHead, box_head
from groundling.model.layers import Linear
from groundling.ops.chunks import in_chunks
from groundling.ops.reference_points import proposal_boxes, proposal_logits
from groundling.structures.features import ImageFeatures, Prediction, Proposals, Queries, TextFeatures


class LanguageGuidedQuerySelection(nn.Module):
    """Choose the image tokens that fit the words best, and make queries of them.

    A query's box is the chosen token's proposal; its content is learned and belongs to its rank.

    Args:
        width: width of image and text tokens.
        num_queries: how many tokens are chosen; all of them when a picture has fewer.
        norm_eps: epsilon of the norm.
        contrastive_head: similarity of image tokens with text tokens.
    """

    def __init__(self, *, width: int, num_queries: int, norm_eps: float, contrastive_head: ContrastiveHead) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.memory_projection = Linear(width, width)
        self.memory_norm = nn.LayerNorm(width, eps=norm_eps)
        self.contrastive_head = contrastive_head
        self.box_head = box_head(width)
        self.query_embedding = nn.Embedding(num_queries, width)

    def forward(self, image: ImageFeatures, text: TextFeatures) -> tuple[Queries, Proposals]:
        """Return the queries, best first, and what every image token proposed.

        Args:
            image: enhanced image tokens.
            text: enhanced text tokens.
        """
        proposal_BS4 = proposal_logits(proposal_boxes(image.level_shapes, image.valid_BS), image.valid_BS)
        usable_BS1 = proposal_BS4.isfinite().all(dim=-1, keepdim=True)
        memory_BSD = self.memory_norm(self.memory_projection(image.token_BSD.masked_fill(~usable_BS1, 0.0)))
        logit_BST = self.contrastive_head(memory_BSD, text.token_BTD, text.valid_BT)
        index_BQ = logit_BST.amax(dim=-1).topk(min(self.num_queries, logit_BST.shape[1]), dim=1).indices
        batch, queries = index_BQ.shape

        selected_BQD = memory_BSD.gather(1, index_BQ[..., None].expand(-1, -1, memory_BSD.shape[-1]))
        start_BQ4 = proposal_BS4.gather(1, index_BQ[..., None].expand(-1, -1, 4))
        box_BQ4 = (self.box_head(selected_BQD).float() + start_BQ4).sigmoid()
        proposals = Proposals(logit_BST, memory_BSD, proposal_BS4, index_BQ, box_BQ4)
        content_BQD = self.query_embedding.weight[:queries].expand(batch, -1, -1)
        return Queries(content_BQD, proposals.box_BQ4.detach()), proposals

    def every_box(self, proposals: Proposals) -> Tensor:
        """Return the inverse sigmoid of the box that each image token proposes, selected or not, [B, S, 4] float32.

        It is +inf where a token is padding or at the border.
        """
        return in_chunks(self.box_head, proposals.memory_BSD).float() + proposals.start_BS4

    def predict(self, queries: Queries, proposals: Proposals, text: TextFeatures) -> Prediction:
        """Return the selection as a prediction, for the encoder's loss.

        As documented, it scores the learned contents against the text before the enhancer. Gradients of its boxes reach
        the head that proposed them.
        """
        logit_BQT = self.contrastive_head(queries.content_BQD, text.token_BTD, text.valid_BT)
        return Prediction(logit_BQT, proposals.box_BQ4)
