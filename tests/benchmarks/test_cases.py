import pytest
from benchmarks.speed.cases import CASES, GROUPS, CaseError, choose_cases

DEFAULT = {name for name, case in CASES.items() if "all" in case.groups and "cpu" in case.devices}


def names(*patterns: str, groups: tuple[str, ...] = (), device: str = "cpu") -> set[str]:
    return {case.name for case in choose_cases(patterns, groups, device)}


def test_nothing_asked_for_is_everything_that_is_not_slow() -> None:
    assert names() == DEFAULT
    assert not {"tiny", "labels-1203-swin_t"} & DEFAULT


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_has_cases(group: str) -> None:
    assert all(group in CASES[name].groups for name in names(groups=(group,)))
    assert names(groups=(group,))


def test_names_and_patterns() -> None:
    assert names("tiny", "labels-*") == {"tiny", "labels-1203-swin_t"}
    assert names("forward-swin_t-*x*-9tokens-*") == {
        f"forward-swin_t-{size}-9tokens-batch{batch}" for size in ("480x640", "800x1066") for batch in (1, 4)
    }


def test_a_device_has_its_own_batches() -> None:
    assert names("forward-swin_b-480x640-64tokens-*", device="cuda") == {
        f"forward-swin_b-480x640-64tokens-batch{batch}" for batch in (1, 16)
    }
    assert names("preprocessing", device="cuda") == {"preprocessing"}, "a case that is named is measured"


@pytest.mark.parametrize("pattern", [pytest.param("", id="empty"), "forward", "no-*"])
def test_a_case_that_does_not_exist(pattern: str) -> None:
    with pytest.raises(CaseError, match=r"no case '.*'\. Cases: forward-.*, tiny\."):
        names(pattern)


def test_a_group_that_does_not_exist() -> None:
    with pytest.raises(CaseError, match=r"no group 'fast'\. Groups: quick, goals, "):
        names(groups=("fast",))
