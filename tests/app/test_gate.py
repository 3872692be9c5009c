"""Who may ask the server for what: strangers, other sites, and files that were not uploaded."""

import asyncio
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import PIL.Image
import pytest

from app.conftest import Server, import_or_skip, recorded
from groundling.app.temporary import TemporaryFiles
from pipeline.video.drawn_clips import STAR, draw, write_clip

JOIN = "/gradio_api/queue/join"
DETECT, TRACK = "detect", "track"
EVIL = "http://evil.example"
OPEN_GATE = """
import runpy, groundling.app.gate
groundling.app.gate.Gate = lambda site, files, local: site
runpy.run_module("groundling", run_name="__main__")
"""


def ask(address, method, path, content=None, headers=None):
    """Ask as no browser does: any path, any header."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    body = json.dumps(content).encode() if isinstance(content, dict) else content
    try:
        connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def upload(address, path, name=None):
    """Upload a file and return where it stands on the server."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name or path.name}"\r\n\r\n'
    content = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    status, _, answer = ask(address, "POST", "/gradio_api/upload", content, kind)
    assert status == 200
    return Path(json.loads(answer)[0])


def request(address, button, file):
    """Return what the browser sends when a button is pressed, with any file."""
    config = json.loads(ask(address, "GET", "/config")[2])
    (pressed,) = [part["id"] for part in config["components"] if part["props"].get("elem_id") == button]
    (event,) = [one for one in config["dependencies"] if [pressed, "click"] in one["targets"] and one["backend_fn"]]
    known = {part["id"]: part["props"].get("value") for part in config["components"]}
    data = [known[part] for part in event["inputs"]]
    data[0], data[1] = file, "blue oval"
    return {"data": data, "fn_index": event["id"], "session_hash": uuid.uuid4().hex[:10], "trigger_id": pressed}


def answers(address, asked):
    """Wait for what comes of a request."""
    status, _, text = ask(address, "GET", f"/gradio_api/queue/data?session_hash={asked['session_hash']}")
    assert status == 200
    lines = [line.removeprefix("data: ") for line in text.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines]


def as_file(path, *, meta):
    file = {"path": str(path), "orig_name": "holiday.png", "url": None}
    return {**file, "meta": {"_type": "gradio.FileData"}} if meta else file


@pytest.fixture
def secrets(tmp_path):
    """A picture and a video that nobody uploaded."""
    PIL.Image.fromarray(np.full((60, 80, 3), 200, np.uint8)).save(tmp_path / "secret.png")
    write_clip(tmp_path / "secret.mp4", draw([STAR], [0.0]))
    return {DETECT: tmp_path / "secret.png", TRACK: tmp_path / "secret.mp4"}


@pytest.fixture
def uploads(server, scene):
    return upload(server.address, scene).parents[1]


def everything_in(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("meta", [True, False], ids=["meta", "bare"])
@pytest.mark.parametrize("button", [DETECT, TRACK])
@pytest.mark.parametrize("way", ["plain", "above", "link", "linked folder", "address", "inner list"])
def test_only_uploads_are_read(server, secrets, uploads, button, meta, way):
    secret, name = secrets[button], uuid.uuid4().hex
    path = secret
    if way == "above":
        path = f"{uploads}/{os.path.relpath(secret, uploads)}"
    elif way == "link":
        path = uploads / name
        path.symlink_to(secret)
    elif way == "linked folder":
        (uploads / name).symlink_to(secret.parent)
        path = uploads / name / secret.name
    elif way == "address":
        path = f"{server.address}/favicon.ico"
    file = as_file(path, meta=meta)
    before = everything_in(uploads)
    asked = request(server.address, button, [[file]] if way == "inner list" else file)
    runs = server.runs
    try:
        status, _, text = ask(server.address, "POST", JOIN, asked)
        assert status == 403
        assert b"Only files that were uploaded" in text
        assert everything_in(uploads) == before
        assert server.runs == runs
    finally:
        if (uploads / name).is_symlink():
            (uploads / name).unlink()


@pytest.mark.parametrize("meta", [True, False], ids=["meta", "bare"])
def test_an_upload_is_read(server, scene, meta):
    asked = request(server.address, DETECT, as_file(upload(server.address, scene), meta=meta))
    assert ask(server.address, "POST", JOIN, asked)[0] == 200
    assert answers(server.address, asked)[-2]["success"]


@pytest.mark.parametrize("button", [DETECT, TRACK])
def test_an_upload_that_was_let_go_gets_its_message(server, uploads, button):
    asked = request(server.address, button, as_file(uploads / "0a" / "holiday.png", meta=True))
    assert ask(server.address, "POST", JOIN, asked)[0] == 200
    (failed,) = [one for one in answers(server.address, asked) if one["msg"] == "process_completed"]
    assert "was let go" in failed["output"]["error"]


def test_a_list_of_other_files_is_no_video(server, secrets, tmp_path):
    listed = tmp_path / "holiday.m3u8"
    listed.write_text(f"#EXTM3U\n#EXTINF:10,\nfile://{secrets[TRACK]}\n#EXT-X-ENDLIST\n", encoding="utf-8")
    asked = request(server.address, TRACK, as_file(upload(server.address, listed), meta=True))
    assert ask(server.address, "POST", JOIN, asked)[0] == 200
    (failed,) = [one for one in answers(server.address, asked) if one["msg"] == "process_completed"]
    assert "not a video of a kind that the page opens" in failed["output"]["error"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"{", 400, id="no JSON"),
        pytest.param(b"\xff\xfe{}", 400, id="no text"),
        pytest.param(b"[" * 100_000, 400, id="deep"),
        pytest.param(b'"' + b"a" * (1 << 20) + b'"', 413, id="long"),
        pytest.param(b'{"data": [{"path": 7}]}', 403, id="a number for a path"),
        pytest.param(b'{"data": [{"path": "a\\u0000b"}]}', 403, id="no path"),
        pytest.param(b'{"data": [{"path": ""}]}', 403, id="an empty path"),
    ],
)
def test_odd_requests(server, content, status):
    assert ask(server.address, "POST", JOIN, content)[0] == status


def test_files_of_others_cannot_be_guessed(server, scene, uploads):
    mine = upload(server.address, scene)
    assert ask(server.address, "GET", f"/gradio_api/file={mine}")[0] == 200
    assert len(mine.parent.name) == 64
    assert mine.parent.name != hashlib.sha256(scene.read_bytes()).hexdigest()
    for path in (uploads, mine.parent, uploads.parent, uploads.parent / "made", uploads / "0a" / "scene.png"):
        assert ask(server.address, "GET", f"/gradio_api/file={path}")[0] in (403, 404)


def test_a_drawing_with_a_script_is_not_shown_as_a_page(server, tmp_path):
    drawing = tmp_path / "a.svg"
    drawing.write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    _, headers, _ = ask(server.address, "GET", f"/gradio_api/file={upload(server.address, drawing)}")
    assert headers["Content-Disposition"].startswith("attachment")
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/proxy=http://127.0.0.1:{port}/"),
        ("GET", "/gradio_api/file=http://127.0.0.1:{port}/a.png"),
        ("GET", "/gradio_api/file/http://127.0.0.1:{port}/a.png"),
        ("GET", "/gradio_api/file=/etc/hostname"),
        ("GET", "/gradio_api/file=" + quote("../../../../etc/hostname", safe="")),
        ("GET", "/gradio_api/file//etc/hostname"),
        ("GET", "/assets/..%2f..%2f..%2froutes.py"),
        ("GET", "/static/..%2f..%2fpackage.json"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/run/detect"),
        ("POST", "/gradio_api/api/detect"),
        ("POST", "/gradio_api/call/detect"),
        ("POST", "/gradio_api/call/v2/detect"),
        ("GET", "/gradio_api/call/detect/a"),
        ("POST", "/gradio_api/stream/a"),
        ("GET", "/gradio_api/stream/a/b/1/playlist-file"),
        ("GET", "/gradio_api/custom_component/a/client/b/c.js"),
        ("GET", "/gradio_api/runs"),
        ("GET", "/gradio_api/info"),
        ("GET", "/gradio_api/openapi.json"),
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/gradio_api/queue/status"),
        ("GET", "/gradio_api/profiling/traces"),
        ("GET", "/monitoring"),
        ("GET", "/monitoring/summary"),
        ("POST", "/gradio_api/vibe-code"),
        ("GET", "/dev/reload"),
        ("GET", JOIN),
        ("PUT", "/"),
        ("OPTIONS", JOIN),
        ("TRACE", "/"),
    ],
)
def test_no_other_route_is_reached(server, method, path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        status, headers, _ = ask(server.address, method, path.format(port=listener.getsockname()[1]), {"data": []})
        assert status in (403, 404, 405)
        assert "Access-Control-Allow-Origin" not in headers
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_foreign_names_and_sites(server):
    port = urlsplit(server.address).port
    for headers in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"},
        {"Origin": EVIL},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ):
        for method, path in (("POST", JOIN), ("POST", "/gradio_api/upload"), ("GET", "/config")):
            status, answered, _ = ask(server.address, method, path, {"data": []}, headers)
            assert status in (403, 421)
            assert "Access-Control-Allow-Origin" not in answered
    handshake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg=="}
    assert ask(server.address, "GET", JOIN, headers={**handshake, **key, "Origin": EVIL})[0] in (403, 404)


class Site:
    """What stands behind a gate: it counts who comes through."""

    def __init__(self):
        self.met = 0

    async def __call__(self, scope, receive, send):
        self.met += 1


def passes(tmp_path, monkeypatch, headers, *, path="/", method="GET", local=True, kind="http"):
    """Say whether a request comes through a gate."""
    import_or_skip("gradio")
    from groundling.app.gate import Gate

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    site = Site()
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers]
    scope = {"type": kind, "method": method, "path": path, "headers": pairs, "query_string": b""}

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        assert message.get("status", 400) >= 400

    asyncio.run(Gate(site, TemporaryFiles(), local=local)(scope, receive, send))
    return site.met == 1


@pytest.mark.parametrize(
    ("host", "local", "elsewhere"),
    [
        pytest.param([], False, False, id="none"),
        pytest.param([""], False, False, id="empty"),
        (["127.0.0.1:7860", "127.0.0.1:7860"], False, False),
        (["127.0.0.1:7860"], True, True),
        (["127.0.0.1"], True, True),
        (["LocalHost:7860"], True, True),
        (["[::1]:7860"], True, True),
        (["[::1"], False, True),
        (["evil.example"], False, True),
        (["evil.example:7860"], False, True),
        (["127.0.0.1.evil.example"], False, True),
        (["localhost.evil.example"], False, True),
        (["user@evil.example"], False, True),
        (["192.168.1.5:7860"], False, True),
        (["0.0.0.0:7860"], False, True),
    ],
)
def test_names_of_this_computer(tmp_path, monkeypatch, host, local, elsewhere):
    headers = [("Host", name) for name in host]
    assert passes(tmp_path, monkeypatch, headers) is local
    assert passes(tmp_path, monkeypatch, headers, local=False) is elsewhere


@pytest.mark.parametrize(
    ("headers", "path", "through"),
    [
        pytest.param({}, JOIN, True, id="no browser"),
        ({"Origin": "http://localhost:7860"}, JOIN, True),
        ({"Origin": "http://LOCALHOST:7860"}, JOIN, True),
        ({"Origin": "https://localhost:7860"}, JOIN, True),
        ({"Origin": ""}, JOIN, False),
        ({"Origin": "null"}, JOIN, False),
        ({"Origin": "http://["}, JOIN, False),
        ({"Origin": "http://localhost:3000"}, JOIN, False),
        ({"Origin": "http://127.0.0.1:7860"}, JOIN, False),
        ({"Origin": EVIL}, JOIN, False),
        ({"Origin": EVIL}, "/gradio_api/upload", False),
        ({"Origin": EVIL}, "/gradio_api/queue/data", False),
        ({"Origin": EVIL}, "/gradio_api/heartbeat/a", False),
        ({"Origin": EVIL}, "/", False),
        ({"Sec-Fetch-Site": "same-origin"}, "/config", True),
        ({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, "/config", True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, "/", True),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, "/config", False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, "/", False),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, "/gradio_api/queue/data", False),
    ],
)
@pytest.mark.parametrize("local", [True, False], ids=["local", "open"])
def test_other_sites(tmp_path, monkeypatch, headers, path, through, local):
    method = "POST" if path in (JOIN, "/gradio_api/upload") else "GET"
    given = [("Host", "localhost:7860"), *headers.items()]
    assert passes(tmp_path, monkeypatch, given, path=path, method=method, local=local) is through


def test_websockets_are_closed_and_the_life_of_the_server_is_not(tmp_path, monkeypatch):
    host = [("Host", "localhost:7860")]
    assert not passes(tmp_path, monkeypatch, host, kind="websocket")
    assert passes(tmp_path, monkeypatch, [], kind="lifespan")


class OpenServer(Server):
    """A server whose gate stands open."""

    program = ("-c", OPEN_GATE)


@pytest.fixture(scope="module")
def open_server(tmp_path_factory):
    import_or_skip("gradio")
    running = OpenServer(tmp_path_factory.mktemp("open"))
    yield running
    running.end()


@pytest.mark.parametrize("button", [DETECT, TRACK])
@pytest.mark.parametrize("meta", [True, False], ids=["meta", "bare"])
def test_behind_the_gate_files_are_checked_again(open_server, scene, secrets, button, meta):
    uploads = upload(open_server.address, scene).parents[1]
    asked = request(open_server.address, button, as_file(secrets[button], meta=meta))
    before = everything_in(uploads)
    assert ask(open_server.address, "POST", JOIN, asked)[0] == 200
    (failed,) = [one for one in answers(open_server.address, asked) if one["msg"] == "process_completed"]
    assert not failed["success"]
    assert everything_in(uploads) == before
    assert open_server.runs == 0
    assert "A video was searched" not in open_server.text
    assert failed["output"]["error"] in (None, "'holiday.png' was not uploaded. Drop it into the field.")


def test_whom_a_server_asks_is_written_down(tmp_path):
    script = (
        "import socket, contextlib\n"
        "socket.getaddrinfo('localhost', 80)\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.connect(('127.0.0.1', 9))\n"
        "s.connect(('192.0.2.1', 9))\n"
    )
    outward = tmp_path / "outward.txt"
    with suppress(subprocess.CalledProcessError):  # a machine without a network cannot connect, but tries
        subprocess.run([sys.executable, "-c", script], env={**os.environ, **recorded(outward)}, check=True)
    (line,) = outward.read_text(encoding="utf-8").splitlines()
    assert "192.0.2.1" in line
