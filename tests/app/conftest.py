"""The page as people meet it: `groundling app` in a process of its own, and a real browser without a window."""

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import pytest

from contracts.conftest import ROOT

RECORDER = Path(__file__).with_name("outward")
"""Goes on the path of a server, which then writes down whom it asks for what, but for this machine."""

REQUIRED = "GROUNDLING_REQUIRE_BROWSER"
"""Set to 1, it makes a missing browser a failure."""

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-sync",
    "--disable-component-update",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
SECONDS_TO_START = 120  # on a busy machine


class Server:
    """A running `groundling app`."""

    program: ClassVar[tuple[str, ...]] = ("-m", "groundling")

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "log.txt"
        self.outward = folder / "outward.txt"
        command = [sys.executable, *self.program, "app", "--port", "0", *options]
        environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1", **recorded(self.outward)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        try:
            self.address = self._wait()
        except BaseException:
            self.process.kill()
            raise

    def _wait(self) -> str:
        end = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < end and self.process.poll() is None:
            found = re.search(r"The page is at (\S+)", self.text)
            if found:
                return found[1]
            time.sleep(0.1)
        raise AssertionError(f"The page did not come up:\n{self.text}")

    @property
    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def runs(self) -> int:
        """How often the model ran so far."""
        return self.text.count("The model ran")

    def end(self, signal_number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            return self.process.wait(timeout=30)
        finally:
            self.process.kill()


def recorded(outward):
    """Return what a process's environment needs to write whom it asks into a file, which is made when it begins."""
    paths = [str(RECORDER), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "RECORD_OUTWARD": str(outward)}


def import_or_skip(name):
    """Import a package; without it, skip, or fail where a browser is required."""
    return importlib.import_module(name) if find_spec(name) else skip_unless_required(f"{name} is not installed")


def skip_unless_required(reason):
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason}, but {REQUIRED}=1 asks for the tests of the page.")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The page on the bundled model; it must never have met an error that it did not expect, nor asked anyone else."""
    import_or_skip("gradio")
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.end()
    assert "Traceback" not in running.text, running.text
    assert {path.name for path in running.log.parent.iterdir()} == {"log.txt", "outward.txt"}  # no upload is left
    assert running.outward.read_text(encoding="utf-8") == ""


@pytest.fixture(scope="session")
def chromium():
    """A browser with a camera that shows a test picture."""
    if CHROMIUM is None:
        skip_unless_required("Chromium is not installed (on Debian: apt-get install chromium)")
    import_or_skip("playwright")
    api = importlib.import_module("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, server):
    """Open the page as another person would; everything it asks for must come from this machine."""
    contexts = []
    asked = []

    def open_one(**options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(server.address)
        page.locator("#detect").wait_for()
        return page

    yield open_one
    for context in contexts:
        context.close()
    elsewhere = [url for url in asked if not url.startswith((server.address, "data:", "blob:"))]
    assert asked
    assert elsewhere == []


@pytest.fixture
def scene() -> Path:
    return ROOT / "examples" / "images" / "scene.png"
