"""What a clip is: the unit that features are made of."""

from __future__ import annotations

CLIP_FRAMES = 16  # consecutive frames; Inception-I3D halves them four times
MAX_PIECE_CLIPS = 16  # that a network may see as one piece of video: the memory that they take grows with them
