"""Models that are faster from the second picture of a size on: recorded CUDA graphs."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial, wraps
from types import MethodType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from groundling.model.grounding_dino import GroundingDinoForObjectDetection
from groundling.ops.features import pad_text
from groundling.structures.features import ImageFeatures, Prediction, TextFeatures

logger = logging.getLogger(__name__)

MOST_GRAPHS = 12
"""Three stages in four sizes. Graphs share the memory of what lies between and keep only their inputs and outputs."""

MOST_SEEN = 1000
"""Shapes that are remembered for a second time."""

TEXT_MULTIPLE = 16
"""Prompts are padded to a multiple of so many tokens before they meet a picture, so that they share graphs."""

STAGES = ("encode_image", "encode_text", "ground")

Function = Callable[..., Any]


class Capture(Protocol):
    """What turns a function that always reads and writes the same memory into a graph."""

    def __call__(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Return what computes the function again: into the tensors of its first result, which it returns."""

    def turn(self) -> AbstractContextManager[None]:
        """Return the context in which that memory is read and written, one turn after the other."""


def compile_for_inference(model: GroundingDinoForObjectDetection) -> None:
    """Replace methods of a model on CUDA by recorded graphs with the same results; see `Detector`.

    They are used only without gradients and in evaluation mode. The weights must not be changed afterwards. On other
    devices nothing is changed: on the CPU where it was measured, compiled parts were not clearly faster than the plain
    ones.

    Args:
        model: on the device and in the number format in which it is going to be used.
    """
    if model.device.type == "cuda":
        replay_graphs(model)
    else:
        logger.warning("compile=True changes nothing on the device %r: it is for CUDA.", model.device.type)


class GraphCache:
    """Runs functions of tensors as recorded graphs, one for each combination of shapes.

    What comes in shapes that are new is run as it is: many pictures have a size of their own, and to record one costs
    several runs. At the second time it is recorded, and from then on replayed. The graphs used last are kept.

    A graph reads and writes memory of its own. So inputs are copied into it and results out of it, and one thread at a
    time replays.

    Args:
        capture: makes the graphs.
        most: how many are kept.
    """

    def __init__(self, capture: Capture, most: int = MOST_GRAPHS) -> None:
        self._capture = capture
        self._most = most
        self._lock = threading.RLock()
        self._recording = False
        self._seen: OrderedDict[Hashable, None] = OrderedDict()
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()

    def run(self, state: Hashable, function: Function, *inputs: Any, **named: Any) -> Any:
        """Call the function or replay its graph.

        Args:
            state: equal for calls that differ in their inputs only.
            function: it takes and returns tensors, within tuples or with plain values beside them.
            *inputs: arguments.
            **named: keyword arguments.
        """
        given = (inputs, named)
        key = (state, tuple(named), *map(_kind, tree_leaves(given)))
        with self._lock:
            if not self._recording:  # a stage within a stage that is recorded becomes part of that one
                if key in self._graphs or key in self._seen:
                    return self._replay(key, function, given)
                self._seen[key] = None
                if len(self._seen) > MOST_SEEN:
                    self._seen.popitem(last=False)
        return function(*inputs, **named)

    def _replay(self, key: Hashable, function: Function, given: "_Arguments") -> Any:
        if key not in self._graphs:
            self._graphs[key] = self._record(function, given)
            if len(self._graphs) > self._most:  # its memory is idle: to record, all work of the device was waited for
                self._graphs.popitem(last=False)
        self._graphs.move_to_end(key)
        graph = self._graphs[key]
        with self._capture.turn():
            for own, new in zip(tree_leaves(graph.arguments), tree_leaves(given), strict=True):
                if isinstance(own, Tensor):
                    own.copy_(new)
            return _copied(graph.replay())

    def _record(self, function: Function, given: "_Arguments") -> "_Graph":
        inputs, named = own = _copied(given)
        self._recording = True
        try:
            return _Graph(own, self._capture(partial(function, *inputs, **named)))
        finally:
            self._recording = False


_Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class _Graph(NamedTuple):
    """A graph with its memory.

    Attributes:
        arguments: what it reads.
        replay: computes and returns what it writes.
    """

    arguments: _Arguments
    replay: Callable[[], Any]


class CudaCapture:
    """Makes CUDA graphs, which share their memory: they never run at the same time.

    Args:
        device: where they run.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._pool: Any = torch.cuda.graph_pool_handle()
            self._last_turn = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def __call__(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Record a function."""
        with torch.cuda.device(self._device):
            stream, current = torch.cuda.Stream(), torch.cuda.current_stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                function()  # lets libraries and Triton make ready what they need, which cannot be recorded
            current.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # Other threads may go on with what a recording thread must not do, such as taking memory from the driver.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                result = function()

        def replay() -> Any:
            graph.replay()
            return result

        return replay

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let this thread's stream wait for the turn before, which may have been on another one."""
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream()
            stream.wait_event(self._last_turn)
            try:
                yield
            finally:
                self._last_turn.record(stream)


def replay_graphs(
    model: GroundingDinoForObjectDetection, capture: Capture | None = None, stages: Sequence[str] = STAGES
) -> None:
    """Let the stages of this model be replayed from graphs.

    Args:
        model: on a CUDA device, if there is no other capture.
        capture: makes the graphs; None is `CudaCapture`.
        stages: names of methods that take and return tensors and never wait for the device.
    """
    device = model.device
    graphs = GraphCache(CudaCapture(device) if capture is None else capture)

    def replayed(plain: Function) -> Function:
        def method(model: GroundingDinoForObjectDetection, *inputs: Any, **named: Any) -> Any:
            weight = next(model.parameters())
            if weight.device != device:
                return plain(model, *inputs, **named)
            # Graphs read the weights where they were, and a converted model has others.
            state = (plain, weight.data_ptr(), weight.dtype, torch.is_inference_mode_enabled())
            return graphs.run(state, partial(plain, model), *inputs, **named)

        return method

    for name in stages:
        method = replayed(getattr(type(model), name))
        _replace(model, name, partial(_ground_padded, method) if name == "ground" else method)


def _ground_padded(
    ground: Function, model: GroundingDinoForObjectDetection, image: ImageFeatures, text: TextFeatures
) -> Prediction:
    length = text.token_BTD.shape[1]
    found: Prediction = ground(model, image, pad_text(text, length + -length % TEXT_MULTIPLE))
    return found._replace(logit_BQT=found.logit_BQT[..., :length])


def _replace(module: nn.Module, name: str, faster: Function) -> None:
    """Replace a method of one module, for evaluation without gradients; copies of the module keep the original."""
    plain = getattr(type(module), name)

    @wraps(plain)
    def method(self: nn.Module, *inputs: Any, **named: Any) -> Any:
        for_inference = self is module and not self.training and not torch.is_grad_enabled()
        as_recorded = not torch.is_autocast_enabled(next(self.parameters()).device.type)
        return (faster if for_inference and as_recorded else plain)(self, *inputs, **named)

    setattr(module, name, MethodType(method, module))


def _kind(leaf: Any) -> Hashable:
    """Say in what an input must agree with another one to be computed by the same code."""
    return (leaf.shape, leaf.stride(), leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf


def _copied(tree: Any) -> Any:
    return tree_map_only(Tensor, torch.clone, tree)
