"""Which of the processes of a run this is, before the run has begun."""

import os


def is_main_process() -> bool:
    """Say whether this is the only process, or the first one that torchrun or accelerate has started."""
    return int(os.environ.get("RANK", "0")) == 0
