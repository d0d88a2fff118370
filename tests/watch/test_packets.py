"""A camera's packets: what is kept of them, and what may be opened to get them."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.videos import read_number, write_video

from lad.extract.read_pyav import Picture
from lad.extract.video import DEFAULT_LIMITS
from lad.watch.address import address_of, open_source
from lad.watch.packets import Entry, FilePackets, Ring, decoded


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """100 packets at 25 a second, a key frame every second; pictures are reordered, as B-frames are."""
    path = tmp_path_factory.mktemp("packets") / "a.mp4"
    write_video(path, 100, codec_options={"g": "25", "bf": "2", "sc_threshold": "0"})
    return list(FilePackets(address_of(str(path)), DEFAULT_LIMITS).since(0.0))


def test_a_ring_keeps_so_many_seconds(entries: list[Entry]) -> None:
    ring = Ring(1.0, 1 << 30)
    for entry in entries:
        ring.add(entry)
    kept = list(ring.after(-1))
    assert 25 <= len(kept) <= 28
    assert kept[-1] is entries[-1]


def test_a_ring_keeps_so_many_bytes(entries: list[Entry]) -> None:
    ring, most = Ring(1000.0, 3000), 3000
    for entry in entries:
        ring.add(entry)
        assert sum(one.packet.size for one in ring.after(-1)) <= most
    assert list(ring.after(-1))[-1] is entries[-1]


def test_a_clip_begins_at_the_key_frame_before(entries: list[Entry]) -> None:
    ring = Ring(1000.0, 1 << 30)
    for entry in entries:
        ring.add(entry)
    first = next(ring.since(2.5))
    assert first.key
    assert first.time == pytest.approx(2.0, abs=0.01)
    assert next(ring.since(-5.0)).time == pytest.approx(0.0, abs=0.01)


def test_frames_have_the_times_of_their_packets_whatever_their_order(entries: list[Entry]) -> None:
    shown = list(decoded(entries, DEFAULT_LIMITS))
    assert [read_number(np.asarray(Picture(frame))) for _, frame in shown] == list(range(100))
    np.testing.assert_allclose([time for time, _ in shown], np.arange(100) / 25, atol=1e-3)


def test_decoding_begins_with_a_picture_that_needs_no_other(entries: list[Entry]) -> None:
    shown = list(decoded(entries[10:], DEFAULT_LIMITS))
    assert read_number(np.asarray(Picture(shown[0][1]))) == 25


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and its address by HTTP."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *words: Any) -> None:
            """Tests stay quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_playlist_by_http_is_read_and_cannot_name_a_file_of_this_machine(served: tuple[Path, str]) -> None:
    folder, url = served
    segment = write_video(folder / "segment.ts", 50, codec="libx264")
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXTINF:2,", "{}", "#EXT-X-ENDLIST", ""]
    (folder / "good.m3u8").write_text("\n".join(lines).format("segment.ts"))
    (folder / "evil.m3u8").write_text("\n".join(lines).format(f"file://{segment}"))
    with open_source(address_of(f"{url}/good.m3u8"), 5.0) as container:
        assert sum(1 for _ in container.decode(video=0)) == 50
    with (
        pytest.raises((OSError, av.error.FFmpegError)),
        open_source(address_of(f"{url}/evil.m3u8"), 5.0) as container,
    ):
        next(container.decode(video=0))
