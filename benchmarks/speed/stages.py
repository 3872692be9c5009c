"""Charging time, operations and memory traffic to the stages of our model, by hooks on its modules.

What is measured between two hooks belongs to the innermost stage that has begun and not ended, so the stages add up to
the whole, and it does not matter how often a stage calls its parts.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from groundling.model.bert import Bert
from groundling.model.cross_modality_decoder import CrossModalityDecoder
from groundling.model.feature_enhancer import FeatureEnhancer, ImageSelfAttention, ImageTextFusion, TextSelfAttention
from groundling.model.image_projection import ImageProjection
from groundling.model.layers import DeformableAttention, FeedForward, MultiHeadAttention
from groundling.model.query_selection import LanguageGuidedQuerySelection
from groundling.model.swin import PatchEmbedding

REST = "rest"
"""What happens between the stages: positions, flattening, gathering the output."""

STAGES: tuple[tuple[type[nn.Module], str, str], ...] = (
    (PatchEmbedding, "", "image backbone: patches"),
    (ImageProjection, "", "image projection"),
    (Bert, "", "text backbone"),
    (ImageTextFusion, "", "enhancer: fusion"),
    (TextSelfAttention, "", "enhancer: text"),
    (DeformableAttention, "feature_enhancer", "enhancer: deformable attention, sampling"),
    (FeedForward, "image_self_attention", "enhancer: feed-forward"),
    (ImageSelfAttention, "", "enhancer: norms and sums of the image"),
    (FeatureEnhancer, "", "enhancer: rest"),
    (LanguageGuidedQuerySelection, "", "query selection"),
    (MultiHeadAttention, "decoder", "decoder: attention"),
    (DeformableAttention, "decoder", "decoder: deformable attention, sampling"),
    (FeedForward, "decoder", "decoder: feed-forward"),
    (CrossModalityDecoder, "", "decoder: rest"),
)
"""Class of a module, part of its name in the model (empty for any), and the stage that it is."""


def stage_of(name: str, module: nn.Module, parents: dict[str, nn.Module]) -> str | None:
    """Return the stage that begins with a module, None where the module belongs to the one that calls it.

    Args:
        name: the module's name in the model, such as "model.decoder.layers.0.feed_forward".
        module: the module.
        parents: all modules by name.
    """
    path = name.split(".")
    if "stages" in path[:-1] and (path[-2] == "stages" or path[-1] == "downsample"):
        return f"image backbone: stage {int(path[path.index('stages') + 1]) + 1}"
    if name.startswith(("box_heads.", "contrastive_heads.")) and len(path) == 2:
        return "heads"
    if path[-1] == "text_projection":
        return "text backbone"
    if isinstance(parents.get(".".join(path[:-1])), DeformableAttention):
        return f"{'decoder' if 'decoder' in path else 'enhancer'}: deformable attention, projections"
    for kind, part, stage in STAGES:
        if isinstance(module, kind) and (not part or part in path):
            return stage
    return None


class Account:
    """Charges what a clock reads to stages.

    Args:
        read: returns a number that only grows, such as seconds or operations.
    """

    def __init__(self, read: Callable[[], float]) -> None:
        self.read = read
        self.charged: dict[str, float] = defaultdict(float)
        self.open: list[str] = [REST]
        self.last = read()

    def begin(self, stage: str) -> None:
        """Begin a stage; until it ends, what is read belongs to it."""
        self._charge()
        self.open.append(stage)

    def end(self) -> None:
        """End the stage that was begun last."""
        self._charge()
        self.open.pop()

    def close(self) -> dict[str, float]:
        """Charge what is left and return all."""
        self._charge()
        return dict(self.charged)

    def _charge(self) -> None:
        now = self.read()
        self.charged[self.open[-1]] += now - self.last
        self.last = now


@contextmanager
def hooked(model: nn.Module, account: Account, traffic: "Traffic | None" = None) -> Iterator[None]:
    """Charge an account, and count traffic, while the model runs inside the block."""
    modules = dict(model.named_modules())
    stages = {module: stage for name, module in modules.items() if (stage := stage_of(name, module, modules))}
    with ExitStack() as hooks:
        for module, stage in stages.items():
            weights = list(own_weights(module, stages.keys()))
            before, after = _hooks(stage, weights, account, traffic)
            hooks.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            hooks.callback(module.register_forward_hook(after).remove)
        yield


def own_weights(module: nn.Module, stages: Collection[nn.Module]) -> Iterator[Tensor]:
    """Yield the weights of a stage that no stage within it has, without embeddings: few of their rows are read."""
    if not isinstance(module, nn.Embedding):
        yield from module.parameters(recurse=False)
    for part in module.children():
        if part not in stages:
            yield from own_weights(part, stages)


def _hooks(
    stage: str, weights: list[Tensor], account: Account, traffic: "Traffic | None"
) -> tuple[Callable[..., None], Callable[..., None]]:
    def before(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if traffic is not None:
            traffic.add(stage, module, [*tensors(arguments), *tensors(tuple(keywords.values())), *weights])
        account.begin(stage)

    def after(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        del arguments
        account.end()
        if traffic is not None:
            traffic.add(stage, module, tensors(output))

    return before, after


class Traffic:
    """Counts the bytes that a stage cannot avoid: its inputs, its weights and its outputs, each once.

    What was seen is kept until the end, so that no new tensor takes an old one's address.
    """

    def __init__(self) -> None:
        self.bytes: dict[str, int] = defaultdict(int)
        self.seen: dict[tuple[int, int, int], Tensor] = {}

    def add(self, stage: str, module: nn.Module, found: list[Tensor]) -> None:
        """Count tensors that enter or leave a module, if they are new to it."""
        for x in found:
            key = (id(module), x.data_ptr(), x.numel())
            if key not in self.seen:
                self.seen[key] = x
                self.bytes[stage] += x.numel() * x.element_size()


def tensors(value: Any) -> list[Tensor]:
    """Return the tensors of arguments or results; of a bundle of features only its first field, the tokens."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return tensors(value[0])
    if isinstance(value, tuple | list):
        return [x for part in value for x in tensors(part)]
    return []
