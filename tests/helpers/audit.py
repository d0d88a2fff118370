"""`sitecustomize` of processes that are watched: what they must not do is refused and written to `$LAD_WATCH`.

Only sockets within the machine (AF_UNIX) may be opened, only our own processes started, only files in
`$LAD_WATCH_PLACES` (`:` between them) written. The user has no name.
"""

from __future__ import annotations

import os
import pwd
import socket
import sys
from typing import Any, NoReturn

OURS = ("lad.extract.worker", "lad.datasets.mat_process")
LISTS = ("/sbin/ldconfig", "fc-list")  # of libraries, by Python's `ctypes.util` for torch, and of fonts
NETWORK = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto", "socket.bind")
STARTS = ("os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system", "pty.spawn")
CHANGES = ("os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")  # whose last argument is a folder's descriptor
MOVES = ("os.rename", "os.link", "os.symlink")  # likewise, and the second is the new name
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PLACES = tuple(os.path.realpath(place) for place in os.environ["LAD_WATCH_PLACES"].split(os.pathsep))
LOG = os.open(os.environ["LAD_WATCH"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    match event, arguments:
        # Whether this machine has IPv6 is asked by urllib3, which TensorBoard loads where boto3 is installed.
        case "socket.__new__", (_, family, *_) if family in (socket.AF_UNIX, socket.AF_INET6, -1):
            pass
        case "socket.bind", (_, ("::1", 0)):
            pass
        case "socket.connect", (one, _) if one.family == socket.AF_UNIX:
            pass
        case "subprocess.Popen", (_, words, *_) if words[0] in LISTS or set(OURS) & set(words):
            pass
        case (("socket.__new__" | "socket.connect" | "subprocess.Popen"), _):
            refuse(event, arguments[:2])
        case "open", (str(name), _, int()) if name.startswith(".lad-") and "/" not in name:
            pass  # in a folder whose descriptor nobody is told here; where it is renamed to is checked
        case "open", (path, _, int(flags)) if flags & WRITING:
            check_place(event, path)
        case (("sqlite3.connect" | "os.truncate"), (path, *_)):
            check_place(event, path)
        case _ if event in MOVES:
            check_place(event, arguments[1], arguments[-1])
        case _ if event in CHANGES:
            check_place(event, arguments[0], arguments[-1])
        case _ if event in NETWORK or event in STARTS:
            refuse(event, arguments)


def check_place(event: str, path: Any, folder: object = -1) -> None:
    """`folder`: the descriptor of the one that `path` lies in, where it is one."""
    if isinstance(path, int) or path == os.devnull:  # what is open already
        return
    base = f"/proc/self/fd/{folder}" if isinstance(folder, int) and folder >= 0 else ""
    real = os.path.realpath(os.path.join(base, os.fsdecode(path)))  # noqa: PTH118
    if not any(real == place or real.startswith(f"{place}/") for place in PLACES):
        refuse(event, (path,))


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    os.write(LOG, f"{event} {arguments!r}\n".encode(errors="backslashreplace"))
    raise PermissionError(f"refused: {event}")


def getpwuid(uid: int) -> NoReturn:
    """Nobody has a name, nor a home."""
    raise KeyError(f"getpwuid(): uid not found: {uid}")


pwd.getpwuid = getpwuid
sys.addaudithook(watch)
