"""What the server of `lad review` answers: the files of one page, the run's videos, and verdicts.

Nothing else of the disk can be asked for: every address is a name in a table that was made before the server began.
"""

from __future__ import annotations

import json
import mimetypes
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lad.pipeline.scored import ScoredVideo
from lad.work.verdicts import Verdict, VerdictsError, append, read

MAX_BODY = 64 << 10  # bytes of one request
LOOPBACK = ("127.0.0.1", "::1", "localhost")
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True)
class Served:
    """What there is to see, and where verdicts go.

    Attributes:
        files: address below the token -> file.
        videos: what was scored, by id.
        labels: the `labels.csv`.
        who: the name that verdicts get.
        read_only: no verdicts are taken.
    """

    files: Mapping[str, Path]
    videos: Mapping[str, ScoredVideo]
    labels: Path
    who: str
    read_only: bool = False


def make_app(served: Served, token: str, host: str) -> ASGIApp:
    """The server's application. Every address begins with the token.

    Args:
        served: what it shows.
        token: what only those know who were given the address.
        host: what the server listens on: other names in a request's Host header are refused.
    """
    app = Starlette(
        routes=[
            Route("/verdicts", _verdicts, methods=["GET"]),
            Route("/verdicts", _add, methods=["POST"]),
            Route("/{name:path}", _file, methods=["GET"]),
        ]
    )
    app.state.served = served
    return _Guard(app, token, host)


class _Guard:
    """Lets through what the page itself asks for, and nothing that another page makes a browser ask."""

    def __init__(self, app: ASGIApp, token: str, host: str) -> None:
        self.app, self.token, self.host = app, token, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        token, slash, rest = scope["path"].removeprefix("/").partition("/")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if not _is_host(headers.get("host", ""), self.host):
            refusal = "this server is not what you asked for"
        elif not secrets.compare_digest(token.encode(), self.token.encode()):
            refusal = "the address needs the token that lad review printed"
        elif scope["method"] not in ("GET", "HEAD") and not _is_same_origin(headers):
            refusal = "another page may not write here"
        elif not slash:  # addresses on the page go on from here
            await RedirectResponse(f"/{self.token}/")(scope, receive, with_headers)
            return
        else:
            await self.app({**scope, "path": f"/{rest}", "raw_path": b""}, receive, with_headers)
            return
        await PlainTextResponse(f"{refusal}\n", 403)(scope, receive, with_headers)


def _is_host(asked: str, host: str) -> bool:
    """Whether a Host header names this server: a page of a foreign name that leads here (DNS rebinding) does not.

    The port is not compared, as a tunnel may have another one.
    """
    try:
        name = (urlsplit(f"//{asked}").hostname or "").lower()
    except ValueError:
        return False
    if name in (host.lower(), *LOOPBACK):
        return True
    if host in LOOPBACK:
        return False
    try:  # it listens on an address of the network, or on all of them: a number cannot be rebound
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_same_origin(headers: Headers) -> bool:
    """Whether a writing request comes from the page itself, by what browsers say and no page can change."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site not in (None, "same-origin"):
        return False
    return origin is None or origin == f"http://{headers.get('host', '')}"


def _file(request: Request) -> Response:
    """A file of the page, or a video; byte ranges are Starlette's."""
    served: Served = request.app.state.served
    name = request.path_params["name"] or "index.html"
    path = served.files.get(name)
    if path is None or not path.is_file():
        return PlainTextResponse("not here\n", 404)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return FileResponse(path, media_type="video/mp4" if kind == "video/quicktime" else kind)


def _verdicts(request: Request) -> Response:
    """All verdicts, and who is looking."""
    served: Served = request.app.state.served
    try:
        found = served.labels.stat()
        mark = f'"{found.st_size}-{found.st_mtime_ns}"'
    except FileNotFoundError:
        mark = '"none"'
    if request.headers.get("if-none-match") == mark:
        return Response(status_code=304, headers={"etag": mark})
    try:
        verdicts = read(served.labels)
    except (VerdictsError, OSError) as error:
        return _failed(str(error), 500)
    rows = [_plain(one) for one in verdicts if one.kind == "undo" or one.video in served.videos]
    said = {"who": served.who, "read_only": served.read_only, "verdicts": rows}
    return JSONResponse(said, headers={"etag": mark})


async def _add(request: Request) -> Response:
    """Add verdicts: they are on the disk before this answers."""
    served: Served = request.app.state.served
    if served.read_only:
        return _failed("read-only: verdicts are not taken", 403)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return _failed("verdicts are JSON", 415)
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return _failed("too many verdicts at once", 413)
    except ClientDisconnect:  # nobody is there to be answered
        return _failed("cut short", 400)
    return await run_in_threadpool(_append, served, body)


def _append(served: Served, body: bytes) -> Response:
    try:
        asked = json.loads(body)
        verdicts = [_verdict(one, served) for one in asked["verdicts"]]
    except VerdictsError as error:
        return _failed(str(error), 400)
    except (ValueError, LookupError, TypeError, RecursionError):
        return _failed("not a list of verdicts", 400)
    try:
        append(served.labels, verdicts)
    except VerdictsError as error:
        return _failed(str(error), 409)
    except OSError as error:
        return _failed(f"not written: {error}", 507)
    return JSONResponse({"added": [_plain(one) for one in verdicts]})


def _verdict(said: Any, served: Served) -> Verdict:
    """One verdict of the page.

    Raises:
        VerdictsError: it is not about frames of a video that was scored.
        LookupError, TypeError: it is no verdict.
    """
    if not isinstance(said, dict) or not isinstance(said["video"], str):
        raise TypeError
    text = {key: said.get(key, "") for key in ("label", "replaces")}
    numbers = [said.get(key, 0) for key in ("start", "end")]
    video = served.videos.get(said["video"])
    if not all(isinstance(one, str) for one in text.values()) or not all(type(one) is int for one in numbers):
        raise TypeError
    if video is None:
        raise VerdictsError("such a video was not scored here")
    start, end = numbers
    if end > video.frames:
        raise VerdictsError(f"{video.id} has {video.frames} frames")
    return Verdict(video.id, said["kind"], start, end, text["label"].strip(), text["replaces"], who=served.who)


def _plain(one: Verdict) -> dict[str, Any]:
    names = ("video", "kind", "start", "end", "label", "replaces", "who", "time", "number")
    return {name: getattr(one, name) for name in names}


def _failed(why: str, status: int) -> Response:
    return JSONResponse({"error": why}, status)
