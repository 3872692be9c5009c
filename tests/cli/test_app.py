"""`groundling app` as a command; the page itself is tested in tests/app."""

import re
import shlex
import signal
import socket
import urllib.request

import pytest

from app.conftest import Server
from groundling.app import server
from groundling.cli.app import app
from groundling.cli.main import run


def test_a_busy_port_is_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert run(["app", "--port", str(port)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(
        rf"groundling: Port {port} of 127\.0\.0\.1 is in use by another program\. .*--port \d+.*\n", err
    )


@pytest.mark.parametrize("port", ["-1", "65536", "seven"])
def test_a_port_that_cannot_be(port, capsys):
    assert run(["app", "--port", port]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_gradio_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    assert run(["app"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "pip install 'groundling[app]'" in err


def test_a_model_that_is_not_there(capsys):
    assert run(["app", "--port", "0", "--model", "no/such/folder"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_sharing_is_not_offered(capsys):
    assert run(["app", "--share"]) == 2
    assert "--share" in capsys.readouterr().err


@pytest.mark.parametrize("signal_number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_the_example_runs_and_ends_without_a_trace(tmp_path, signal_number):
    example = re.search(r"Example: groundling app (.*) --port \d+\n", app.__doc__)
    assert example is not None
    running = Server(tmp_path, *shlex.split(example[1]), "--host", "0.0.0.0")  # and any free port
    assert "--host 0.0.0.0: whoever can reach this computer can use the page" in running.text
    assert running.address.startswith("http://localhost:")
    with urllib.request.urlopen(running.address) as answer:
        assert "Pictures go to the computer that serves this page" in answer.read().decode()
    assert list(tmp_path.glob("groundling-app-*"))
    assert running.end(signal_number) == 128 + signal_number
    assert "Traceback" not in running.text
    assert {path.name for path in tmp_path.iterdir()} == {"log.txt", "outward.txt"}
