"""What a clip is: the unit that features are made of."""

from __future__ import annotations

CLIP_FRAMES = 16  # consecutive frames; Inception-I3D halves them four times
