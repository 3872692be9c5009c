"""The benchmark is a package of the repository, not of the wheel: its tests run from the repository's root."""

import sys

from contracts.conftest import ROOT

sys.path.insert(0, str(ROOT))
