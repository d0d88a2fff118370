"""Where a video lies: a path of this machine, or a URL that is printed without what is secret in it."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urldefrag, urlsplit

from lad.masking import MASK, hide
from lad.remote.facts import Facts

SCHEMES = ("s3", "gs", "http", "https")
BUCKETS = ("s3", "gs")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_USER = re.compile(r"(?<=://)[^/?#]*(?=@)")  # what stands before the host
# Parameters of signed URLs: of S3, Google, Azure, CloudFront. A query with one of them is another one every hour.
_SIGNED = re.compile(r"(?i)[?&](x-amz-signature|x-goog-signature|signature|sig|policy|token|access_token)=")
_OF_SIGNATURES = re.compile(
    r"(?i)x-(amz|goog)-.*|signature|sig|policy|(access_)?token|expires|key-pair-id|hash-algorithm|awsaccesskeyid|"
    r"googleaccessid|s[eprstv]|srt|spr|sip|sk(oid|tid|t|e|s|v)"
)


@dataclass(frozen=True)
class Url:
    """A video, or a folder of videos, at `s3://`, `gs://`, `http://` or `https://`. Printed, it shows no secret.

    Attributes:
        address: all of it, with what is secret.
        told: what a listing of its bucket said of it.
    """

    address: str = field(repr=False)
    told: Facts | None = field(default=None, compare=False)

    def __str__(self) -> str:
        if self.scheme in BUCKETS:  # nothing is secret in a bucket's name and key, and both may hold any character
            return self.address
        return hide(_USER.sub(lambda user: user[0] if ":" in user[0] else MASK, self.address))

    @property
    def scheme(self) -> str:
        """One of `SCHEMES`."""
        return self.address.partition(":")[0]

    @property
    def host(self) -> str:
        """The server's name, or the bucket's."""
        return self.address.partition("://")[2].partition("/")[0].rpartition("@")[2]

    @property
    def name(self) -> str:
        """The last part of its path, as a file would be called."""
        path = self.address.partition("://")[2].partition("/")[2]
        if self.scheme not in BUCKETS:
            path = unquote(path.partition("?")[0])
        return PurePosixPath(path).name or self.host

    @property
    def suffix(self) -> str:
        """Of its name: `.mp4`."""
        return PurePosixPath(self.name).suffix

    @property
    def is_masked(self) -> bool:
        """Whether it is what was printed of a URL: what was secret in it is not there."""
        return self.scheme not in BUCKETS and MASK in self.address

    @property
    def key(self) -> str:
        """What it is called where it is remembered: without secrets, and the same whoever signed it and when."""
        if self.scheme in BUCKETS:
            return self.address
        plain = _USER.sub("", self.address).replace("://@", "://", 1)
        if _SIGNED.search(plain):
            place, _, query = plain.partition("?")
            asked = [part for part in query.split("&") if not _OF_SIGNATURES.fullmatch(part.partition("=")[0])]
            plain = f"{place}?{'&'.join(asked)}" if asked else place
        shown = str(Url(plain))
        return shown if shown == plain else f"{shown}#{hashlib.sha256(plain.encode()).hexdigest()[:16]}"

    def absolute(self) -> Url:
        """It itself: a URL is relative to nothing."""
        return self

    def below(self, root: Url) -> str | None:
        """Its place below another one, as a relative path; None where it does not lie there."""
        folder = root.address.rstrip("/") + "/"
        if not self.address.startswith(folder):
            return None
        rest = self.address[len(folder) :]
        return rest if self.scheme in BUCKETS else unquote(rest.partition("?")[0])

    def __truediv__(self, name: str) -> Url:
        """A file below it, by its name as it is."""
        rest = name.removeprefix("./")
        return Url(f"{self.address.rstrip('/')}/{rest if self.scheme in BUCKETS else quote(rest)}")


Location = Path | Url


def is_url(text: str) -> bool:
    """Whether a text is a URL, and no path."""
    return _URL.match(text) is not None


def url_of(text: str) -> Url:
    """A URL as somebody has written it.

    Raises:
        ValueError: `lad` fetches nothing from such a one; names it, without what is secret in it.
    """
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise ValueError(f"{hide(text)}: videos are fetched from {', '.join(f'{one}://' for one in SCHEMES)}")
    if scheme in BUCKETS:
        if "@" in rest.partition("/")[0]:
            raise ValueError(
                f"{scheme}://{MASK}@...: leave the key out: docs/datasets.md says where a bucket's keys are looked for"
            )
        url = Url(f"{scheme}://{rest}")
    else:
        # A blank would end the URL for whoever masks it.
        whole = re.sub(r"[\s\x00-\x1f\x7f]", lambda character: quote(character[0]), f"{scheme}://{rest}")
        url = Url(urldefrag(whole).url)
    try:
        named = url.host and (scheme in BUCKETS or urlsplit(url.address).port != 0)
    except ValueError:  # of a port that is none
        named = ""
    if not named:
        raise ValueError(f"{url}: names no {'bucket' if scheme in BUCKETS else 'server'}")
    return url


def masked(word: str) -> str:
    """A word of a command line without what is secret in a URL in it."""
    if is_url(word):
        with suppress(ValueError):
            return str(url_of(word))
    return hide(word)


def location_of(text: str, root: Location) -> Location:
    """Where a video lies that a table calls so: at a URL, or at a path below `root`.

    Raises:
        ValueError: as `url_of`.
    """
    if is_url(text):
        return url_of(text)
    if isinstance(root, Url) and not text.startswith("/"):
        return root / text
    return (root if isinstance(root, Path) else Path()) / text


def is_missing(location: Location) -> bool:
    """Whether a path is not there. Of a URL nobody knows before its server was asked."""
    return isinstance(location, Path) and not location.exists()
