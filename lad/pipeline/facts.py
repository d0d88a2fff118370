"""What a result depends on, kept with it in few words: a fingerprint says that it is stale, these facts say why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lad.events import AnyEvent, Click, Somewhere
from lad.files import fingerprint
from lad.text import shortened

FACTS = "facts"  # key of an item's info
WHOLE_LISTS = frozenset({"videos"})  # too long to keep: a hash of them stands there
CAMERA = "cameras."  # of a detector for each camera, whose facts are a hash
UNTOLD = frozenset({"stage"})
# Later keys of `train`: left out where all is as before them.
UNCHANGED_BY = {"adapt": "none", "reference_clips": 0, "dtype": "float32"}
LATER_KEYS = ("reference_clips", "dtype")  # of them, those that metrics name only where they change something
# What facts are called where people set them; of the others the fact's own name says it.
NAMES = {
    **{key: f"extract.{key}" for key in ("backbone", "weights", "preset", "flow", "crops", "fps", "clip_stride")},
    **{key: f"extract.{key}" for key in ("tail", "batch_clips", "context", "still", "reader")},
    "short_side": "extract.rgb_short_side",
    "folder_fps": "data.frame_folder_fps",
    "numerics.device": "device",
    "numerics.dtype": "extract.dtype",
    "numerics.threads": "threads",
    "merge": "score.merge",
    "threshold": "score.threshold",
    "alarms_per_day": "score.alarms_per_day",
    "camera": "score.source, source in the dataset:",
    "layer": "extract.layers",
    "int8": "extract.dtype int8, version",
    "events": "score.merge_seconds, score.min_seconds",
    "classes": "categories",
    "clicks": "how intervals grow around clicks, version",
    "by_test": "protocol.by_test",
}
GIVEN_NAMES = {  # of features that somebody else made
    "of": "extract.backbone, extract.streams",
    "fps": "data.frame_folder_fps",
    "frames": "n_frames in the dataset",
    "layout": "data.npy_layout",
}
# Facts that are hashes: their values would say nothing.
HASHES = {
    "videos": "other videos, labels or features",
    "features": "other features",
    "checkpoint": "another detector",
    "detector": "the source of the detector was edited",
    "repairs": "what it is made from was altered and mended",
}


def pairs(events: Sequence[AnyEvent]) -> list[list[int | float | None] | str]:
    """Events as facts: start and end of each, or what is written of one that has neither."""
    return [str(event) if isinstance(event, Click | Somewhere) else [event.start, event.end] for event in events]


def kept(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as they are kept in an item's info."""
    shown = {key: value for key, value in facts.items() if key not in UNTOLD}
    return {key: fingerprint(value) if key in WHOLE_LISTS else value for key, value in shown.items()}


def differences(stage: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between the facts of a result and today's, each as `extract.fps: null -> 10`.

    Args:
        stage: of the result.
        then: as `kept` kept them.
        now: the facts of today, as they are.
    """
    unsaid = {f"train.{key}": value for key, value in UNCHANGED_BY.items()}
    before, after = dict(_flat(then)), dict(_flat(kept(now)))
    names = NAMES | GIVEN_NAMES if "of" in now else NAMES
    return [
        _difference(stage, key, names, before.get(key, unsaid.get(key)), after.get(key, unsaid.get(key)))
        for key in {**after, **before}
        if before.get(key) != after.get(key)
    ]


def _difference(stage: str, key: str, names: Mapping[str, str], then: Any, now: Any) -> str:
    if key == "code":
        return f"made with {stage} code {then}, today's is {now}"
    if key.startswith(CAMERA):
        return f"{'other' if then and now else 'new' if now else 'no'} footage of the camera {key.removeprefix(CAMERA)}"
    return HASHES.get(key) or f"{names.get(key, key.removeprefix('protocol.config.'))} {_shown(then)} -> {_shown(now)}"


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    return shortened(value if isinstance(value, str) else json.dumps(value))
