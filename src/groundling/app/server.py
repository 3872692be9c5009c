"""The server behind the page: a port of this machine, and nothing that leaves it."""

import errno
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from groundling.app.temporary import ENVIRONMENT, TemporaryFiles
from groundling.errors import ConfigError, missing_extra
from groundling.pipeline.detector import Detector

if TYPE_CHECKING:
    from fastapi import FastAPI
    from gradio import Blocks

MOST_UPLOADED = "1gb"
LARGEST_PORT = 65535
PORTS_TRIED = 100  # after a busy one
CLOSING_SECONDS = 2  # for pages that are still open
ONLY_FROM_HERE = "; ".join(
    [
        "default-src 'self' data: blob:",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "object-src 'none'",
        "form-action 'self'",
        "base-uri 'self'",
        "frame-ancestors 'none'",
    ]
)
"""Forbids browsers to load anything from elsewhere, to send forms or requests of scripts there, and to show the page
inside another one. It does not keep anyone from following a link."""

HEADERS = [
    ("Content-Security-Policy", ONLY_FROM_HERE),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
]

TERMINATED = 143  # the exit status that a shell expects after SIGTERM


def check_installed() -> None:
    """Check that the page can be served.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    if find_spec("gradio") is None:
        raise missing_extra("gradio", "app", "The page in the browser")


def listen(host: str, port: int) -> socket.socket:
    """Take a port; nothing is served yet, and who comes waits.

    Args:
        host: a name or address of this machine.
        port: 0 takes any free one.

    Raises:
        ConfigError: the port is taken or not allowed, or the host is not this machine's. For a taken port the message
            names a free one.
    """
    try:
        return _bind(host, port)
    except PermissionError as error:
        raise ConfigError(f"Port {port} needs the rights of an administrator. Use one above 1023.") from error
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ConfigError(f"--host {host} is no address of this computer ({error.strerror or error}).") from error
        free = _next_free(host, port)
        advice = "Name another with --port." if free is None else f"Use --port {free}, which is free."
        raise ConfigError(f"Port {port} of {host} is in use by another program. {advice}") from error


def is_local(host: str) -> bool:
    """Say whether only this machine can reach a host."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def address(listening: socket.socket) -> str:
    """Return what to open in a browser on this machine."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    listening: socket.socket, detector: Detector, model: str, *, example: bool, ready: Callable[[], None]
) -> None:
    """Serve the page until the process is told to end.

    Args:
        listening: from `listen`.
        detector: what looks for things.
        model: the model's name, to be shown.
        example: offer a drawn scene, which the bundled model knows.
        ready: called when the page can be opened.

    Raises:
        MissingExtraError: Gradio is not installed.
        KeyboardInterrupt: a person ended it.
        SystemExit: another program ended it.
    """
    check_installed()
    with TemporaryFiles() as files, _gradio_settings(files), _ending_in_order():
        import uvicorn

        from groundling.app.gate import Gate
        from groundling.app.page import build_page

        local = is_local(listening.getsockname()[0])
        site = _site(build_page(detector, files, model, example=example, local=local), files)
        settings = uvicorn.Config(
            Gate(site, files, local=local),
            log_level="warning",
            access_log=False,
            headers=HEADERS,
            timeout_graceful_shutdown=CLOSING_SECONDS,
            lifespan="on",
        )
        ready()
        uvicorn.Server(settings).run(sockets=[listening])


def _site(page: "Blocks", files: TemporaryFiles) -> "FastAPI":
    import gradio as gr
    from fastapi import FastAPI

    from groundling.app.page import STYLE, theme

    site: FastAPI = gr.mount_gradio_app(
        FastAPI(openapi_url=None),  # its own pages of documentation load scripts from elsewhere
        page,
        path="/",
        app_kwargs={"openapi_url": None},
        allowed_paths=[str(files.made)],  # to be handed out by handlers; no one can ask for them, see Gate
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=MOST_UPLOADED,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css_paths=[STYLE],
    )
    page.has_launched = True  # only then does Gradio refuse to copy files that were not uploaded
    return site


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would let two servers take one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen()  # only then is the port taken: two programs can bind one that nobody listens to
    except OSError:
        listening.close()
        raise
    return listening


def _next_free(host: str, port: int) -> int | None:
    for other in range(port + 1, min(port + PORTS_TRIED, LARGEST_PORT) + 1):
        with suppress(OSError), _bind(host, other):
            return other
    return None


@contextmanager
def _gradio_settings(files: TemporaryFiles) -> Iterator[None]:
    """Set what Gradio reads when it is imported or builds a page: where its files stand, and that it tells no one."""
    settings = {ENVIRONMENT: str(files.uploads), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Let a request to terminate unwind the stack, so that temporary files are removed."""

    def end(signal_number: int, frame: object) -> None:
        sys.exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
