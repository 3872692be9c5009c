"""Whether the current call is computed, or written down as a graph."""

import torch


def is_traced() -> bool:
    """Say whether a graph is being made: by torch.compile, torch.export or torch.jit.trace.

    They are handed plain operations, without the ways that depend on sizes and on this machine's processor.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
