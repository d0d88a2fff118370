"""Which clips show nothing that moves beyond the camera's noise: `extract.still: skip`.

A frame is seen as the mean brightness of its cells. What changes the light of a whole row of cells (exposure, the mains
in lamps and a rolling shutter) is taken out. What remains is movement where a cell goes on changing in one direction:
of three changes that follow one another the middle one counts, so that a drop of rain, a lightning, or a key frame,
which is coded anew, is none. How much of that is noise, each cell tells by the quietest of the latest clips, so that
noise may be anything and nobody has to say how strong it is.

A still clip is not seen by a network. It has the features of the clip before it, which are those of the last still clip
that was seen, the reference. The first still clip after movement is a new reference, and so is one that does not look
like the reference any more.

Verdicts depend on the frames from a video's first on, and on nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lad.clip import CLIP_FRAMES
from lad.extract.read_pyav import Picture

CODE_VERSION = 1  # raised by hand when the same frames get other verdicts
CELLS = 45  # on the short side of a frame: 8 pixels of 360
LONG_CELLS = 4 * CELLS  # at most
DARK = 16.0  # grey levels that are added before brightness is compared by its ratio: near black it is all noise
LEARNING_CLIPS = 16  # of a video are seen before the first can be left out
LATEST_CLIPS = 64  # tell the noise
QUIETEST = 0.25  # of them: in no cell is something moving all the time
LEAST_NOISE = 0.25  # grey levels: what codecs do to a cell where there is no noise
FACTOR = 4.0  # that movement is stronger than noise
LONGEST_CLIPS = 128  # that one reference may stand for
LEAST_CHANGE = 4.0
CHANGE_FACTOR = 8.0


class Stillness:
    """The verdicts on one video's clips.

    Args:
        clips: that are left out together or not at all: the piece of video that a network sees as one.
    """

    def __init__(self, clips: int) -> None:
        self._clips = clips
        self._still: list[bool] = []  # of the clips so far
        self._latest: deque[np.ndarray] = deque(maxlen=LATEST_CLIPS)  # movement in each cell of clips
        self._reference: np.ndarray | None = None  # the mean picture of the latest still piece that was seen
        self._stood = 0  # clips that it stands for

    def is_still(self, clip: int) -> bool:
        """The verdict on a clip all of whose frames were given back."""
        return self._still[clip]

    def frames(self, frames: Iterable[ArrayLike]) -> Iterator[ArrayLike | None]:
        """The frames of a video, with None in the place of those that nobody needs, as they are in still clips.

        The frame before and the one after a clip that is seen are there, since flow leads from and to them. Gives a
        frame back when all of its piece and the frame after that have come.
        """
        last: list[ArrayLike] = []  # frame of the piece before, where that is still: the next one tells if it is needed
        for piece, cells in _pieces(frames, self._clips * CLIP_FRAMES):
            still = len(piece) == self._clips * CLIP_FRAMES and self._judge(cells)
            self._still += [still] * -(-len(piece) // CLIP_FRAMES)
            yield from (None if still else frame for frame in last)
            if still:
                yield None if last else piece[0]
                yield from [None] * (len(piece) - 2)
            else:
                yield from piece
            last = piece[-1:] if still else []
        yield from [None] * len(last)

    def _judge(self, cells: Sequence[np.ndarray]) -> bool:
        """Whether a piece is still, by the cells of its frames, and of those before and after it."""
        first = 1 if self._still else 0  # of the piece
        starts = range(first, first + self._clips * CLIP_FRAMES, CLIP_FRAMES)
        moves = [self._moves(np.stack(cells[max(0, start - 1) : start + CLIP_FRAMES + 1])) for start in starts]
        if any(moves):
            self._reference = None
            return False
        looks = [np.mean(cells[start : start + CLIP_FRAMES], axis=0) for start in starts]
        stands = self._reference is not None and self._stood < LONGEST_CLIPS
        if stands and not any(looks_different(look, self._reference) for look in looks):
            self._stood += self._clips
            return True
        self._reference, self._stood = np.mean(looks, axis=0), 0
        return False

    def _moves(self, cells: np.ndarray) -> bool:
        """Whether something moves in a clip, by its cells; learns what noise is."""
        found = movement(cells)
        moves = len(self._latest) < LEARNING_CLIPS or bool((found > self._limit()).any())
        self._latest.append(found)
        return moves

    def _limit(self) -> np.ndarray:
        """The movement in each cell that may be noise."""
        place = int(QUIETEST * len(self._latest))
        noise = np.partition(np.stack(self._latest), place, axis=0)[place]
        return FACTOR * np.maximum(noise, LEAST_NOISE)


def _pieces(frames: Iterable[ArrayLike], length: int) -> Iterator[tuple[list[ArrayLike], list[np.ndarray]]]:
    """So many frames at a time, at last the rest; with the cells of each, of the frame before and of the one after."""
    piece: list[ArrayLike] = []
    cells: list[np.ndarray] = []
    for frame in frames:
        piece.append(frame)
        cells.append(cells_of(frame, cells[0].shape if cells else None))
        if len(piece) > length:
            yield piece[:length], cells
            piece, cells = piece[length:], cells[-2:]
    if piece:
        yield piece, cells


def cells_of(frame: ArrayLike, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The mean brightness of a frame's cells, `(rows, columns)` float32, in grey levels.

    Args:
        frame: `(height, width, 3)` uint8 RGB or what numpy makes that of; of a `Picture` only its brightness is read.
        shape: rows and columns; None: those of a frame of this shape.
    """
    import cv2

    grey = frame.grey() if isinstance(frame, Picture) else cv2.cvtColor(np.asarray(frame), cv2.COLOR_RGB2GRAY)
    if shape is None:
        short = min(grey.shape)
        shape = tuple(min(round(side * CELLS / short), LONG_CELLS) for side in grey.shape)
    return cv2.resize(grey.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)


def movement(cells: np.ndarray) -> np.ndarray:
    """How much goes on changing in each cell: `(frames, rows, columns)` -> `(rows, columns)`, grey levels a frame."""
    changes = _change(cells[1:], cells[:-1])
    one, two, three = changes[:-2], changes[1:-1], changes[2:]
    middle = np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), three))
    return np.abs(middle).max(axis=0)


def looks_different(picture: np.ndarray, reference: np.ndarray) -> bool:
    """Whether the cells of a picture are others than those of a reference, all of them `(rows, columns)`."""
    change = np.abs(_change(picture[None], reference[None])[0])
    return bool(change.max() > max(LEAST_CHANGE, CHANGE_FACTOR * np.quantile(change, 0.9)))


def _change(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """How the cells of pictures `(n, rows, columns)` changed beyond what changed the light of their whole row."""
    ratio = (after + DARK) / (before + DARK)
    return after + DARK - np.median(ratio, axis=2, keepdims=True) * (before + DARK)


def with_repeated(
    features: Mapping[str, np.ndarray], back: Sequence[int], before: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The features of all clips of a batch, by those of the clips that were seen.

    Args:
        features: stream -> `(seen, dim)` or `(crops, seen, dim)` float32; nothing where none was seen.
        back: of each clip how many clips before it the one lies whose features it has; 0: it was seen. Empty: all were.
        before: stream -> the features of the clips before the batch, as far as `back` leads, or more.

    Returns:
        stream -> `(clips, dim)` or `(crops, clips, dim)`.
    """
    if not any(back):
        return dict(features)
    filled = {}
    for stream in features or before:
        earlier = list(np.moveaxis(before[stream], -2, 0)) if before else []
        seen = iter(np.moveaxis(features[stream], -2, 0) if features else [])
        rows = list(earlier)
        for steps in back:
            rows.append(rows[-steps] if steps else next(seen))
        filled[stream] = np.stack(rows[len(earlier) :], axis=-2)
    return filled


def runs(flags: Iterable[bool], first: int = 0) -> list[list[int]]:
    """Where flags are set, as `[start, end)`; the first of them has the number `first`."""
    found: list[list[int]] = []
    for number, flag in enumerate(flags, first):
        if flag and found and found[-1][1] == number:
            found[-1][1] += 1
        elif flag:
            found.append([number, number + 1])
    return found
