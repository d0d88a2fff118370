"""Where a camera's pictures come from: kinds of sources, how each is opened, and their names without a password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from lad.errors import LadError
from lad.extract.container import demuxers_of, sniff_container
from lad.masking import hide

Kind = Literal["live", "file", "paced", "growing"]
Transport = Literal["tcp", "udp"]

# The protocols that FFmpeg may use for a URL: those that it names, and what they are made of. So a playlist that comes
# by HTTP cannot name a file of this machine.
PROTOCOLS: Mapping[str, str] = {
    "rtsp": "tcp,udp,rtp",
    "rtsps": "tls,tcp,udp,rtp,rtsps,crypto",
    "http": "http,tcp",
    "https": "https,http,tls,tcp,crypto",
}
V4L2 = "v4l2:"
# Demuxers of HTTP streams: pictures one after the other, playlists, and containers that need no second look.
OVER_HTTP = "mpjpeg,jpeg_pipe,mjpeg,hls,mpegts,flv,live_flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,h264,hevc"
BY_ARRIVAL = frozenset({"mpjpeg", "mjpeg", "jpeg_pipe", "h264", "hevc"})  # formats without times that can be believed
ANSWER_SECONDS = 10.0  # to open a source


class SourceError(LadError):
    """A source that cannot be one, or cannot be opened."""


@dataclass(frozen=True)
class Address:
    """A source as it is opened. Printed, it shows no password.

    Attributes:
        url: with its password.
        kind: `live`, a camera; `file`, as `lad score` reads it; `paced`, a file at its own pace, as a camera would
            send it; `growing`, a file that somebody else is still writing.
        transport: of RTSP.
    """

    url: str = field(repr=False)
    kind: Kind
    transport: Transport = "tcp"

    def __str__(self) -> str:
        return hide(self.url)

    @property
    def path(self) -> Path:
        """Of a file."""
        return Path(self.url)

    @property
    def drops(self) -> bool:
        """Whether pictures that nobody takes in time are lost, as those of a camera."""
        return self.kind in ("live", "paced")


def address_of(source: str, *, paced: bool = False, growing: bool = False, transport: Transport = "tcp") -> Address:
    """What somebody named as a source.

    Args:
        source: a URL (`rtsp`, `rtsps`, `http`, `https`), `/dev/video0` or `v4l2:/dev/video0`, or a file or a folder of
            numbered images.
        paced, growing: what to do with a file.
        transport: of RTSP.

    Raises:
        SourceError: it is none.
    """
    scheme, mark, _ = source.partition("://")
    if mark:
        if scheme.lower() not in PROTOCOLS:
            raise SourceError(f"{hide(source)}: lad watch opens {', '.join(PROTOCOLS)}, V4L2 devices and files")
        if not _host(source):
            raise SourceError(
                f"{hide(source)}: names no camera: rtsp://user:password@host:554/path, where / ? # in a password are "
                "%2F %3F %23"
            )
        return Address(source, "live", transport)
    path = Path(source.removeprefix(V4L2))
    if source.startswith(V4L2) or path.is_char_device():
        if not path.is_char_device():
            raise SourceError(f"{path}: no such device")
        return Address(f"{V4L2}{path}", "live")
    if not path.exists():
        raise SourceError(f"{source}: no such file, folder or match")
    if path.is_dir() and (paced or growing):
        raise SourceError(f"{source}: a folder of images has no pace and does not grow: watch it as it is")
    return Address(source, "growing" if growing else "paced" if paced else "file")


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        return (parts.hostname or "") if parts.port != 0 and url.isprintable() else ""
    except ValueError:  # no port is one
        return ""


def open_source(address: Address, silent_seconds: float) -> Any:
    """PyAV's container of a source that is not read as `lad score` reads files.

    Args:
        address: of the source.
        silent_seconds: without any data after which reading from it is an error.

    Raises:
        OSError, VideoError: it does not answer, or not with video. Its message may show the password.
    """
    import av

    timeout: tuple[float, float | None] = (ANSWER_SECONDS, silent_seconds)
    if address.url.startswith(V4L2):
        return av.open(address.url.removeprefix(V4L2), format="v4l2", timeout=timeout)
    if address.kind != "live":
        follow = {"follow": "1"} if address.kind == "growing" else {}
        demuxers = demuxers_of(sniff_container(address.path))  # no playlist: it would name other files
        options = {"protocol_whitelist": "file", "format_whitelist": demuxers, **follow}
        patience = None if address.kind == "growing" else silent_seconds  # nobody knows when it grows
        timeout = (ANSWER_SECONDS, patience)
        return av.open(f"file:{address.path}", options=options, metadata_errors="replace", timeout=timeout)
    scheme = urlsplit(address.url).scheme.lower()
    options = {"protocol_whitelist": PROTOCOLS[scheme]}
    if scheme in ("rtsp", "rtsps"):
        options |= {"rtsp_transport": address.transport, "allowed_media_types": "video"}
    else:
        options |= {"format_whitelist": OVER_HTTP}
    return av.open(address.url, options=options, metadata_errors="replace", timeout=timeout)
