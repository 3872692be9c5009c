"""From a case's kind to the function that makes its contenders."""

from collections.abc import Callable

from benchmarks.speed.caches import caches, labels
from benchmarks.speed.cases import Case
from benchmarks.speed.contenders import Models, Workload
from benchmarks.speed.forward import forward
from benchmarks.speed.pictures import end_to_end, postprocessing, preprocessing
from benchmarks.speed.start import first_box, importing
from benchmarks.speed.training import training

KINDS: dict[str, Callable[[Case, Models], Workload]] = {
    "forward": forward,
    "training": training,
    "preprocessing": preprocessing,
    "postprocessing": postprocessing,
    "end_to_end": end_to_end,
    "caches": caches,
    "labels": labels,
    "import": importing,
    "first_box": first_box,
}
