"""Whatever happens while a state is written, the last good one stays and is found again."""

import errno
import logging
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from groundling import CheckpointError
from groundling.train.states import load_state, save_state


def state(number: int) -> dict[str, Any]:
    return {"weights": torch.full((50_000,), float(number)), "name": "run"}


def saved_steps(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_there_is_no_state_before_the_first(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None


def test_the_last_two_states_are_kept(tmp_path: Path) -> None:
    for step in (1, 5, 12):
        save_state(tmp_path, step, state(step))
    assert saved_steps(tmp_path) == ["step-00000005.pt", "step-00000012.pt"]
    found = load_state(tmp_path)
    assert found is not None
    assert found["step"] == 12
    assert torch.equal(found["weights"], state(12)["weights"])


def full_disk(content: object, path: Path) -> None:
    path.write_bytes(b"half of a state")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_states_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path, 1, state(1))
    save_state(tmp_path, 2, state(2))
    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(CheckpointError, match=r"step-00000003.pt could not be written \(No space left on device\)"):
        save_state(tmp_path, 3, state(3))
    assert saved_steps(tmp_path) == ["step-00000001.pt", "step-00000002.pt"]
    assert load_state(tmp_path)["step"] == 2  # type: ignore[index]


def test_a_writer_that_may_not_go_on_leaves_the_states_before(tmp_path: Path) -> None:
    """The system refuses bytes in the middle of the file, as a full disk does; torch reports it in its own way."""
    save_state(tmp_path, 1, state(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"could not be written .* Is the disk full\?"):
            save_state(tmp_path, 2, state(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert saved_steps(tmp_path) == ["step-00000001.pt"]
    assert load_state(tmp_path)["step"] == 1  # type: ignore[index]


def test_a_writer_killed_half_way_leaves_the_states_before(tmp_path: Path) -> None:
    save_state(tmp_path, 1, state(1))
    child = os.fork()
    if child == 0:  # pragma: no cover  (the process that dies)

        def die(content: object, path: Path) -> None:
            path.write_bytes(b"half of a state")
            os.kill(os.getpid(), signal.SIGKILL)

        torch.save = die
        save_state(tmp_path, 2, state(2))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert load_state(tmp_path)["step"] == 1  # type: ignore[index]
    save_state(tmp_path, 2, state(2))
    assert load_state(tmp_path)["step"] == 2  # type: ignore[index]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(cut, id="cut off"),
        pytest.param(lambda content: b"<html>" + content[6:], id="another beginning"),
        pytest.param(lambda content: b"\0" * len(content), id="zeros"),
        pytest.param(lambda content: content[:-1], id="last byte"),
        pytest.param(flipped, id="one wrong byte"),
    ],
)
def test_a_damaged_state_is_named_and_the_one_before_is_used(
    tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    save_state(tmp_path, 1, state(1))
    newest = save_state(tmp_path, 2, state(2))
    newest.write_bytes(damage(newest.read_bytes()))
    with caplog.at_level(logging.WARNING):
        found = load_state(tmp_path)
    assert found is not None
    assert found["step"] == 1
    assert torch.equal(found["weights"], state(1)["weights"])
    assert "step-00000002.pt is damaged and left out" in caplog.text


def test_a_damaged_state_of_later_does_not_push_out_good_ones(tmp_path: Path) -> None:
    for step in (10, 20):
        newest = save_state(tmp_path, step, state(step))
    newest.write_bytes(b"")
    save_state(tmp_path, 15, state(15))
    assert saved_steps(tmp_path) == ["step-00000010.pt", "step-00000015.pt"]


def test_nothing_but_damaged_states_is_an_error(tmp_path: Path) -> None:
    save_state(tmp_path, 1, state(1)).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"None of the 1 checkpoints in .* can be read: they are damaged"):
        load_state(tmp_path)


def test_a_file_that_is_no_state_is_left_out(tmp_path: Path) -> None:
    save_state(tmp_path, 1, state(1))
    torch.save([1, 2, 3], tmp_path / "checkpoints" / "step-00000009.pt")
    assert load_state(tmp_path)["step"] == 1  # type: ignore[index]
