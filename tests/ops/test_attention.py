import torch

from groundling.ops.attention import attention, attention_weights


def test_weights_are_those_that_attention_uses() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 4) for length in (5, 6, 6))
    allowed = torch.rand(2, 1, 5, 6) > 0.4
    allowed[..., 0] = True
    added = torch.randn(1, 3, 5, 6)
    for mask in (None, allowed, added):
        weights = attention_weights(query, key, mask)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5))
        torch.testing.assert_close(weights @ value, attention(query, key, value, mask, 0.0))
    assert (attention_weights(query, key, allowed)[~allowed.expand(2, 3, 5, 6)] == 0).all()
