"""Ray as a user asks for it, and how the driver joins it. Importing this module imports no Ray."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lad.engine.messages import EngineError, one_line

INSTALL = "Ray is not installed: pip install 'lad-video[ray]'"
CONNECT_SECONDS = 10.0
NODE_DIGITS = 6
OBJECT_STORE_BYTES = 200 << 20  # of a Ray of our own: features lie on the disk that all see, and pixels never in it


@dataclass(frozen=True)
class OnRay:
    """What was asked of Ray.

    Attributes:
        address: of a cluster, as `ray.init` takes it; None: $RAY_ADDRESS, else a Ray of this machine's own.
        actors: how many; None: as many as the cluster has room for, also when it grows.
        gpus_per_actor: a part of one is fine; None: one where networks run on a GPU.
    """

    address: str | None = None
    actors: int | None = None
    gpus_per_actor: float | None = None


def check_ray() -> None:
    """See that Ray is installed.

    Raises:
        EngineError: it is not.
    """
    found = importlib.util.find_spec("ray")
    if found is None or found.origin is None:  # a folder of that name, with nothing of Ray's
        raise EngineError(INSTALL)


@contextmanager
def joined(address: str | None) -> Iterator[None]:
    """`connect`, as long as something is done there.

    Raises:
        EngineError: there is no such cluster, or it is lost.
    """
    connect(address)
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        raise EngineError(f"Ray is lost: {one_line(error)}; the same command resumes from here") from error
    finally:
        ray.shutdown()


def connect(address: str | None) -> None:
    """Join a cluster, or start one of this machine alone, which ends with this process. Ray says and sends nothing.

    Raises:
        EngineError: there is no such cluster.
    """
    check_ray()
    # Read when Ray is imported or started: no usage statistics, and what is no GPU task still sees what it always saw.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Of a lost node Ray prints pages to stdout, where our results are, whatever `log_to_driver` says: skip all lines.
    os.environ |= {"RAY_DEDUP_LOGS": "1", "RAY_DEDUP_LOGS_SKIP_REGEX": "^"}
    import ray

    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if "://" in address:
        raise EngineError(f"{address}: an address of Ray's client: run lad within the cluster, and give HOST:PORT")
    _check_address(address)
    mine: dict[str, Any] = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(
            address=address,
            logging_level=logging.CRITICAL,
            log_to_driver=False,
            **(mine if address == "local" else {}),
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise EngineError(f"no Ray at {address}: {' '.join(str(error).split())[:200]}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray sets its own, and we end in an orderly way
                signal.signal(number, handler)


def _check_address(address: str) -> None:
    """See that somebody listens at `HOST:PORT`: Ray itself would try for minutes."""
    _, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():  # `auto`, `local`
        return
    try:
        reach(address, CONNECT_SECONDS)
    except (OSError, OverflowError) as error:
        raise EngineError(f"no Ray at {address}: {getattr(error, 'strerror', None) or error}") from error


def node_name(host: str, identity: str) -> str:
    """How a node is called: two may share a machine, and so its name."""
    return f"{host}/{identity[:NODE_DIGITS]}"


def reach(address: str, seconds: float) -> None:
    """See that somebody listens at `HOST:PORT`.

    Raises:
        OSError: nobody does, or does not answer for so long.
        OverflowError: there are no such ports.
    """
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), seconds).close()
