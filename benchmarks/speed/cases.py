"""What can be measured: names, sizes and groups. Nothing heavy is imported here, so that `--list` answers at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product


class CaseError(Exception):
    """A case or a group that does not exist was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing to measure, always with ours and the reference side by side.

    Attributes:
        name: what `--case` calls it.
        kind: which file makes its contenders; see `kinds.py`.
        preset: configuration of `groundling.configuration.presets`.
        height: of the picture that the model reads, in pixels.
        width: likewise.
        tokens: length of the prompt with [CLS], [SEP] and separators; see `prompts.py`.
        batch: pictures at a time.
        dtypes: number formats of its contenders; empty takes all that the device computes well.
        file_hw: height and width of the JPEG file where the case begins with one.
        devices: where it makes sense.
        gibibytes: about what all its contenders together need; it is left out where there is less.
        groups: what `--group` calls it together with others.
    """

    name: str
    kind: str
    preset: str = "swin_t"
    height: int = 800
    width: int = 1066
    tokens: int = 9
    batch: int = 1
    dtypes: tuple[str, ...] = ()
    file_hw: tuple[int, int] = (3000, 4000)
    devices: tuple[str, ...] = ("cpu", "cuda")
    gibibytes: float = 8.0
    groups: frozenset[str] = frozenset({"all"})


SIZES = ((480, 640), (800, 1066))
TOKENS = (9, 64, 195)
BATCHES = {1: ("cpu", "cuda"), 4: ("cpu",), 16: ("cuda",)}
QUICK = ("forward-swin_t-480x640-9tokens-batch1", "preprocessing", "postprocessing", "import", "first-box-nano")
GOALS = (
    "forward-swin_t-800x1066-9tokens-batch1",
    "forward-swin_t-800x1066-195tokens-batch1",
    "training-swin_t-480x640-batch2",
    "caches-swin_t-800x1066",
    "preprocessing",
    "postprocessing",
    "end-to-end-swin_t",
    "import",
    "first-box-nano",
)
GROUPS = {
    "quick": "a few minutes: one forward, pre- and post-processing, start",
    "goals": "the cases that the goals of docs/performance.md are about",
    "forward": "the model alone, in all sizes",
    "all": "everything but the slow ones (the default)",
    "slow": "what takes tens of minutes on a CPU",
    "tiny": "a model of random weights that needs seconds: to try the benchmark itself",
}


def _forward_cases() -> Iterable[Case]:
    for preset, (height, width), tokens, batch in product(("swin_t", "swin_b"), SIZES, TOKENS, BATCHES):
        yield Case(
            name=f"forward-{preset}-{height}x{width}-{tokens}tokens-batch{batch}",
            kind="forward",
            preset=preset,
            height=height,
            width=width,
            tokens=tokens,
            batch=batch,
            devices=BATCHES[batch],
            gibibytes=3.5 + 2.0 * batch * height * width / (800 * 1066),
            groups=frozenset({"all", "forward"}),
        )


def _grouped(case: Case) -> Case:
    added = {name for name, members in (("quick", QUICK), ("goals", GOALS)) if case.name in members}
    return replace(case, groups=case.groups | added)


def _all_cases() -> dict[str, Case]:
    cases = [
        *_forward_cases(),
        Case(
            name="training-swin_t-480x640-batch2",
            kind="training",
            height=480,
            width=640,
            batch=2,
            dtypes=("float32",),
            gibibytes=15.0,
        ),
        Case(name="caches-swin_t-800x1066", kind="caches"),
        Case(name="end-to-end-swin_t", kind="end_to_end"),
        Case(name="preprocessing", kind="preprocessing", dtypes=("float32",), devices=("cpu",), gibibytes=2.0),
        Case(name="postprocessing", kind="postprocessing", dtypes=("float32",), devices=("cpu",), gibibytes=1.0),
        Case(name="import", kind="import", dtypes=("float32",), devices=("cpu",), gibibytes=1.0),
        Case(name="first-box-nano", kind="first_box", dtypes=("float32",), devices=("cpu",), gibibytes=1.0),
        Case(name="labels-1203-swin_t", kind="labels", groups=frozenset({"slow"})),
        Case(
            name="tiny", kind="forward", preset="tiny", height=96, width=128, gibibytes=0.5, groups=frozenset({"tiny"})
        ),
    ]
    return {case.name: _grouped(case) for case in cases}


CASES = _all_cases()


def choose_cases(patterns: Sequence[str], groups: Sequence[str], device: str) -> list[Case]:
    """Return the cases that were asked for, each once, in the order of the list.

    Args:
        patterns: names, or patterns such as "forward-swin_t-*".
        groups: names of `GROUPS`; with neither patterns nor groups "all" is meant.
        device: "cpu" or "cuda"; a case of a group or pattern is left out where it makes no sense.

    Raises:
        CaseError: a pattern fits no case, or there is no such group.
    """
    for group in groups:
        if group not in GROUPS:
            raise CaseError(f"There is no group {group!r}. Groups: {', '.join(GROUPS)}.")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in CASES):
            raise CaseError(f"There is no case {pattern!r}. Cases: {', '.join(CASES)}.")
    wanted = set(groups) if patterns or groups else {"all"}
    return [
        case
        for case in CASES.values()
        if case.name in patterns
        or (
            device in case.devices
            and (case.groups & wanted or any(fnmatchcase(case.name, pattern) for pattern in patterns))
        )
    ]
