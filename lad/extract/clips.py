"""Frames to clips: resize, flow, groups of 16, batches, crops."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from lad.clip import CLIP_FRAMES
from lad.extract.flow import FLOW_METHODS, FlowSolver
from lad.extract.motion import FLOW, MOTION, motion_of
from lad.extract.motion import SHORT_SIDE as MOTION_SHORT_SIDE
from lad.extract.readers import First
from lad.extract.sampling import Tail, clip_start, clip_starts, sample_indices
from lad.extract.stillness import Stillness
from lad.extract.video import VideoInfo

FRAME_SIZE = 224
SHORT_SIDE = 256  # of the frames that crops are taken from
MAX_ASPECT = 4  # a panorama of 1:20 would fill the memory
CROPS = (1, 5, 10)

# Clips of each stream: `rgb` (clips, 16, height, width, 3) uint8, `flow` (clips, 16, height, width, 2) float32 in
# pixels of these frames; 224x224, or larger where crops are to be taken or rgb keeps its shape. `motion` (clips, 16, 9)
# float32: see `motion.motion_of`.
ClipBatch = dict[str, np.ndarray]

# One sampled frame as each stream has it: `rgb` (height, width, 3) uint8, `flow` (height, width, 2) float32, `motion`
# (9,) float32.
Images = dict[str, np.ndarray]

T = TypeVar("T")


@dataclass(frozen=True)
class ClipSpec:
    """How a video is cut into clips.

    With one crop, frames are squashed to 224x224; those of `rgb` may keep their shape instead. With 5 or 10, their
    short side becomes 256 and the long one keeps the aspect ratio; `crop_views` takes the crops. The aspect ratio is
    that on a display, kept up to 1:4, and beyond squashed to that. The first frame's shape is every frame's. Flow is
    computed once for each pair of frames, 224x224 or as large as crops are taken from. Motion has a flow of its own, of
    whole frames that keep their shape.

    Attributes:
        streams: which of `rgb`, `flow` and `motion`, and of the layers that a network passes on the way from one of
            these, such as `rgb.Mixed_3c`.
        flow: a name of `FLOW_METHODS`.
        tail: `pad` fills the last clip by repeating its last frame (and flow); `drop` leaves an incomplete one out.
        batch_clips: clips in a batch; the last batch may hold fewer.
        stride: frames from one clip to the next: below 16 clips overlap, above it frames between them are left out.
        crops: 1, 5 or 10.
        rgb_short_side: pixels of the short side of `rgb` frames that keep their shape, with one crop.
        fps: frames a second at which frames are picked by their times; None: the video's own.
        reader: what reads files first, see `readers.open_reader`.
        device: of a flow method in torch, and of torchcodec.
        flow_weights: name of the weights of a flow method that is a network; None: its default.
        still: clips that are left out together where nothing moves in any of them, see `stillness`; 0: none is.
        together: clips that a network sees as one, so that there are no gaps between them, see `sampling.clip_starts`.

    Raises:
        ValueError: no clips can be cut so.
    """

    streams: tuple[str, ...]
    flow: str = "dis"
    tail: Tail = "pad"
    batch_clips: int = 4
    stride: int = CLIP_FRAMES
    crops: int = 1
    rgb_short_side: int | None = None
    fps: float | None = None
    reader: First = "decord"
    device: str = "cpu"
    flow_weights: str | None = None
    still: int = 0
    together: int = 1

    def __post_init__(self) -> None:
        clip_starts(0, self.stride, self.tail)  # raises where there is no such stride
        if self.crops not in CROPS:
            raise ValueError(f"{self.crops} crops; choose from {CROPS}")
        if self.crops > 1 and self.rgb_short_side is not None:
            raise ValueError(
                "crops are taken of frames with a short side of 256: choose one of crops and rgb_short_side"
            )
        if self.still and self.stride < CLIP_FRAMES:
            raise ValueError(
                f"still clips are left out of clips that do not overlap: a stride of {CLIP_FRAMES} or more"
            )
        if self.still and self.stride > CLIP_FRAMES and self.still != self.together:
            raise ValueError("with gaps, clips are left out together that a network sees as one, and no others")

    @property
    def pixels(self) -> tuple[str, ...]:
        """The streams that clips are cut of: a layer has none of its own."""
        return tuple(dict.fromkeys(stream.partition(".")[0] for stream in self.streams))

    @property
    def share(self) -> float:
        """Of the sampled frames, that clips are of."""
        return min(1.0, CLIP_FRAMES / self.stride)

    def start(self, clip: int) -> int:
        """The sampled frame with which a clip begins."""
        return clip_start(clip, self.stride, self.together)


def clip_batches(
    frames: Iterable[ArrayLike], spec: ClipSpec, skip_clips: int = 0, pixel_aspect: float = 1.0
) -> Iterator[ClipBatch]:
    """Cut the sampled frames of a video into clips of 16 (see `sampling.clip_frames`), several in a batch.

    Args:
        frames: `(height, width, 3)` uint8 RGB of any size, or what numpy makes that of.
        spec: how.
        skip_clips: so many of the first are left out, and what only they need is not computed: but for the first, their
            frames are not even looked at. Whole batches of them, or all; then the batches that come are what they would
            be without.
        pixel_aspect: how much wider than high a pixel is shown: frames that keep a shape keep that on a display.
    """
    return (batch for batch, _ in seen_clips(frames, spec, skip_clips, pixel_aspect))


def seen_clips(
    frames: Iterable[ArrayLike], spec: ClipSpec, skip_clips: int = 0, pixel_aspect: float = 1.0
) -> Iterator[tuple[ClipBatch, tuple[bool, ...]]]:
    """The same where `spec.still` may leave clips out: batches of those that are to be seen, and which are still.

    A batch is of the clips that it would be of without, and empty if all of them are still. The brightness of all
    frames is looked at then, that of `skip_clips` too, which the verdicts on the further ones depend on.
    """
    stillness = Stillness(spec.still, spec.still * spec.stride) if spec.still else None
    # The frame before is needed too: if one frame alone remains, its flow is what led to it.
    skip_frames = max(0, spec.start(skip_clips) - 1)
    needed = _within_clips(frames, spec) if spec.stride > CLIP_FRAMES else frames
    images = _images(stillness.frames(needed) if stillness else needed, spec, skip_frames, pixel_aspect)
    batch: list[list[Images]] = []
    still: list[bool] = []
    for number, clip in enumerate(_cut(images, spec, skip_frames, skip_clips), skip_clips):
        still.append(stillness is not None and stillness.is_still(number))
        if not still[-1]:
            batch.append([image for image in clip if image is not None])  # all of them
        if len(still) == spec.batch_clips:
            yield _stacked(batch, spec.pixels), tuple(still)
            batch, still = [], []
    if still:
        yield _stacked(batch, spec.pixels), tuple(still)


def count_clips(spec: ClipSpec, info: VideoInfo) -> int:
    """How many clips the frames of a video come to."""
    sampled = len(sample_indices(np.array(info.times), info.fps, spec.fps))
    return len(clip_starts(sampled, spec.stride, spec.tail, spec.together))


def _within_clips(frames: Iterable[ArrayLike], spec: ClipSpec) -> Iterator[ArrayLike | None]:
    """The frames, with None in the place of those between clips that nobody needs.

    Flow leads from a clip's last frame to the one after it. That of a last clip of one frame is what led to it.
    """
    seen, length = spec.together * CLIP_FRAMES, spec.together * spec.stride
    beside = () if spec.pixels == ("rgb",) else (seen, length - 1)
    for number, frame in enumerate(frames):
        place = number % length
        yield frame if place < seen or place in beside else None


def _images(
    frames: Iterable[ArrayLike | None], spec: ClipSpec, skip_frames: int, pixel_aspect: float
) -> Iterator[Images | None]:
    """Each frame but the skipped ones, as each stream has it; None where a frame is not needed."""
    images = _scaled(frames, spec, skip_frames, pixel_aspect)
    if "flow" in spec.pixels:
        images = _flowing(images, "flow", spec.flow, spec.device, spec.flow_weights)
    if MOTION in spec.pixels:
        flowing = _flowing(images, MOTION, FLOW)
        images = (image and {**image, MOTION: motion_of(image[MOTION])} for image in flowing)
    return images


def _flowing(
    images: Iterator[Images | None], stream: str, method: str, device: str = "cpu", weights: str | None = None
) -> Iterator[Images | None]:
    """The images, with the flow to the next one where `stream` has frames; None where there is no image."""
    solver = FLOW_METHODS[method].make(device, weights)
    for is_needed, run in groupby(images, key=lambda image: image is not None):
        if not is_needed:
            yield from run
            continue
        pairs = ((image, image[stream]) for image in run if image is not None)
        for image, flow in with_flow(pairs, method, device=device, solver=solver):
            yield {**image, stream: flow}


def _cut(images: Iterable[T], spec: ClipSpec, taken: int, clips: int) -> Iterator[list[T]]:
    """The 16 images of each clip, where `taken` frames and `clips` clips have gone before."""
    recent: deque[T] = deque(maxlen=CLIP_FRAMES)
    for image in images:
        recent.append(image)
        taken += 1
        if taken == spec.start(clips) + CLIP_FRAMES:
            yield list(recent)
            clips += 1
    starts = clip_starts(taken, spec.stride, spec.tail, spec.together)
    if clips < len(starts):  # by one at most: the frames after the last whole clip
        rest = list(recent)[starts[clips] - taken :]
        yield rest + rest[-1:] * (CLIP_FRAMES - len(rest))


def _stacked(clips: Sequence[Sequence[Images]], streams: Sequence[str]) -> ClipBatch:
    batch = {}
    for stream in streams if clips else ():
        images = [image[stream] for clip in clips for image in clip]
        batch[stream] = np.stack(images).reshape(-1, CLIP_FRAMES, *images[0].shape)
    return batch


def _scaled(
    frames: Iterable[ArrayLike | None], spec: ClipSpec, skip: int, pixel_aspect: float
) -> Iterator[Images | None]:
    """Each frame as each stream takes it, or has its flow computed of it: the same array where both are of one size."""
    sides = {stream: _kept_short_side(spec, stream) for stream in spec.pixels}
    shapes = {} if any(sides.values()) else dict.fromkeys(sides, (FRAME_SIZE, FRAME_SIZE))
    for number, frame in enumerate(frames):
        if not shapes:
            height, width = np.asarray(frame).shape[:2]
            for stream, side in sides.items():
                kept = short_side_shape(height, width * pixel_aspect, side) if side else (FRAME_SIZE, FRAME_SIZE)
                shapes[stream] = kept
        if number >= skip and frame is None:
            yield None
        elif number >= skip:
            pixels = np.asarray(frame)
            of_shape = {shape: resize(pixels, shape) for shape in dict.fromkeys(shapes.values())}
            yield {stream: of_shape[shape] for stream, shape in shapes.items()}


def _kept_short_side(spec: ClipSpec, stream: str) -> int | None:
    """Pixels of the short side of a stream's frames, where they keep their shape; None: they are 224x224."""
    if stream == MOTION:
        return MOTION_SHORT_SIDE
    if spec.crops > 1:
        return SHORT_SIDE
    return spec.rgb_short_side if stream == "rgb" else None


def short_side_shape(height: float, width: float, short_side: int = SHORT_SIDE) -> tuple[int, int]:
    """The (height, width) of a frame whose short side is to be so long, its long one at most four times that."""
    short = min(height, width)
    rows, columns = (min(round(side * short_side / short), MAX_ASPECT * short_side) for side in (height, width))
    return rows, columns


def resize(frame: np.ndarray, shape: tuple[int, int] = (FRAME_SIZE, FRAME_SIZE)) -> np.ndarray:
    """Squash a frame to `(*shape, 3)`: the full field of view, bilinear."""
    import cv2

    if frame.shape[:2] == shape:
        return frame
    return cv2.resize(np.ascontiguousarray(frame), shape[::-1], interpolation=cv2.INTER_LINEAR)


def with_flow(
    frames: Iterable[tuple[T, np.ndarray]],
    method: str,
    *,
    device: str = "cpu",
    weights: str | None = None,
    solver: FlowSolver | None = None,
) -> Iterator[tuple[T, np.ndarray]]:
    """Pair each frame with its flow `(height, width, 2)` to the next one.

    The last frame repeats the flow before it; the only frame of a one-frame video has zero flow.

    Args:
        frames: each as it is to be given back, whatever that is, and as flow is computed of it.
        method: a name of `FLOW_METHODS`.
        device, weights: of `FlowMethod.make`.
        solver: what that made, where it is used again.
    """
    solve = solver or FLOW_METHODS[method].make(device, weights)
    at_once = FLOW_METHODS[method].pairs_at_once(device)
    images: list[T] = []  # of frames whose flow is not known yet
    held: list[np.ndarray] = []  # the same frames, as flow is computed of them
    motion: np.ndarray | None = None
    for image, frame in frames:
        images.append(image)
        held.append(frame)
        if len(held) > at_once:
            for previous, motion in zip(images, _motions(solve, held), strict=False):
                yield previous, motion
            del images[:-1], held[:-1]
    if len(held) > 1:
        for previous, motion in zip(images, _motions(solve, held), strict=False):
            yield previous, motion
    if held:
        yield images[-1], np.zeros((*held[-1].shape[:2], 2), np.float32) if motion is None else motion


def _motions(solve: FlowSolver, frames: list[np.ndarray]) -> Sequence[np.ndarray]:
    """The flow from each frame to the next."""
    if len(frames) == 2:
        return [solve(*frames)]
    return list(solve(np.stack(frames[:-1]), np.stack(frames[1:])))


def crop_views(clips: np.ndarray, crops: int, stream: str) -> Iterator[np.ndarray]:
    """The 224x224 views of clips that features are taken of, one after the other.

    Args:
        clips: `(n, 16, height, width, channels)`, at least 224x224.
        crops: 1: the clips as they are. 5: top left, top right, bottom left, bottom right, centre (an odd margin's
            spare pixel stays at the right and the bottom). 10: those five, then their mirror images, left for right.
        stream: `rgb`, or `flow`, whose horizontal displacement changes its sign in a mirror.

    Yields:
        `(n, 16, 224, 224, channels)` of the clips' dtype, contiguous.
    """
    if crops == 1:
        yield clips
        return
    down, right = clips.shape[2] - FRAME_SIZE, clips.shape[3] - FRAME_SIZE
    if crops not in CROPS or min(down, right) < 0:
        raise ValueError(f"{crops} crops of {FRAME_SIZE}x{FRAME_SIZE} from frames of {clips.shape[2:4]}")
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    for mirrored in (False, True)[: crops // 5]:
        for top, left in corners:
            view = clips[:, :, top : top + FRAME_SIZE, left : left + FRAME_SIZE]
            yield _mirror(view, stream) if mirrored else np.ascontiguousarray(view)


def _mirror(view: np.ndarray, stream: str) -> np.ndarray:
    mirrored = np.ascontiguousarray(view[:, :, :, ::-1])
    if stream == "flow":
        mirrored[..., 0] *= -1
    return mirrored
