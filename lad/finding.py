"""Which videos arguments and folders name, and what they are called."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from lad.dataset import FEATURES_SUFFIX, MAX_NAME_BYTES, DatasetError, Video, is_safe_id
from lad.footage import VIDEO_SUFFIXES, Passed, identity, videos_below
from lad.remote.listing import listed_below
from lad.remote.store import RemoteError
from lad.remote.url import BUCKETS, Location, Url, is_url, masked, url_of


def find_videos(arguments: Sequence[str], root: Location | None = None, passed: Passed | None = None) -> list[Video]:
    """The videos that command-line arguments name: files, folders of frames, folders of both, globs, URLs.

    Args:
        arguments: as a user has typed them.
        root: the folder that ids are relative to.
        passed: gets the files of folders that are no videos.

    Raises:
        DatasetError: an argument names nothing.
    """
    paths: list[Location] = []
    problems: list[str] = []
    passed = Passed() if passed is None else passed
    for argument in arguments:
        if is_url(argument):
            try:
                paths += _at_url(argument, passed)
            except ValueError as error:
                problems.append(str(error))
            except RemoteError as error:
                problems.append(f"{masked(argument)}: {error}")
            continue
        path = Path(argument)
        here = Passed()
        try:
            matches = [argument] if path.exists() else sorted(glob.glob(argument, recursive=True))  # noqa: PTH207  (absolute patterns too)
            found = [video for match in matches for video in videos_below(Path(match), here)]
        except RecursionError:
            problems.append(f"{argument}: holds folders in folders without end")
            continue
        if not found:
            what = "holds no video" if path.is_dir() else "no such file, folder or match"
            problems.append(f"{argument}: {what}{f'; {here.line()}' if here.count else ''}")
        paths += found
        passed.update(here)
    if problems:
        raise DatasetError("\n".join(problems))
    unique = _once([_absolute(p) if isinstance(p, Path) else p for p in paths], passed)
    return [Video(id=name, path=p) for name, p in zip(video_ids(unique, root), unique, strict=True)]


def _absolute(path: Path) -> Path:
    """A path from the root on, so that a video has one id wherever it is named from."""
    if ".." not in path.parts:
        return path.absolute()
    return Path(os.path.realpath(path.parent), path.name) if path.name != ".." else path.resolve()


def _at_url(argument: str, passed: Passed) -> list[Url]:
    """The video at a URL, or the videos of a bucket or a folder in it: of what has no video's suffix.

    Raises:
        ValueError: it is no URL of a video.
        RemoteError: it cannot be listed, or holds no video.
    """
    url = url_of(argument)
    if url.scheme not in BUCKETS or url.suffix.lower() in VIDEO_SUFFIXES:
        return [url]
    here = Passed()
    found = listed_below(url, here)
    if not found:
        raise RemoteError(f"holds no video{f'; {here.line()}' if here.count else ''}")
    passed.update(here)
    return found


def _once(paths: Iterable[Location], passed: Passed) -> list[Location]:
    """Paths without those that are a file or folder that another one is already: by a link, or named twice."""
    taken: dict[object, Location] = {}
    for path in paths:
        first = taken.setdefault((identity(path) if isinstance(path, Path) else None) or path, path)
        if isinstance(first, Path) and isinstance(path, Path) and first != path:
            passed.twice.append((first, path))
    return list(taken.values())


def video_ids(paths: Sequence[Location], root: Location | None) -> list[str]:
    """The ids of absolute paths and of URLs: for each the first of these names that no other path has.

    A path is called by its place below `root` without suffix, by the same with suffix, or by its name and a hash.
    """
    names = [_name(path, root, with_suffix=False) for path in paths]
    for place in (root, None):
        # A name that was unique may be taken later: a.mp4.mkv is a.mp4 at first, and then a.mp4 beside a.avi is too.
        counts = Counter(names)
        names = [name if counts[name] == 1 else _name(path, place) for name, path in zip(names, paths, strict=True)]
    return names


def _name(path: Location, root: Location | None, with_suffix: bool = True) -> str:
    """The place of a path below `root` if that is a safe id. Otherwise its name, cut if it is long, and a hash."""
    place = _place(path, root)
    if place and is_safe_id(place if with_suffix else _bare(path, place)):
        return place if with_suffix else _bare(path, place)
    name = path.name if with_suffix else _bare(path, path.name)
    readable = os.fsencode(name).decode(errors="replace")
    for character in "\0\\\n\r":
        readable = readable.replace(character, "_")
    whole = path.key.encode() if isinstance(path, Url) else os.fsencode(path)
    ending = f"-{hashlib.sha256(whole).hexdigest()[:8]}"
    room = MAX_NAME_BYTES - len(ending) - len(FEATURES_SUFFIX)
    return readable.strip().encode()[:room].decode(errors="ignore") + ending


def _place(path: Location, root: Location | None) -> str | None:
    """Where a path lies below `root`, `/`-separated; None where it does not."""
    if isinstance(path, Url):
        return path.below(root) if isinstance(root, Url) else None
    if not isinstance(root, Path) or path == root.absolute() or not path.is_relative_to(root.absolute()):
        return None
    return path.relative_to(root.absolute()).as_posix()


def _bare(path: Location, name: str) -> str:
    """A name without its suffix, which the names of folders do not have."""
    return name if isinstance(path, Path) and path.is_dir() else PurePosixPath(name).with_suffix("").as_posix()
