"""What cameras.yaml and sources on the command line come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from lad.watch.cameras import WatchConfig, cameras_of, read_config, with_options

CONTENT = """
threshold: 0.6
cutoff_seconds: 3
clips: false
cameras:
  yard: rtsp://bob:${YARD_WORD}@10.0.0.5/a
  door:
    url: rtsp://10.0.0.6/b
    transport: udp
    threshold: 0.8
    alert_threshold: 0.85
    clips: true
    pre_seconds: 2
sinks:
  phone: {kind: webhook, url: "https://example.org/${YARD_WORD}"}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WatchConfig:
    monkeypatch.setenv("YARD_WORD", "s3cret")
    path = tmp_path / "cameras.yaml"
    path.write_text(CONTENT, encoding="utf-8")
    return read_config(path)


def test_what_is_said_of_a_camera_stands_before_what_is_said_of_all(config: WatchConfig) -> None:
    yard, door = cameras_of(config, [], realtime=False, follow=False)
    assert (yard.name, yard.address.url, yard.address.transport) == ("yard", "rtsp://bob:s3cret@10.0.0.5/a", "tcp")
    assert (door.address.url, door.address.transport) == ("rtsp://10.0.0.6/b", "udp")
    assert (yard.clips, door.clips, door.pre_seconds, door.post_seconds) == (False, True, 2.0, 5.0)
    assert (yard.rule_with(0.3).threshold, door.rule_with(0.3).threshold) == (0.6, 0.8)
    assert (yard.rule_with(0.3).cutoff_seconds, door.rule_with(0.3).cutoff_seconds) == (3.0, 3.0)
    assert (yard.rule_with(0.3).alert_threshold, door.rule_with(0.3).alert_threshold) == (0.8, 0.85)


def test_without_a_threshold_it_is_the_detectors() -> None:
    (camera,) = cameras_of(WatchConfig(), ["rtsp://cam/a"], realtime=False, follow=False)
    rule = camera.rule_with(0.7)
    assert (rule.threshold, rule.alert_threshold) == (0.7, pytest.approx(0.85))


def test_what_the_command_line_says_stands_before_what_the_file_says_of_a_camera(config: WatchConfig) -> None:
    config = with_options(config, {"threshold": 0.2, "clips": False, "latency": None})
    for camera in cameras_of(config, [], realtime=False, follow=False):
        assert (camera.threshold, camera.clips) == (0.2, False)
    assert config.latency is None


def test_sources_on_the_command_line_get_names_of_their_own(
    config: WatchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "street.mp4"
    path.touch()
    sources = ["rtsp://10.0.0.5/x", "rtsp://10.0.0.5/y", str(path), "rtsp://bob:${YARD_WORD}@host/a"]
    cameras = cameras_of(config, sources, realtime=True, follow=False)
    assert [camera.name for camera in cameras] == ["yard", "door", "10.0.0.5", "10.0.0.5-2", "street", "host"]
    assert [camera.address.kind for camera in cameras] == ["live"] * 4 + ["paced", "live"]


def test_no_password_is_shown_however_the_configuration_is_printed(config: WatchConfig) -> None:
    cameras = cameras_of(config, [], realtime=False, follow=False)
    for text in (repr(config), str(config), repr(cameras)):
        assert "s3cret" not in text
