"""Ports and addresses, without a page."""

import socket

import pytest

from groundling.app import server
from groundling.errors import ConfigError, MissingExtraError


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_any_free_port():
    with server.listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert port > 0
        assert server.address(listening) == f"http://127.0.0.1:{port}"


def test_a_busy_port_names_the_next_free_one(taken):
    with pytest.raises(ConfigError, match=rf"Port {taken} of 127\.0\.0\.1 is in use .* Use --port (\d+)") as caught:
        server.listen("127.0.0.1", taken)
    free = int(str(caught.value).split("--port ")[1].split(",")[0])
    with server.listen("127.0.0.1", free):
        pass


def test_of_two_programs_that_start_only_one_has_the_port():
    with server.listen("127.0.0.1", 0) as first, pytest.raises(ConfigError, match="is in use by another program"):
        server.listen("127.0.0.1", first.getsockname()[1])


def test_an_address_of_another_computer():
    with pytest.raises(ConfigError, match=r"--host 203\.0\.113\.7 is no address of this computer"):
        server.listen("203.0.113.7", 0)


def test_a_host_that_nobody_knows(monkeypatch):
    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigError, match=r"--host typo is no address of this computer \(Name or service not known\)"):
        server.listen("typo", 7860)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        pytest.param("", False, id="empty"),
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("example.org", False),
    ],
)
def test_local_is_what_no_other_computer_reaches(host, local):
    assert server.is_local(host) is local


def test_all_addresses_are_opened_as_localhost():
    with server.listen("0.0.0.0", 0) as listening:
        assert server.address(listening).startswith("http://localhost:")


def test_gradio_is_missing(monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"groundling\[app\]"):
        server.check_installed()
