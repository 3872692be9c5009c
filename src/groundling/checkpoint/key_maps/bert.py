"""The text backbone's names, which are the same in every layout but for the prefix."""

from groundling.checkpoint.rules import Rule, rule, rules_below

_OURS = "model.text_backbone"

# Before 2019 BERT's layer norms were called so; some files still carry it.
LEGACY_SPELLINGS = ((r"\bLayerNorm\.gamma$", "LayerNorm.weight"), (r"\bLayerNorm\.beta$", "LayerNorm.bias"))

_LAYER = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.fc1": "intermediate.dense",
    "feed_forward.fc2": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}


def bert_rules(theirs: str) -> tuple[Rule, ...]:
    """Return the table of a BERT encoder whose names begin with `theirs` in the file."""
    return (
        rule(f"{_OURS}.word_embedding.weight", f"{theirs}.embeddings.word_embeddings.weight"),
        rule(f"{_OURS}.position_embedding.weight", f"{theirs}.embeddings.position_embeddings.weight"),
        rule(f"{_OURS}.token_type_embedding.weight", f"{theirs}.embeddings.token_type_embeddings.weight"),
        rule(f"{_OURS}.embedding_norm.*", f"{theirs}.embeddings.LayerNorm.*"),
        *rules_below(f"{_OURS}.layers.{{k}}", f"{theirs}.encoder.layer.{{k}}", _LAYER),
    )
