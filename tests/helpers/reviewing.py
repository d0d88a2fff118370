"""`lad review` as a process of its own, and what one says to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class Server:
    """A running `lad review`."""

    def __init__(self, work: Path, *options: str) -> None:
        command = [sys.executable, "-m", "lad", "review", "--work", str(work), "--no-browser", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None and self.process.stderr is not None
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self.process.stderr.read()
        self.token = urlsplit(self.address).path

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content; `path` is taken as it is."""
        place = urlsplit(self.address)
        connection = HTTPConnection(str(place.hostname), place.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host="host" in (headers or {}))
            for name, value in {**(headers or {}), **({"content-length": str(len(body))} if body else {})}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def say(self, *verdicts: dict[str, Any], **headers: str) -> tuple[int, Any]:
        """Status and answer to verdicts."""
        body = json.dumps({"verdicts": verdicts}).encode()
        sent = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        status, _, answer = self.ask(f"{self.token}verdicts", "POST", body, sent)
        return status, json.loads(answer) if answer.startswith(b"{") else answer

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()
