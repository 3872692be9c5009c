"""Who may ask the server for what. Gradio serves more than this page needs, and trusts the paths that it is given."""

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from groundling.app.server import is_local
from groundling.app.temporary import TemporaryFiles

API = "/gradio_api"
JOIN = f"{API}/queue/join"
FILE = f"{API}/file="
READ = frozenset(
    {"/", "/config", "/config/", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json"}
    | {f"{API}/{name}" for name in ("theme.css", "startup-events", "queue/data", "upload_progress")}
)
READ_BELOW = ("/assets/", "/static/", f"{API}/heartbeat/")
SENT = frozenset({JOIN, *(f"{API}/{name}" for name in ("upload", "cancel", "reset"))})
"""All that the page asks for; no other route of Gradio is reached, as those that fetch addresses or run functions."""

MOST_ASKED = 1 << 20
"""Bytes of a request that runs something; pictures and videos are uploaded before."""


class RefusedError(Exception):
    """A request that is not answered.

    Args:
        status: of HTTP.
        reason: what the one who asked is told.
    """

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Gate:
    """An ASGI application that lets the page's own requests through to another one, and refuses all others.

    * Where only this computer can reach the server, the name in the address must be this computer's. Otherwise a site
      could give its own name this computer's address, and its scripts would count as the page's.
    * What a browser sends on behalf of another site is refused, but for a link to the page.
    * A file that is asked for, or named in a request, must be in the folder for uploads.

    Args:
        site: what is behind the gate.
        files: where uploads are.
        local: only this computer can reach the server.
    """

    def __init__(self, site: ASGIApp, files: TemporaryFiles, *, local: bool) -> None:
        self._site = site
        self._files = files
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":  # the page has none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            try:
                self._check_sender(scope, Headers(scope=scope))
                self._check_route(scope["method"], scope["path"])
                if scope["path"] == JOIN:
                    receive = await self._checked(receive)
            except RefusedError as refused:
                await PlainTextResponse(f"{refused}\n", refused.status)(scope, receive, send)
                return
        await self._site(scope, receive, send)

    def _check_sender(self, scope: Scope, headers: Headers) -> None:
        names = headers.getlist("host")
        host = names[0].lower() if len(names) == 1 else ""
        if not host or (self._local and not is_local(_name(f"//{host}"))):
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "This page has another address.")
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host:
            raise RefusedError(HTTPStatus.FORBIDDEN, "Other sites cannot use this page.")
        is_link = scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_link:
            raise RefusedError(HTTPStatus.FORBIDDEN, "Other sites cannot use this page.")

    def _check_route(self, method: str, path: str) -> None:
        if path in SENT:
            known = method == "POST"
        else:
            known = method in ("GET", "HEAD") and (path in READ or path.startswith((*READ_BELOW, FILE)))
        if not known:
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is no such page.")
        if path.startswith(FILE) and not self._files.holds(path.removeprefix(FILE)):
            raise RefusedError(HTTPStatus.FORBIDDEN, "There is no such file.")

    async def _checked(self, receive: Receive) -> Receive:
        """Read a request and check the files that it names; return what hands it on."""
        content, more = b"", True
        while more:
            message = await receive()
            content += message.get("body", b"")
            more = message.get("more_body", False)
            if len(content) > MOST_ASKED:
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {MOST_ASKED} bytes can be asked.")
        try:
            asked = json.loads(content)
            allowed = self._only_uploads(asked)
        except (ValueError, RecursionError) as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "This is not JSON.") from error
        if not allowed:
            raise RefusedError(HTTPStatus.FORBIDDEN, "Only files that were uploaded can be named.")
        read: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

        async def again() -> Message:
            return read.pop() if read else await receive()

        return again

    def _only_uploads(self, value: Any) -> bool:
        """Say whether all files that a request names, whatever for, are uploads."""
        if isinstance(value, list):
            return all(map(self._only_uploads, value))
        if not isinstance(value, dict):
            return True
        path = value.get("path")
        return (path is None or (isinstance(path, str) and self._files.holds(path))) and all(
            map(self._only_uploads, value.values())
        )


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _place(address: str) -> str:
    try:
        return urlsplit(address).netloc.lower()
    except ValueError:
        return ""
