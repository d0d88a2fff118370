"""What is outside stays outside: no network, no process but our own, nothing written beside work, cache and TMPDIR."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.places import REPOSITORY
from helpers.small import write_data

pytestmark = pytest.mark.slow

UNNAMED = "54321"  # a user id that nobody has
SETPRIV = "setpriv --reuid={0} --regid={0} --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search"


class Watched:
    """Runs `lad` as somebody without a name or a home, watched by `helpers.audit`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "refused.log"
        self.places = [folder / name for name in ("work", "cache", "tmp")]
        hooks = folder / "hooks"
        hooks.mkdir()
        shutil.copyfile(REPOSITORY / "tests" / "helpers" / "audit.py", hooks / "sitecustomize.py")
        for place in self.places:
            place.mkdir()
        self.log.touch()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HOME", "XDG_", "MPL", "PY", "TORCH"))
        }
        self.environment = {
            **kept,
            "PYTHONPATH": f"{hooks}{os.pathsep}{REPOSITORY}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAD_CACHE": str(self.places[1]),
            "TMPDIR": str(self.places[2]),
            "LAD_WATCH": str(self.log),
            "LAD_WATCH_PLACES": os.pathsep.join(map(str, self.places)),
        }
        self.user: list[str] = []
        # Root is nobody else only where it may still read a Python that is its own.
        if os.getuid() == 0 and shutil.which("setpriv"):
            self.user = SETPRIV.format(UNNAMED).split()
            for path in (self.log, *self.places):
                shutil.chown(path, int(UNNAMED), int(UNNAMED))

    def __call__(self, *command: str) -> subprocess.CompletedProcess[str]:
        words = [*self.user, sys.executable, *command]
        return subprocess.run(
            words, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False
        )


@pytest.fixture
def watched() -> Iterator[Watched]:
    """In a folder of its own, because pytest's are closed to other users."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Watched(Path(folder).resolve())


def test_the_watch_refuses_what_it_is_there_for(watched: Watched) -> None:
    """Else the test below could not fail."""
    script = """
import os, socket, subprocess, sys
from pathlib import Path
def refused(what):
    try: what()
    except PermissionError as error: return "refused" in str(error)
tries = [
    lambda: socket.socket(socket.AF_INET),
    lambda: socket.getaddrinfo("example.org", 80),
    lambda: subprocess.run(["true"]),
    lambda: os.fork() or os._exit(0),
    lambda: Path("outside").write_text(""),
    lambda: Path("outside").mkdir(),
    lambda: Path("tmp/inside").rename("outside"),
]
Path("tmp/inside").write_text("")
socket.socketpair()
assert [refused(one) for one in tries] == [True] * 7
try: Path.home()
except RuntimeError: pass
else: raise AssertionError("there is a home")
"""
    ended = watched("-c", script)
    assert ended.returncode == 0, ended.stderr
    assert len(watched.log.read_text(encoding="utf-8").splitlines()) == 7


def test_the_whole_chain_works_without_network_home_or_name_and_writes_where_it_may(watched: Watched) -> None:
    data, work = watched.folder / "data", watched.folder / "work"
    words = [*write_data(data), "--work", str(work)]
    before = sorted(data.rglob("*"))
    home = watched.folder / "home"  # for whom there is one, nothing is written there
    home.mkdir(mode=0o777)
    for stage in ("extract", "train", "score", "evaluate"):
        if stage == "evaluate":  # whose plots are matplotlib's, which keeps a list of fonts
            watched.environment["HOME"] = str(home)
        ended = watched("-m", "lad", stage, *words)
        assert ended.returncode == 0, ended.stderr
        assert watched.log.read_text(encoding="utf-8") == "", stage
        assert "Traceback" not in ended.stderr and "MPLCONFIGDIR" not in ended.stderr
    assert (work / "plots" / "roc.png").is_file()
    assert sorted(data.rglob("*")) == before
    names = {path.name for path in watched.folder.iterdir()}
    assert names == {"work", "cache", "tmp", "data", "hooks", "home", "refused.log"}
    assert not list(home.iterdir())
