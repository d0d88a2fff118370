"""What URLs are taken for videos, and that nothing secret in one is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from lad.dataset import DatasetError, Video, dataset_text, is_safe_id, read_dataset
from lad.finding import find_videos, video_ids
from lad.remote.facts import Facts
from lad.remote.url import Url, location_of, masked, url_of

MD5 = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://host/a.mp4", "https://host/a.mp4"),
        ("HTTPS://host/a.mp4#t=5", "https://host/a.mp4"),
        ("https://bob:secret@host:8443/a.mp4", "https://bob:***@host:8443/a.mp4"),
        ("https://secret@host/a.mp4", "https://***@host/a.mp4"),
        ("https://host/a.mp4?X-Amz-Signature=secret&x=1", "https://host/a.mp4?***"),
        ("https://bob:secret@host/a b.mp4?sig=secret", "https://bob:***@host/a%20b.mp4?***"),
        ("s3://bucket/a b/c?d.mp4", "s3://bucket/a b/c?d.mp4"),
        ("gs://bucket/a.mp4", "gs://bucket/a.mp4"),
    ],
)
def test_a_url_shows_nothing_secret(address: str, shown: str) -> None:
    url = url_of(address)
    assert str(url) == shown
    for said in (str(url), repr(url), f"{url!r}", url.key, str(Video("a", url))):
        assert "secret" not in said


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("ftp://host/a.mp4", "videos are fetched from s3://, gs://, http://, https://"),
        ("file:///etc/passwd", "videos are fetched from"),
        ("ftp://bob:secret@host/a.mp4", "ftp://bob:***@host/a.mp4"),
        ("s3://key:secret@bucket/a.mp4", "leave the key out"),
        ("https:///a.mp4", "names no server"),
        ("s3:///a.mp4", "names no bucket"),
        ("https://host:port/a.mp4", "names no server"),
        ("https://bob:sec/ret@host/a.mp4", "names no server"),
    ],
)
def test_what_is_no_url_of_a_video_is_refused_in_a_line(address: str, why: str) -> None:
    with pytest.raises(ValueError, match="//") as caught:
        url_of(address)
    assert why in str(caught.value)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_signature_is_no_part_of_what_a_file_is_called(tmp_path: Path) -> None:
    first, second = (url_of(f"https://host/a.mp4?X-Amz-Date={n}&X-Amz-Signature={n}") for n in (1, 2))
    assert first.key == second.key
    five, six = (url_of(f"https://host/get?id={n}") for n in (5, 6))
    assert five.key != six.key
    assert url_of("https://bob:one@host/a.mp4").key == url_of("https://bob:two@host/a.mp4").key
    assert video_ids([first], None) == video_ids([second], None)
    assert len(set(video_ids([five, six], None))) == 2


@pytest.mark.parametrize(
    "address",
    ["https://host/../../etc/a.mp4", "https://host/%2e%2e%2f%2e%2e%2fa.mp4", "s3://bucket/../../a.mp4", "https://host/",
     "https://host/a%00%0ab.mp4", f"https://host/{'x' * 400}.mp4", "https://host/%5c..%5ca.mp4"],
)  # fmt: skip
def test_ids_never_leave_the_work_directory(address: str) -> None:
    url = url_of(address)
    for root in (None, url_of("https://host"), url_of("s3://bucket")):
        (name,) = video_ids([url], root)
        assert is_safe_id(name), name


def test_paths_of_a_table_may_be_urls_or_lie_below_one(tmp_path: Path) -> None:
    table = tmp_path / "dataset.csv"
    table.write_text("video,path\na,https://host/a.mp4?sig=secret\nb,s3://bucket/b.mp4\nc,sub/c d.mp4\n")
    a, b, c = read_dataset(table)
    assert (a.path, b.path, c.path) == (
        Url("https://host/a.mp4?sig=secret"), Url("s3://bucket/b.mp4"), tmp_path / "sub" / "c d.mp4",
    )  # fmt: skip
    assert read_dataset(table, url_of("https://cdn/x/"))[2].path == Url("https://cdn/x/sub/c%20d.mp4")
    assert read_dataset(table, url_of("s3://cam/x"))[2].path == Url("s3://cam/x/sub/c d.mp4")
    written = dataset_text([a, b, c], tmp_path).decode()
    assert "https://host/a.mp4?***" in written and "s3://bucket/b.mp4" in written and "sub/c d.mp4" in written
    assert "secret" not in written


def test_a_table_names_the_line_of_a_url_that_is_none(tmp_path: Path) -> None:
    table = tmp_path / "dataset.csv"
    table.write_text("video,path\na,ftp://bob:secret@host/a.mp4\nb,https://host/b.npy\n")
    with pytest.raises(DatasetError) as caught:
        read_dataset(table)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{table}:2: ftp://bob:***@host/a.mp4: videos are fetched from")
    assert second == f"{table}:3: https://host/b.npy: features at a URL are not read: download them"


def test_a_web_address_on_the_command_line_is_a_video_with_a_name_of_its_own() -> None:
    (video,) = find_videos(["https://host/yard/gate.mp4"])
    assert video.path == Url("https://host/yard/gate.mp4")
    assert video.id.startswith("gate-") and is_safe_id(video.id)


def test_identity_follows_etag_size_and_time() -> None:
    key = "https://host/a.mp4"
    known = Facts(size=5, etag='"x"')
    assert known.identity(key) != Facts(size=5, etag='"y"').identity(key)
    assert known.identity(key) != Facts(size=6, etag='"x"').identity(key)
    assert known.identity(key) == Facts(size=5, etag='"x"', modified="another").identity(key)
    assert Facts(size=5, modified="Mon").identity(key) != Facts(size=5, modified="Tue").identity(key)
    assert Facts(size=5).identity(key) is None and Facts(modified="Mon").identity(key) is None
    assert Facts(size=5, etag=MD5).identity(key) == Facts(size=5, etag=MD5).identity("https://other/b.mp4")
    assert known.identity(key) != known.identity("https://other/b.mp4"), "it may be made of time and size alone"


def test_a_command_line_is_kept_without_secrets() -> None:
    words = ["score", "https://tok@host/a b.mp4?sig=s1", "--data=https://bob:s2@host/", "x=rtsp://bob:s3@cam/1", "a b"]
    shown = "https://***@host/a%20b.mp4?***"
    rest = ["--data=https://bob:***@host/", "x=rtsp://bob:***@cam/1", "a b"]
    assert [masked(word) for word in words] == ["score", shown, *rest]


def test_a_relative_path_is_never_taken_for_a_url(tmp_path: Path) -> None:
    assert location_of("a/b.mp4", tmp_path) == tmp_path / "a/b.mp4"
    assert location_of("/x/b.mp4", url_of("https://host")) == Path("/x/b.mp4")


def test_what_a_signed_query_asks_for_is_part_of_its_name_and_the_signature_is_not() -> None:
    def key(query: str) -> str:
        return Url(f"https://nvr/api/export?{query}").key

    assert key("camera=1&token=T") != key("camera=2&token=T")
    assert key("camera=1&token=T") == key("camera=1&token=other") == key("token=T&camera=1")
    assert key("X-Amz-Date=1&X-Amz-Signature=a") == key("X-Amz-Date=2&X-Amz-Signature=b") == "https://nvr/api/export"
    assert key("sv=1&se=2026&sig=a") == "https://nvr/api/export"
    assert "token" not in key("camera=1&token=T") and "T" not in key("camera=1&token=T")
