"""The page as people meet it: `groundling app` in a process of its own, and a real browser without a window."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contracts.conftest import ROOT

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

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "log.txt"
        command = [sys.executable, "-m", "groundling", "app", "--port", "0", *options]
        environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
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


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The page on the bundled model; it must never have met an error that it did not expect."""
    pytest.importorskip("gradio")
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.end()
    assert "Traceback" not in running.text, running.text
    assert [path.name for path in running.log.parent.iterdir()] == ["log.txt"]  # no upload is left


@pytest.fixture(scope="session")
def chromium():
    """A browser with a camera that shows a test picture."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (on Debian: apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api")
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
        context.set_default_timeout(20_000)
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
