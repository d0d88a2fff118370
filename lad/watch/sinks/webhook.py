"""Notices as signed POST requests."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lad.version import VERSION
from lad.watch.environment import Secret, SecretUrl
from lad.watch.sink import RefusedError, SinkError

if TYPE_CHECKING:
    import urllib3

NEEDS = "a webhook needs urllib3: pip install urllib3"
TRIED_AGAIN = (408, 429)  # of the answers 4xx: "request timeout" and "too many requests"
OWN_HEADERS = ("content-type", "content-length", "user-agent", "idempotency-key", "x-lad-event", "x-lad-signature")


class WebhookOptions(BaseModel):
    """Who is called."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: SecretUrl  # http:// or https://; secret, because many hold a token
    secret: Secret | None = None  # with it requests are signed
    headers: dict[str, Secret] = {}  # more of them, such as Authorization
    ca_file: Path | None = None  # certificates to trust in place of the system's
    timeout_seconds: float = Field(10.0, gt=0, le=300)

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: SecretUrl) -> SecretUrl:
        parts = urlsplit(url.get_secret_value())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("give an address that begins with http:// or https://")
        return url

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, Secret]) -> dict[str, Secret]:
        for name, value in headers.items():
            text = f"{name}: {value.get_secret_value()}"
            if not text.isascii() or not text.isprintable() or not name or set(name) & set(' ()<>@,;:\\"/[]?={}'):
                raise ValueError(f"{name!r} with its value cannot be a header: use printable ASCII")
            if name.lower() in OWN_HEADERS:
                raise ValueError(f"{name}: lad sets this header itself")
        return headers


class WebhookSink:
    """Posts each notice to an address; any answer 2xx means that it is taken.

    Answers 5xx, 408 and 429, and a network that fails, are reasons to try again. Any other answer is a refusal.
    Redirects are not followed: a signed event goes where the user said, and nowhere else.
    """

    durable = True

    def __init__(self, options: WebhookOptions) -> None:
        """Open nothing yet.

        Raises:
            SinkError: urllib3 is not installed, the address is none, or `ca_file` holds no certificates.
        """
        self._options = options
        self._pool = _pool(options)
        parts = urlsplit(options.url.get_secret_value())
        user, at, host = parts.netloc.rpartition("@")
        self._url = parts._replace(netloc=host, fragment="").geturl()
        self._shown = f"{parts.scheme}://{host}"  # the path may be a secret
        self._fixed = _fixed_headers(options, unquote(user) if at else None)
        _check_address(self._url, self._shown)

    def deliver(self, line: str, notice_type: str) -> None:
        import urllib3

        body = line.encode()
        try:
            answer = self._pool.request(
                "POST", self._url, body=body, headers=self._headers(body, notice_type), preload_content=False
            )
            answer.close()  # what it says beyond its status is of no use
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise SinkError(f"{self._shown}: {_reason(error, self._options.timeout_seconds)}") from error
        if 200 <= answer.status < 300:
            return
        said = f"{self._shown}: answered {answer.status}"
        if 300 <= answer.status < 400:
            raise RefusedError(f"{said}, a redirect, which is not followed: give the address that it leads to")
        if answer.status < 500 and answer.status not in TRIED_AGAIN:
            raise RefusedError(said)
        raise SinkError(said)

    def _headers(self, body: bytes, notice_type: str) -> dict[str, str]:
        """Those of one notice: the same each time that it is sent."""
        name = quote(str(json.loads(body)["after"]["id"]), safe="")
        headers = self._fixed | {
            "Idempotency-Key": f"{name}-{notice_type}-{hashlib.sha256(body).hexdigest()[:16]}",
            "X-Lad-Event": notice_type,
        }
        if self._options.secret is not None:
            headers["X-Lad-Signature"] = f"sha256={signature(body, self._options.secret.get_secret_value())}"
        return headers

    def status(self, camera: str, status: str) -> None:
        pass

    def close(self) -> None:
        pass


def signature(body: bytes, secret: str) -> str:
    """HMAC-SHA-256 of a request's body, in hex."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _fixed_headers(options: WebhookOptions, user: str | None) -> dict[str, str]:
    """Those that every request has; `user`: with a password, as an address may hold them."""
    from urllib3.util import make_headers

    given = {key: value.get_secret_value() for key, value in options.headers.items()}
    basic = {"Authorization": make_headers(basic_auth=user)["authorization"]} if user else {}
    return basic | given | {"Content-Type": "application/json", "User-Agent": f"lad/{VERSION}"}


def _check_address(url: str, shown: str) -> None:
    from urllib3.exceptions import LocationParseError
    from urllib3.util import parse_url

    try:
        parse_url(url)
    except LocationParseError as error:  # its text has the whole address
        raise SinkError(f"{shown}: not an address of a webhook: https://host:port/path") from error


def _pool(options: WebhookOptions) -> urllib3.PoolManager:
    try:
        import urllib3
    except ModuleNotFoundError as error:
        raise SinkError(NEEDS) from error
    import ssl

    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SinkError(f"{options.ca_file}: no certificates in it, or it cannot be read") from error
    timeout = urllib3.Timeout(connect=options.timeout_seconds, read=options.timeout_seconds)
    return urllib3.PoolManager(retries=False, timeout=timeout, ssl_context=context)


def _reason(error: Exception, seconds: float) -> str:
    """Why there was no answer; never in words of urllib3, which repeat the address."""
    from urllib3 import exceptions

    match error:
        case exceptions.NameResolutionError():
            return "there is no such host"
        case exceptions.TimeoutError() if not isinstance(error, exceptions.NewConnectionError):
            return f"no answer within {seconds:g} s"
        case exceptions.SSLError():
            return f"no safe connection ({getattr(error.args[0], 'reason', None) or 'TLS failed'})"
        case exceptions.NewConnectionError():
            return "cannot be reached"
        case _:
            return f"the connection broke ({type(error).__name__})"
