"""What servers and buckets say of files: fsspec's file systems, with what goes wrong in plain words."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lad.masking import MASK, hide_of
from lad.remote.facts import Facts
from lad.remote.url import BUCKETS, Url

CONNECT_SECONDS, SILENT_SECONDS = 20.0, 60.0  # to reach a server, and without a byte from it
INSTALL = "pip install 'lad-video[remote]'"
GONE, REFUSED = (404, 410), (401, 403)
OUR_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
BUSY = (408, 425, 429)  # and all from 500 on: another time it may work

_lock = threading.Lock()
_open: dict[str, Any] = {}  # scheme -> file system


class RemoteError(OSError):
    """A file at a URL cannot be had; one line, without the URL.

    Attributes:
        again: whether another try may work.
        unreached: whether the server did not answer, so that it likely gives no other file either.
    """

    def __init__(self, reason: str, *, again: bool = False, unreached: bool = False) -> None:
        super().__init__(reason)
        self.again, self.unreached = again, unreached


class Stopped(Exception):
    """Nobody wants the file any more."""


def file_system(url: Url) -> Any:
    """fsspec's file system for a URL, one for all of its kind.

    Raises:
        RemoteError: it is not installed.
    """
    kind = "http" if url.scheme == "https" else url.scheme
    with _lock:
        if kind not in _open:
            try:
                _open[kind] = _make(kind)
            except ImportError as error:
                raise RemoteError(
                    f"videos at {url.scheme}:// need a package that is not installed: {INSTALL}"
                ) from error
        return _open[kind]


def _make(kind: str) -> Any:
    import aiohttp
    import fsspec

    if kind == "http":
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
        # Bytes as they lie there: packed on the way, they would have another length than the server says.
        client = {"timeout": timeout, "trust_env": True, "headers": {"Accept-Encoding": "identity"}}
        return fsspec.filesystem("http", client_kwargs=client, use_listings_cache=False)
    if kind == "s3":
        patience = {"connect_timeout": CONNECT_SECONDS, "read_timeout": SILENT_SECONDS}
        return fsspec.filesystem("s3", config_kwargs=patience, use_listings_cache=False)
    return fsspec.filesystem("gs", use_listings_cache=False)


def ask(url: Url) -> Facts:
    """What the server says of a file.

    Raises:
        RemoteError: it is not there, or cannot be asked.
    """
    if url.is_masked:
        raise RemoteError(f"{MASK} stands where something secret was: name it as it was named first")
    with explained(url):
        found = file_system(url).info(url.address)
        if found.get("type") == "directory":
            raise RemoteError("it is a folder, and no file: name the videos in it, or give it with --data")
        return facts_of(found)


def facts_of(found: dict[str, Any]) -> Facts:
    """The facts in what a file system tells of a file."""
    if digest := found.get("md5Hash"):  # Google's: in base64, and its ETag changes with what is written about a file
        import base64

        return Facts(size=int(found["size"]), etag=base64.b64decode(digest).hex())
    size = found.get("size")
    modified = next((found[key] for key in ("Last-Modified", "LastModified", "updated") if found.get(key)), "")
    etag = found.get("ETag") or found.get("etag") or ""
    return Facts(None if size is None else int(size), etag.strip().strip('"'), str(modified))


def in_a_line(error: OSError) -> str:
    """What went wrong with a download: at the server, or on our disk."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


@contextmanager
def explained(url: Url) -> Iterator[None]:
    """Let whatever goes wrong with a URL's server be a `RemoteError`; a full disk of ours stays what it is."""
    try:
        yield
    except Exception as error:  # of aiohttp, botocore, google.auth, requests: each has its own
        if isinstance(error, RemoteError | Stopped) or (isinstance(error, OSError) and error.errno in OUR_DISK):
            raise
        raise _explained(url, error) from error


def _explained(url: Url, error: Exception) -> RemoteError:
    is_bucket = url.scheme in BUCKETS
    chain = [error, *_causes(error)]
    status = next((code for one in chain if (code := _status(one))), None)
    name = type(chain[-1]).__name__
    if status in REFUSED or isinstance(error, PermissionError) or str(error).startswith("Forbidden"):  # gcsfs says that
        advice = (
            "say who you are as its own tools want it (docs/datasets.md)"
            if is_bucket
            else "its user and password are wrong or missing, or its signature is too old"
        )
        return RemoteError(f"access is refused ({status or 403}): {advice}")
    if status in GONE or (isinstance(error, FileNotFoundError) and status is None and len(chain) == 1):
        return RemoteError(f"there is no such file ({status or 404}): see whether its name is right")
    if "Credentials" in name:
        return RemoteError("no credentials for it were found: docs/datasets.md says where they are looked for")
    if any("timeout" in type(one).__name__.lower() for one in chain):
        return RemoteError(f"its server gave no answer for {SILENT_SECONDS:g} s", again=True, unreached=True)
    said = " ".join(hide_of(url.address, str(chain[-1])).replace(url.address, str(url)).split())[:200]
    if status is not None:
        again = status in BUSY or status >= 500
        return RemoteError(f"its server answers {status}{'' if again else f' ({said})'}", again=again)
    if any("Connect" in type(one).__name__ for one in chain):
        return RemoteError(f"its server cannot be reached: {said or name}", again=True, unreached=True)
    return RemoteError(f"its server broke off: {said or name}", again=True)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What an error was raised from, the innermost last."""
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error tells of."""
    response = getattr(error, "response", None)  # botocore's
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    # aiohttp's; gcsfs's. aiohttp gives a code to answers that broke off, too, which no server sent.
    code = getattr(error, "code" if type(error).__name__ == "HttpError" else "status", None)
    return int(code) if code is not None and str(code).isdigit() else None
