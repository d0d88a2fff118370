"""Any file is a container that is known and probed, or refused; no process hangs or dies of it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.fuzzing import SOON, examples, mutations
from hypothesis import given
from hypothesis import strategies as st

from lad.extract.container import is_cut_short, sniff_container
from lad.extract.video import VideoError

pytestmark = pytest.mark.slow

PROBER = """
import sys, warnings
from pathlib import Path
from lad.extract.container import sniff_container
from lad.extract.probe import probe_file
from lad.extract.process_setup import prepare
from lad.extract.video import Limits, VideoError
prepare()
for line in sys.stdin:
    path = Path(line.rstrip("\\n"))
    try:
        probe = probe_file(path, sniff_container(path), Limits())
        said = f"ok {probe.packets}"
    except VideoError as error:
        said = f"refused {error}"
    except OSError as error:
        said = f"io {error}"
    except BaseException as error:
        said = f"WRONG {type(error).__name__}: {error}"
    print(said.replace("\\n", " ").encode("ascii", "replace").decode(), flush=True)
"""


class Prober:
    """A process that probes one file after the other; another takes its place where a decoder takes it down."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.deaths = 0

    def __call__(self, path: Path) -> str:
        if self.process is None:
            command = [sys.executable, "-c", PROBER]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.deaths += 1
            self.close()
        return answer

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()
            self.process = None


@pytest.fixture(scope="module")
def clips(make_video: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Small valid files of several containers."""
    folder = tmp_path_factory.mktemp("clips")
    codecs = {"mp4": "libx264", "mkv": "libx264", "avi": "mpeg4", "ts": "libx264", "flv": "flv1", "mpg": "mpeg1video"}
    return [make_video(folder / f"clip.{suffix}", 5, codec=codec).read_bytes() for suffix, codec in codecs.items()]


def headers(content: bytes) -> st.SearchStrategy[bytes]:
    """Mutations of how a file begins, which says what the rest of it is."""
    return mutations(content[:400]).map(lambda head: head + content[400:])


@examples(100)
@given(data=st.data())
def test_any_file_is_a_known_container_or_refused(data: st.DataObject, clips: list[bytes], tmp_path: Path) -> None:
    path = tmp_path / "clip"
    start = st.sampled_from(clips).flatmap(lambda clip: mutations(clip[:600]))
    path.write_bytes(data.draw(st.binary(max_size=300) | start))
    try:
        name = sniff_container(path)
    except VideoError as error:
        assert error.kind == "content"
    else:
        assert is_cut_short(path, name) in (True, False)


@pytest.fixture(scope="module")
def probe() -> Iterator[Prober]:
    prober = Prober()
    yield prober
    prober.close()


@examples(40)
@given(data=st.data())
def test_probing_any_file_shows_packets_or_a_video_error(
    data: st.DataObject, clips: list[bytes], probe: Prober, tmp_path: Path
) -> None:
    path = tmp_path / "clip"
    path.write_bytes(data.draw(st.sampled_from(clips).flatmap(lambda clip: headers(clip) | mutations(clip))))
    begun, deaths = time.monotonic(), probe.deaths
    answer = probe(path)
    # FFmpeg may fall over a hostile file: readers have processes of their own for that.
    assert answer.startswith(("ok ", "refused ", "io ")) or probe.deaths > deaths, answer
    assert time.monotonic() - begun < 2 * SOON
