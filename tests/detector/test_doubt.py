"""Who is held out to validate, and when validation doubts a detector."""

from __future__ import annotations

from pathlib import Path

import pytest

from lad.dataset import Video
from lad.detector.validation import doubt, hold_out
from lad.events import WHOLE_VIDEO


def videos(sources: dict[str, tuple[int, int]]) -> list[Video]:
    """source -> (abnormal, normal) videos."""
    return [
        Video(f"{source}/{kind}{number}", Path(), source=source, events=WHOLE_VIDEO if kind == "a" else ())
        for source, counts in sources.items()
        for kind, count in zip("an", counts, strict=True)
        for number in range(count)
    ]


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.2, 0.34, 0.5, 0.7, 0.9])
def test_as_much_is_held_out_as_was_asked_for(fraction: float) -> None:
    everyone = videos({f"a{n}": (1, 0) for n in range(40)} | {f"n{n}": (0, 1) for n in range(60)})
    for seed in range(5):
        train, held = hold_out(everyone, fraction, seed)
        assert sorted(v.id for v in train + held) == sorted(v.id for v in everyone)
        assert sum(v.is_abnormal for v in held) == pytest.approx(40 * fraction, abs=1)
        assert sum(not v.is_abnormal for v in held) == pytest.approx(60 * fraction, abs=1)


def test_sources_are_held_out_whole_and_one_of_each_kind_trains() -> None:
    everyone = videos({"big": (9, 0), "small": (1, 0), "quiet": (0, 5), "still": (0, 5)})
    for seed in range(8):
        train, held = hold_out(everyone, 0.2, seed)
        assert not {v.group for v in train} & {v.group for v in held}
        for part in (train, held):
            assert {v.is_abnormal for v in part} == {True, False}


@pytest.mark.parametrize(
    ("auc", "abnormal", "normal", "doubted"),
    [(0.48, 50, 50, True), (0.55, 10, 10, True), (0.7, 2, 1, True), (0.98, 4, 4, False), (0.88, 60, 60, False)],
)
def test_what_may_be_chance_is_doubted(auc: float, abnormal: int, normal: int, doubted: bool) -> None:
    assert bool(doubt(auc, abnormal, normal)) == doubted


def test_what_was_not_validated_is_not_doubted_and_what_cannot_be_told_is() -> None:
    assert doubt(None, 0, 0) == ""
    assert "could not tell" in doubt(None, 3, 0)
