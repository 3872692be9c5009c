"""The command line as a whole: help without heavy packages, one line for a mistake, quiet ends."""

import os
import signal
import subprocess
import sys

import pytest

from groundling import __version__
from groundling.cli import main
from groundling.cli.main import run


def groundling(*arguments, **options):
    command = [sys.executable, "-c", "from groundling.cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["--version"], ["detect", "--help"], ["info", "-h"], ["convert", "--help"]],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from groundling.cli.main import run\n"
        f"assert run({arguments!r}) == 0\n"
        "heavy = {'torch', 'numpy', 'supervision', 'PIL', 'tokenizers', 'cv2', 'scipy', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"groundling {__version__}\n"


def test_no_verb_shows_the_help(capsys):
    assert run([]) == 0
    out = capsys.readouterr().out
    for verb in ("detect", "info", "convert"):
        assert verb in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([""], "No such command ''.", id="empty word"),
        pytest.param(["detekt"], "No such command 'detekt'. Did you mean 'detect'?", id="verb"),
        pytest.param(["detect", "--thresh", "1"], "No such option: --thresh", id="option"),
        pytest.param(["--json"], "No such option: --json", id="option before the verb"),
        pytest.param(["info"], "Missing argument 'MODEL'.", id="no model"),
        pytest.param(["convert", "a"], "Missing argument 'DST'.", id="no destination"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, capsys):
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"groundling: {message}")
    assert err.count("\n") == 1


def raising(error):
    def app(**_):
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        pytest.param(KeyboardInterrupt(), 130, "", id="Ctrl-C"),
        pytest.param(
            PermissionError(13, "Permission denied", "x.png"), 2, "groundling: x.png: Permission denied\n", id="file"
        ),
        pytest.param(OSError("disk\nfull"), 2, "groundling: disk full\n", id="no file"),
        pytest.param(
            type("OutOfMemoryError", (RuntimeError,), {})("9 GiB"),
            2,
            "groundling: The device's memory is full",
            id="memory",
        ),
    ],
)
def test_errors_become_statuses(error, status, message, monkeypatch, capsys):
    monkeypatch.setattr(main, "app", raising(error))
    assert run([]) == status
    err = capsys.readouterr().err
    assert err.startswith(message)
    assert err.count("\n") == bool(message)


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(main, "app", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        run([])


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals and pipes")
def test_ctrl_c_ends_quietly():
    code = (
        "import os, signal\n"
        "from groundling.cli import main\n"
        "def press(**_):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    signal.pause()\n"
        "main.app = press\n"
        "main.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert signal.SIGINT == 2


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals and pipes")
def test_a_reader_that_goes_away_ends_it_quietly():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "from groundling.cli.main import main; main()", "--version"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_mistake_in_its_own_process():
    done = groundling("detect")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("groundling: Nothing to find is named")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_error(closed):
    command = f'"{sys.executable}" -m groundling --version {closed}'
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
