"""Buckets: moto's S3 and a server that answers as Google's does, both real endpoints on the loopback."""

from __future__ import annotations

import base64
import hashlib
import http.server
import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from helpers.videos import write_video

from lad.dataset import DatasetError
from lad.datasets.common import Options
from lad.datasets.folder import read_folder
from lad.finding import find_videos
from lad.footage import Passed
from lad.remote import fetch, store
from lad.remote.fetch import Remote, looked_up
from lad.remote.room import Bounds
from lad.remote.store import RemoteError, ask
from lad.remote.url import Url, url_of

CONTENT = bytes(range(256)) * 2000
SMALL = ("-o", "extract.backbone=tiny", "-o", "extract.layers=[]", "-o", "threads=1", "--device", "cpu")


def fetched(url: Url, path: Path) -> bytes:
    facts = looked_up(url, 1 << 30)
    fetch.fetch(Remote(url, facts, Bounds(None, 1 << 30)), path, threading.Event())
    return path.read_bytes()


def test_an_object_comes_whole_and_its_md5_is_checked(s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket="cams", Key="yard/a b#1?.mp4", Body=CONTENT)
    url = url_of("s3://cams/yard/a b#1?.mp4")
    assert ask(url).etag == hashlib.md5(CONTENT).hexdigest() and ask(url).size == len(CONTENT)
    assert fetched(url, tmp_path / "a") == CONTENT


def test_an_upload_in_parts_has_no_md5_and_comes_whole_too(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "CHUNK_BYTES", 3 << 20)
    upload = s3.create_multipart_upload(Bucket="cams", Key="a.mp4")["UploadId"]
    parts = []
    for number in (1, 2):
        body = bytes([number]) * (5 << 20)
        tag = s3.upload_part(Bucket="cams", Key="a.mp4", UploadId=upload, PartNumber=number, Body=body)["ETag"]
        parts.append({"ETag": tag, "PartNumber": number})
    s3.complete_multipart_upload(Bucket="cams", Key="a.mp4", UploadId=upload, MultipartUpload={"Parts": parts})
    url = url_of("s3://cams/a.mp4")
    assert ask(url).etag.endswith("-2")
    assert fetched(url, tmp_path / "a") == b"\1" * (5 << 20) + b"\2" * (5 << 20)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://cams/no.mp4", "there is no such file (404): see whether its name is right"),
        ("s3://nobody/a.mp4", "there is no such file (404)"),
        ("s3://cams/yard", "it is a folder, and no file"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(s3: Any, address: str, said: str) -> None:
    s3.put_object(Bucket="cams", Key="yard/a.mp4", Body=CONTENT)
    with pytest.raises(RemoteError) as caught:
        looked_up(url_of(address), 1 << 30)
    assert str(caught.value).startswith(said) and not caught.value.again


def test_without_credentials_a_line_says_so(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(RemoteError, match="no credentials for it were found"):
        ask(url_of("s3://cams/a.mp4"))


def test_a_bucket_is_a_data_root_with_the_layout_of_folders(s3: Any) -> None:
    for key in ("train/normal/a.mp4", "train/fire/b.MKV", "test/fire/c d.mp4", "test/normal/.e.mp4", "test/list.txt"):
        s3.put_object(Bucket="cams", Key=f"yard/{key}", Body=CONTENT)
    listing = read_folder(url_of("s3://cams/yard"), Options())
    found = {video.id: (str(video.path), video.split, video.label, video.is_abnormal) for video in listing.videos}
    assert found == {
        "train/normal/a": ("s3://cams/yard/train/normal/a.mp4", "train", "normal", False),
        "train/fire/b": ("s3://cams/yard/train/fire/b.MKV", "train", "fire", True),
        "test/fire/c d": ("s3://cams/yard/test/fire/c d.mp4", "test", "fire", True),
    }
    assert listing.passed.suffixes == {".txt": 1}
    video = listing.videos[0]
    assert isinstance(video.path, Url) and video.path.told == ask(video.path), "nobody has to be asked once more"


def test_a_bucket_without_videos_is_said_in_a_line(s3: Any) -> None:
    with pytest.raises(DatasetError, match="s3://cams/none: "):
        find_videos(["s3://cams/none"], None, Passed())


@pytest.mark.slow
def test_a_run_on_a_bucket_makes_the_features_of_the_files(
    s3: Any, lad: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    root = tmp_path / "videos"
    for number, name in enumerate(("fire/a", "normal/b")):
        write_video(root / f"{name}.mp4", 33 + 8 * number)
        s3.put_object(Bucket="cams", Key=f"{name}.mp4", Body=(root / f"{name}.mp4").read_bytes())
    works = {}
    for place in ("s3://cams", str(root)):
        work = tmp_path / f"work{len(works)}"
        status, _, err = lad("extract", "-c", "folder", "--data", place, "--work", str(work), *SMALL)
        assert status == 0, err
        works[place] = {str(path.relative_to(work)): path.read_bytes() for path in work.rglob("*.npy")}
        for path in work.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert b"geheim77" not in content and b"AKIAGEHEIM" not in content
    assert works["s3://cams"] == works[str(root)] and works[str(root)]
    status, out, _ = lad("extract", "-c", "folder", "--data", "s3://cams", "--work", str(tmp_path / "work0"), *SMALL)
    assert status == 0 and "nothing to do, 2 done before" in out


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server that answers for one object as Google's JSON API does."""
    if importlib.util.find_spec("gcsfs") is None:
        pytest.skip("NO gcsfs: pip install 'lad-video[remote]' to run this")
    said = {
        "kind": "storage#object",
        "name": "yard/a.mp4",
        "bucket": "cams",
        "size": str(len(CONTENT)),
        "md5Hash": base64.b64encode(hashlib.md5(CONTENT).digest()).decode(),
        "etag": "CAE=",
        "generation": "1",
        "updated": "2026-01-05T10:00:00.000Z",
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path, _, query = unquote(self.path).partition("?")
            if path.endswith("/o/yard/a.mp4") and "alt=media" in query:
                first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
                body, status = CONTENT[int(first) : int(last or len(CONTENT)) + 1], 206
            elif path.endswith("/o/yard/a.mp4"):
                body, status = json.dumps(said).encode(), 200
            elif path.endswith("/o") and "prefix=yard/no" not in query:
                body, status = json.dumps({"kind": "storage#objects", "items": [said]}).encode(), 200
            else:
                body, status = b'{"error": {"code": 404, "message": "Not Found"}}', 404
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("FSSPEC_GS_TOKEN", "anon")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(store, "_open", {})
    yield
    server.shutdown()
    server.server_close()


def test_an_object_of_google_comes_whole_and_is_known_by_its_md5(google: None, tmp_path: Path) -> None:
    url = url_of("gs://cams/yard/a.mp4")
    assert ask(url).etag == hashlib.md5(CONTENT).hexdigest()
    assert fetched(url, tmp_path / "a") == CONTENT
    with pytest.raises(RemoteError, match="there is no such file"):
        ask(url_of("gs://cams/yard/no.mp4"))
