"""The entry point of `python -m benchmarks.speed`."""

import sys

from benchmarks.speed.command import run

sys.exit(run(sys.argv[1:]))
