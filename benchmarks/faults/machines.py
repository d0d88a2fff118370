"""Machines of a cluster, made of this one: each has a network address, a name and a temporary folder of its own.

Nobody but the kernel is needed for it, not even root. They end with the process that made them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

APART = "LAD_FAULTS_APART"
# The first process of a namespace must wait for those that lose their parents, as Ray's do.
INIT = 'trap "exit 130" INT TERM; "$@" & wait $!'
UNSHARE = ("unshare", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
BRIDGE, NETWORK = "lad0", "10.77.0"
GATEWAY = f"{NETWORK}.1"  # leads nowhere
RAY_FOLDER = Path("/tmp/ray")  # where Ray puts the sockets of a node: one a machine


def go_apart(module: str) -> None:
    """Run this command again where it may make networks and mounts, and leaves none of them; returns there.

    Args:
        module: that was started with `python -m`.

    Raises:
        OSError: this machine has no such command, or does not allow it.
    """
    if os.environ.get(APART):
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "link", "set", BRIDGE, "up")
        _run("ip", "address", "add", f"{GATEWAY}/24", "dev", BRIDGE)
        RAY_FOLDER.mkdir(exist_ok=True)
        return
    if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        raise OSError("this machine lets nobody make namespaces: try it as root")
    os.environ[APART] = "1"
    os.execvp(UNSHARE[0], [*UNSHARE, "sh", "-c", INIT, "sh", sys.executable, "-m", module, *sys.argv[1:]])


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@dataclass
class Machine:
    """One of them.

    Attributes:
        name: also that of its host.
        number: the last of its address.
        folder: its temporary folder.
        holder: the process whose namespaces are the machine.
    """

    name: str
    number: int
    folder: Path
    holder: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    def words(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` on this machine."""
        enter = ["nsenter", "--target", str(self.holder.pid), "--net", "--mount", "--uts", f"--wd={Path.cwd()}"]
        return [*enter, "env", f"TMPDIR={self.folder}", *command]

    def run(self, *command: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.words(command), capture_output=True, text=True, timeout=timeout)

    def processes(self) -> list[int]:
        """Those on it, without its holder."""
        mine = _network_of(self.holder.pid)
        others = (int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit())
        return [pid for pid in others if pid != self.holder.pid and _network_of(pid) == mine]

    def crash(self) -> None:
        """Kill all its processes."""
        while found := self.processes():
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.run("find", str(RAY_FOLDER), "-mindepth", "1", "-delete")

    def plug(self, state: str) -> None:
        """Have its network `up` or `down`."""
        _run("ip", "link", "set", f"lad{self.number}", state)

    def hide(self, folder: Path, hidden: bool) -> None:
        """Let it see an empty disk of its own in the place of a folder, or the folder itself."""
        is_hidden = self.run("mountpoint", "-q", str(folder)).returncode == 0
        if is_hidden:
            self.run("umount", "--lazy", str(folder))
        if hidden:
            done = self.run("mount", "-t", "tmpfs", "none", str(folder))
            if done.returncode:
                raise OSError(f"{self.name} cannot mount: {done.stderr.strip()}")


def new_machine(name: str, number: int, folder: Path) -> Machine:
    """Make a machine, on the network of the others."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    script = f"hostname {name} && mount -t tmpfs none {RAY_FOLDER} && ip link set lo up && echo && exec sleep infinity"
    holder = subprocess.Popen(
        ["unshare", "--net", "--mount", "--uts", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    if not holder.stdout.readline():
        raise OSError(f"no machine {name} can be made: see what was said above")
    machine = Machine(name, number, folder.absolute(), holder)
    outside = f"lad{number}"
    _run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
    _run("ip", "link", "set", outside, "master", BRIDGE, "up")
    # Ray asks which address a machine would reach the world with.
    for words in (
        f"address add {machine.address}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {GATEWAY}",
    ):
        done = machine.run("ip", *words.split())
        if done.returncode:
            raise OSError(f"{name} has no network: {done.stderr.strip()}")
    return machine


def _network_of(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/net").readlink()
    except OSError:
        return None
