"""`groundling app`: a page in the browser."""

import logging
from typing import Annotated

import typer

from groundling.cli.options import DeviceOption, DtypeOption, ModelOption, load_detector
from groundling.files import BUNDLED_MODEL

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 7860


def app(
    model: ModelOption = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to serve on; 0.0.0.0 lets other computers in.")
    ] = DEFAULT_HOST,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to serve on; 0 takes any free one.")
    ] = DEFAULT_PORT,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
) -> None:
    """Serve a page in the browser: pictures, camera and videos, labels, thresholds as sliders, downloads.

    Nothing leaves this computer. Ctrl-C ends it.

    Example: groundling app --model groundling/nano --port 7861
    """
    from groundling.app.server import address, check_installed, is_local, listen, serve

    check_installed()
    with listen(host, port) as listening:  # a busy port is told before the model is loaded
        if not is_local(host):
            typer.echo(f"--host {host}: whoever can reach this computer can use the page.", err=True)
        name = BUNDLED_MODEL if model is None else model
        detector = load_detector(model, device=device, dtype=dtype)
        _log_on_stderr()
        serve(
            listening,
            detector,
            name,
            example=name == BUNDLED_MODEL,
            ready=lambda: typer.echo(f"The page is at {address(listening)} (Ctrl-C ends it)."),
        )


def _log_on_stderr() -> None:
    logger = logging.getLogger("groundling")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
