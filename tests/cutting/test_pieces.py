"""A piece of a video is exactly its frames, at their times, whatever the video is like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from helpers.reading import numbers, read_to_the_end
from helpers.videos import frame_folder, grainy_frames, write_video

from lad.cutting.cutter import Cutter
from lad.cutting.film import Piece, open_film
from lad.cutting.job import Cut, CutJob
from lad.cutting.overlay import Overlay
from lad.extract.video import VideoError

GOP = "scenecut=0:keyint=20:min-keyint=20:b-adapt=0"
FRAMES = 60


def cut(path: Path, pieces: list[tuple[int, int]], out: Path) -> list[dict[str, Any]]:
    """Cut pieces of a video: 0.mp4, 1.mp4, ... in `out`."""
    frames, info = read_to_the_end(path)
    times = np.array([*info.times, info.times[-1] + 1 / info.fps])
    out.mkdir(exist_ok=True)
    cuts = [Cut(Piece(a, b, times[a : b + 1]), out / f"{n}.mp4") for n, (a, b) in enumerate(pieces)]
    said: dict[int, dict[str, Any]] = {}
    with Cutter() as cutter:
        cutter.cut(CutJob(path, len(frames), info.fps, cuts), said.__setitem__)
    return [said[number] for number in range(len(pieces))]


def check(path: Path, pieces: list[tuple[int, int]], out: Path) -> list[dict[str, Any]]:
    """See that pieces have the frames of the original, at their times."""
    frames, info = read_to_the_end(path)
    said = cut(path, pieces, out)
    for number, (start, end) in enumerate(pieces):
        got, of = read_to_the_end(out / f"{number}.mp4")
        assert numbers(got) == numbers(frames[start:end]), (number, start, end)
        assert np.abs(np.array(of.times) - (np.array(info.times[start:end]) - info.times[start])).max() < 1e-4
        assert of.warnings == []
        assert of.pixel_aspect == pytest.approx(info.pixel_aspect, abs=1e-3)
    return said


MIDDLE = [(13, 37), (0, 9), (40, 60), (19, 21)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("b_frames.mp4", {"codec_options": {"x264-params": f"{GOP}:bframes=3"}}),
        ("open_gop.mkv", {"codec_options": {"x264-params": f"{GOP}:bframes=2:open-gop=1"}}),
        ("stream.ts", {"codec_options": {"x264-params": f"{GOP}:bframes=2"}}),
        ("refresh.ts", {"codec_options": {"x264-params": "intra-refresh=1:keyint=20:bframes=0:scenecut=0"}}),
        ("old.mpg", {"codec": "mpeg2video", "codec_options": {"g": "12", "bf": "2"}}),
        ("older.avi", {"codec": "mpeg4"}),
        ("reordered.avi", {"codec_options": {"x264-params": f"{GOP}:bframes=2"}}),
        ("turned.mp4", {"rotation": 90, "codec_options": {"x264-params": GOP}}),
        ("odd.mkv", {"size": (67, 49), "pix_fmt": "yuv444p"}),
        ("uneven.mp4", {"pts": [n * 40 + n % 3 * 11 for n in range(FRAMES)]}),
    ],
)
def test_a_piece_is_its_frames_at_their_times(tmp_path: Path, name: str, how: dict[str, Any]) -> None:
    check(write_video(tmp_path / name, FRAMES, **how), MIDDLE, tmp_path / "out")


@pytest.mark.slow
def test_a_piece_of_a_frame_folder_is_its_images(tmp_path: Path) -> None:
    folder = frame_folder(tmp_path / "frames", [f"{n}.png" for n in range(30)])
    (folder / "7.png").write_bytes(b"nothing")
    check(folder, [(5, 12), (7, 9), (0, 30)], tmp_path / "out")


@pytest.mark.slow
def test_what_the_file_allows_is_copied_bit_for_bit(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4",
        grainy_frames(FRAMES, (64, 48)),
        codec_options={"x264-params": f"{GOP}:bframes=0"},
        audio=True,
    )
    said = check(path, [(0, FRAMES), (20, 40), (20, 33), (21, 40)], tmp_path / "out")
    assert [one["copied"] for one in said] == [True, True, True, False]
    frames, _ = read_to_the_end(path)
    got, _ = read_to_the_end(tmp_path / "out" / "1.mp4")
    assert all((a == b).all() for a, b in zip(got, frames[20:40], strict=True))
    anew, _ = read_to_the_end(tmp_path / "out" / "3.mp4")
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(anew, frames[21:40], strict=True)) < 8


@pytest.mark.slow
def test_what_needs_a_picture_outside_of_it_is_not_copied(tmp_path: Path) -> None:
    open_gop = write_video(
        tmp_path / "a.mp4", FRAMES, codec_options={"x264-params": f"{GOP}:bframes=2:b-pyramid=none:open-gop=1"}
    )
    assert not check(open_gop, [(20, 40)], tmp_path / "out")[0]["copied"]
    b_frames = write_video(tmp_path / "b.mp4", FRAMES, codec_options={"x264-params": f"{GOP}:bframes=3:b-pyramid=none"})
    said = check(b_frames, [(0, n) for n in range(1, 12)], tmp_path / "out")
    assert {one["copied"] for one in said} == {True, False}  # where it ends between a picture and what it was made from


@pytest.mark.slow
def test_sound_goes_with_the_picture(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", FRAMES, codec_options={"x264-params": f"{GOP}:bframes=0"}, audio=True)
    cut(path, [(0, FRAMES), (1, 50)], tmp_path / "out")
    for number in (0, 1):
        with av.open(str(tmp_path / "out" / f"{number}.mp4")) as container:
            assert [packet.pts >= 0 for packet in container.demux(audio=0) if packet.size]


@pytest.mark.slow
def test_sound_that_an_mp4_cannot_hold_is_left_out_and_told(tmp_path: Path) -> None:
    silent, path = write_video(tmp_path / "silent.mkv", FRAMES), tmp_path / "a.mkv"
    with av.open(str(silent)) as source, av.open(str(path), "w") as out:
        picture: Any = out.add_stream_from_template(source.streams.video[0])
        sound: Any = out.add_stream("pcm_s16le", rate=16000, layout="mono")
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = picture
                out.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16000, 0
        out.mux([*sound.encode(frame), *sound.encode(None)])
    said = check(path, [(3, 20)], tmp_path / "out")
    assert said == [{"copied": False, "note": "its sound (pcm_s16le) cannot be in an MP4 as it is: left out"}]


@pytest.mark.slow
def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    path = tmp_path / "wide.mkv"
    write_video(path, 30, codec_options={"x264-params": f"{GOP}:sar=4/3"})
    check(path, [(3, 20), (0, 30)], tmp_path / "out")


def test_decoding_begins_at_the_last_packet_that_allows_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", FRAMES, codec_options={"x264-params": f"{GOP}:bframes=2"})
    steps: list[int] = []
    film = open_film(path, FRAMES, lambda: steps.append(1))
    assert film is not None
    before = len(steps)
    assert numbers(np.asarray(picture) for picture in film.pictures(45, 47)) == [45, 46]
    assert 7 <= len(steps) - before < 45  # and whoever waits hears of each packet
    assert [film.entry(start) for start in (0, 19, 20, 39, 45)] == [0, 0, 20, 20, 40]


def test_a_video_that_is_another_one_now_is_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 20)
    for frames, times in ((40, np.arange(41) / 25), (20, np.arange(21) / 10)):
        piece = Piece(0, frames, times[: frames + 1])
        job = CutJob(path, frames, 25.0, [Cut(piece, tmp_path / "b.mp4")])
        with Cutter() as cutter, pytest.raises(VideoError, match="not the video that was scored"):
            cutter.cut(job, lambda number, how: None)


def test_a_file_that_is_no_video_takes_no_other_down(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"nothing")
    good = write_video(tmp_path / "a.mp4", 20)
    piece = Piece(0, 20, np.arange(21) / 25)
    done: list[int] = []
    with Cutter() as cutter:
        with pytest.raises(VideoError, match="not a video"):
            cutter.cut(CutJob(tmp_path / "no.mp4", 20, 25.0, [Cut(piece, tmp_path / "b.mp4")]), lambda *_: None)
        cutter.cut(CutJob(good, 20, 25.0, [Cut(piece, tmp_path / "b.mp4")]), lambda number, how: done.append(number))
    assert done == [0]


def test_a_process_that_died_is_named_and_the_next_video_gets_another(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 20)
    job = CutJob(path, 20, 25.0, [Cut(Piece(0, 20, np.arange(21) / 25), tmp_path / "b.mp4")])
    done: list[int] = []
    with Cutter() as cutter:
        cutter.cut(job, lambda number, how: done.append(number))
        assert cutter._process is not None
        cutter._process.kill()
        with pytest.raises(VideoError, match="the process that cut it died"):
            cutter.cut(job, lambda number, how: done.append(number))
        cutter.cut(job, lambda number, how: done.append(number))
    assert done == [0, 0]


@pytest.mark.parametrize("size", [(320, 240), (1920, 1080), (64, 48), (176, 1000)])
def test_the_overlay_leaves_most_of_the_picture_alone_and_changes_with_the_frame(size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), 128, np.uint8)
    scores = np.linspace(0, 1, 50)
    overlay = Overlay(100, np.arange(50) / 25, scores, 0.5, ((120, 140, "Fighting\nin the street, 喧嘩" * 9),))
    first, last = overlay.draw(image, 100), overlay.draw(image, 149)
    band = max(round(size[1] * 0.18), 56)
    assert first.shape == image.shape
    assert (first != last).any()
    assert (first[: max(size[1] - band, 0)] == 128).all()
    assert (image == 128).all()  # the frame itself is not drawn into
