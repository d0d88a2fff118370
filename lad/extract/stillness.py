"""Which clips show nothing that moves beyond the camera's noise: `extract.still: skip`.

A frame is seen as the mean brightness of its cells, and a clip as four pictures, each the mean of four frames. Whatever
moves, fast or slowly, makes them differ where it is. What changes the light of a whole row of cells (exposure, lamps on
the mains under a rolling shutter) is taken out. What is left is noise where it is much the same all over the picture,
and movement where it stands out from that: how strong noise is, the median of the cells tells in each clip. So a sensor
may be noisy, a codec may make another picture at each key frame, and it may rain. Larger cells are asked too: in them
there is less noise, and as much of a person.

A still clip is not seen by a network. It has the features of the clip before it, which by that rule are those of the
last still clip that was seen: the reference. The first still clip after movement is a new reference, and so is one that
does not look like the reference any more, because something changed too slowly to be seen moving.

Verdicts depend on the frames from a video's first on, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from lad.clip import CLIP_FRAMES
from lad.extract.read_pyav import Picture

CODE_VERSION = 1  # raised by hand when the same frames get other verdicts
CELLS, CELL_PIXELS = 45, 8  # on the short side of a frame, at most, and of a cell's side, at least: as codecs have it
LONG_CELLS = 4 * CELLS  # at most
FINE = 3  # rounded pixels of a cell, each way, that are enough to tell its brightness to a tenth of a grey level
SCALES = (1, 2, 4)  # cells of a larger cell, each way
PICTURES = 4  # of a clip
DARK = 16.0  # grey levels that are added before brightness is compared by its ratio: near black it is all noise
# How far above the median of all cells the strongest noise is. Measured (`benchmarks/still_footage.py`): up to 6 times
# for sensors and rain, 10 for lamps, and 12 for one key frame in twenty.
FACTOR = 12.0
# Grey levels. Less is a codec's doing even where the median cell does not change at all, and more is no noise.
LEAST_MOVEMENT, MOST_NOISE = 3.0, 20.0
LEAST_DIFFERENCE = 6.0  # from the reference, of which a codec makes another picture at each key frame
LIGHT = 0.1  # share by which the light may differ from the reference's
LONGEST_CLIPS = 128  # that one reference may stand for


class Stillness:
    """The verdicts on one video's clips.

    Args:
        clips: that are left out together or not at all: the piece of video that a network sees as one.
        length: frames from the start of one such piece to the next; what lies between pieces is not judged. None: they
            follow one another.
    """

    def __init__(self, clips: int, length: int | None = None) -> None:
        self._clips, self._length = clips, length or clips * CLIP_FRAMES
        self._still: list[bool] = []  # of the clips so far
        self._reference: np.ndarray | None = None  # the mean picture of the last still piece that was seen
        self._stands_for = 0  # clips

    def is_still(self, clip: int) -> bool:
        """The verdict on a clip all of whose frames were given back."""
        return self._still[clip]

    def frames(self, frames: Iterable[ArrayLike | None]) -> Iterator[ArrayLike | None]:
        """The frames of a video, with None in the place of those that nobody needs, as they are in still clips.

        Between clips there may be None already.

        The frame before and the one after a clip that is seen are there, since flow leads from and to them. A frame is
        given back when all of its piece have come, and the last one of a still piece with the next piece.
        """
        last: list[ArrayLike | None] = []  # frame of the piece before, if that is still
        for piece, cells in _pieces(frames, self._length, self._clips * CLIP_FRAMES):
            still = len(piece) == self._length and self._judge(cells)
            self._still += [still] * min(self._clips, -(-len(piece) // CLIP_FRAMES))
            yield from (None if still else frame for frame in last)
            if still:
                yield None if last else piece[0]
                yield from [None] * (len(piece) - 2)
            else:
                yield from piece
            last = piece[-1:] if still else []
            del piece  # or its frames are held while the next ones come
        yield from [None] * len(last)

    def _judge(self, cells: Sequence[np.ndarray]) -> bool:
        """Whether a piece is still, by the cells of its frames."""
        clips = np.reshape(cells, (self._clips, CLIP_FRAMES, *cells[0].shape))
        if any(moves(clip) for clip in clips):
            self._reference = None
            return False
        looks = clips.mean(axis=1)
        reference = self._reference if self._stands_for < LONGEST_CLIPS else None
        if reference is None or any(looks_different(look, reference) for look in looks):
            self._reference, self._stands_for = looks.mean(axis=0), 0
            return False
        self._stands_for += self._clips
        return True


def _pieces(
    frames: Iterable[ArrayLike | None], length: int, judged: int
) -> Iterator[tuple[list[ArrayLike | None], list[np.ndarray]]]:
    """So many frames at a time with the cells of the first of them, and at last the rest."""
    piece: list[ArrayLike | None] = []
    cells: list[np.ndarray] = []
    shape: tuple[int, int] | None = None
    for frame in frames:
        if frame is not None and len(piece) < judged:
            cells.append(cells_of(frame, shape))
            shape = cells[0].shape
        piece.append(frame)
        if len(piece) == length:
            yield piece, cells
            piece, cells = [], []
    if piece:
        yield piece, cells


def cells_of(frame: ArrayLike, shape: tuple[int, int] | None = None) -> np.ndarray:
    """The mean brightness of a frame's cells, `(rows, columns)` float32, in grey levels.

    Args:
        frame: `(height, width, 3)` uint8 RGB, or what numpy makes that of; of a `Picture` only its brightness is read.
        shape: rows and columns; None: as this frame's shape wants them.
    """
    import cv2

    grey = frame.grey() if isinstance(frame, Picture) else cv2.cvtColor(np.asarray(frame), cv2.COLOR_RGB2GRAY)
    if shape is None:
        pixels = max(min(grey.shape) / CELLS, CELL_PIXELS)
        rows, columns = (max(SCALES[-1], min(round(side / pixels), LONG_CELLS)) for side in grey.shape)
    else:
        rows, columns = shape
    height, width = grey.shape
    if (fine := min(height // (FINE * rows), width // (FINE * columns))) > 1:  # in whole numbers, which is much faster
        whole = grey[: height // fine * fine, : width // fine * fine]
        grey = cv2.resize(whole, (width // fine, height // fine), interpolation=cv2.INTER_AREA)
    return cv2.resize(grey.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)


def moves(clip: np.ndarray) -> bool:
    """Whether something moves in a clip, by the cells of its frames `(16, rows, columns)`."""
    pictures = clip.reshape(PICTURES, -1, *clip.shape[1:]).mean(axis=1)
    changes = _change(pictures, pictures.mean(axis=0))
    return any(_stands_out(cells.max(axis=0) - cells.min(axis=0), LEAST_MOVEMENT) for cells in _at_scales(changes))


def looks_different(picture: np.ndarray, reference: np.ndarray) -> bool:
    """Whether a picture shows something else than a reference, or in another light; cells `(rows, columns)` of both."""
    light = float(np.median(picture + DARK) / np.median(reference + DARK))
    change = np.abs(_change(picture[None], reference))
    return abs(light - 1) > LIGHT or any(_stands_out(cells[0], LEAST_DIFFERENCE) for cells in _at_scales(change))


def _change(pictures: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """How the cells of pictures `(n, rows, columns)` differ from those of one, but for the light of their rows."""
    light = np.median((pictures + DARK) / (reference + DARK), axis=2, keepdims=True)
    return pictures + DARK - light * (reference + DARK)


def _at_scales(cells: np.ndarray) -> Iterator[np.ndarray]:
    """Pictures of cells `(n, rows, columns)`, and those of larger cells."""
    import cv2

    _, rows, columns = cells.shape
    for scale in SCALES:
        shape = (columns // scale, rows // scale)
        yield np.stack([cv2.resize(one, shape, interpolation=cv2.INTER_AREA) for one in cells]) if scale > 1 else cells


def _stands_out(change: np.ndarray, least: float) -> bool:
    """Whether the change of a cell is more than the noise that all of them have."""
    noise = FACTOR * float(np.median(change))
    return bool(change.max() > min(max(noise, least), MOST_NOISE))


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
    for stream in before or features:  # what nobody asked for may be missing before
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
