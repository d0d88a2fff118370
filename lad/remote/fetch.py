"""One file from a URL to this machine, whole and checked; a download that breaks off resumes where it stopped."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from lad.files import naming, open_new
from lad.remote.facts import Facts
from lad.remote.room import Bounds
from lad.remote.store import RemoteError, Stopped, ask, explained, file_system
from lad.remote.url import BUCKETS, Url

CHUNK_BYTES = 8 << 20  # asked for at a time
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before another try; a try that brought something begins them anew
CHANGED = "it is another file than when this command began: it is done by the next run"
UNREACHED_SECONDS = 60.0  # that a server is given up for

T = TypeVar("T")

_unreached: dict[str, tuple[float, str]] = {}  # servers that did not answer -> when they were given up, and why
_not_md5: set[str] = set()  # servers and buckets whose ETags look like an MD5 and are none


@dataclass(frozen=True)
class Remote:
    """A file to fetch.

    Attributes:
        url: where it lies.
        facts: what is known of it; with an identity.
        bounds: of the room that it is fetched into.
    """

    url: Url
    facts: Facts
    bounds: Bounds

    @classmethod
    def at(cls, url: Url, bounds: Bounds) -> Remote:
        """A file whose server is asked now.

        Raises:
            RemoteError: as `looked_up`.
        """
        return cls(url, looked_up(url, bounds.most_bytes), bounds)

    def check(self) -> None:
        """See that the server says of it what it said before.

        Raises:
            RemoteError: it does not, or cannot be asked.
        """
        if not self.facts.sha256 and ask(self.url).identity(self.url.key) != self.facts.identity(self.url.key):
            raise RemoteError(CHANGED)


def looked_up(url: Url, most_bytes: int, stop: threading.Event | None = None) -> Facts:
    """What is known of a file: what its server says, or, where that is too little, the hash of a download.

    Args:
        url: where it lies.
        most_bytes: that a file may have which is downloaded to be hashed.
        stop: set when nobody wants to know any more.

    Raises:
        RemoteError: it cannot be had.
        Stopped: nobody wants to know any more.
    """
    stop = stop or threading.Event()
    facts = url.told or _patiently(url, lambda: ask(url), int, stop)
    if facts.identity(url.key):
        return facts
    return _patiently(url, lambda: _hashed(url, most_bytes, stop), int, stop)


def fetch(remote: Remote, path: Path, stop: threading.Event) -> None:
    """Download a file and check that it is the one which its facts were told of.

    Its length is compared with what the server says, its MD5 where the ETag is one. Where it is not, that the server
    says the same of the file after the download as before has to do.

    Args:
        remote: the file.
        path: where it is written; nothing is there yet.
        stop: set when nobody wants it any more.

    Raises:
        RemoteError: it cannot be had, or is another file by now.
        OSError: it cannot be written.
        Stopped: nobody wants it any more.
    """
    url, facts = remote.url, remote.facts
    _download(remote, path, stop)
    if facts.sha256:
        if _digest(path, hashlib.sha256) != facts.sha256:
            raise RemoteError(CHANGED)
        return
    if facts.may_be_md5 and url.host not in _not_md5 and (md5 := _digest(path, _md5)) != facts.etag:
        path.unlink()
        _download(remote, path, stop)
        again = _digest(path, _md5)
        if again not in (md5, facts.etag):
            raise RemoteError("its bytes are others at each download: something on the way damages it")
        if again == md5:  # as of objects that are encrypted with a key of one's own
            _not_md5.add(url.host)
    _patiently(url, remote.check, int, stop)


def _hashed(url: Url, most_bytes: int, stop: threading.Event) -> Facts:
    digest, size = hashlib.sha256(), 0
    with explained(url), file_system(url).open(url.address, "rb", block_size=0) as remote:
        while block := remote.read(CHUNK_BYTES):
            if stop.is_set():
                raise Stopped
            digest.update(block)
            size += len(block)
            if size > most_bytes:
                raise _too_long(most_bytes)
    return Facts(size=size, sha256=digest.hexdigest())


def _download(remote: Remote, path: Path, stop: threading.Event) -> None:
    """Download a file, in as many tries as it takes."""
    url, size, most_bytes = remote.url, remote.facts.size, remote.bounds.most_bytes
    tried = False
    with naming(path), open_new(path) as file:

        def receive() -> None:
            nonlocal tried
            if tried:  # what is there is the beginning of the same file
                remote.check()
            tried = True
            with explained(url):
                _receive(url, size, file, most_bytes, stop)

        _patiently(url, receive, file.tell, stop)


def _patiently(url: Url, attempt: Callable[[], T], reached: Callable[[], int], stop: threading.Event) -> T:
    """What comes of an attempt, or of another one where its server may only be busy.

    A server that gave nothing in all tries is not asked again for a minute: thousands of files may wait for it.
    """
    failed = 0
    while True:
        since, reason = _unreached.get(url.host, (-UNREACHED_SECONDS, ""))
        if time.monotonic() - since < UNREACHED_SECONDS:
            raise RemoteError(reason, again=True)
        before = reached()
        try:
            return attempt()
        except RemoteError as error:
            failed = 1 if reached() > before else failed + 1
            if not error.again:
                raise
            if failed > len(PAUSES):
                reason = f"{error}, in {failed} tries: the next run tries again"
                if error.unreached and not reached():
                    _unreached[url.host] = time.monotonic(), reason
                raise RemoteError(reason, again=True) from error
        if stop.wait(PAUSES[failed - 1]):
            raise Stopped


def _receive(url: Url, size: int | None, file: BinaryIO, most_bytes: int, stop: threading.Event) -> None:
    """Append what of a file is not there yet."""
    if size is not None and size > file.tell():
        try:
            known = {} if url.scheme in BUCKETS else {"size": size}
            files = file_system(url)
            with files.open(url.address, "rb", block_size=CHUNK_BYTES, cache_type="none", **known) as remote:
                remote.seek(file.tell())
                _copy(remote, size, file, most_bytes, stop)
            return
        except ValueError:  # of fsspec: this server sends files from their beginning only
            file.seek(0)
            file.truncate()
    if size is None:
        file.seek(0)
        file.truncate()
    if size is None or file.tell() < size:
        with file_system(url).open(url.address, "rb", block_size=0) as remote:
            _copy(remote, size, file, most_bytes, stop)


def _copy(remote: Any, size: int | None, file: BinaryIO, most_bytes: int, stop: threading.Event) -> None:
    while size is None or file.tell() < size:
        if stop.is_set():
            raise Stopped
        block = remote.read(CHUNK_BYTES if size is None else min(CHUNK_BYTES, size - file.tell()))
        if not block and size is not None:
            raise RemoteError(f"it broke off after {file.tell()} of {size} bytes", again=True)
        if not block:
            return
        if file.tell() + len(block) > most_bytes:
            raise _too_long(most_bytes)
        file.write(block)


def _too_long(most_bytes: int) -> RemoteError:
    return RemoteError(f"it is longer than {most_bytes / 1e9:g} GB, which data.download_gb allows: raise that")


def _digest(path: Path, method: Callable[[], Any]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, method).hexdigest()


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
