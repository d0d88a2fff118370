"""What is promised of names: which one was meant, and which two are one."""

from __future__ import annotations

import pytest

from lad.datasets import BENCHMARKS
from lad.text import look_alikes, nearest


@pytest.mark.parametrize(
    ("word", "meant"),
    [("Train", "train"), ("training", "train"), ("validation", "val"), ("tset", "test"), ("holiday", None), ("", None)],
)
def test_the_name_that_was_meant_is_found(word: str, meant: str | None) -> None:
    assert nearest(word, ["train", "val", "test"]) == meant


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("normal", "nromal"),
        ("Fire", "fire"),
        ("Fight", "Fights"),
        ("Fighting", "Figthing"),
        ("road accident", "Road_Accident"),
    ],
)
def test_names_that_are_one_name_twice_look_alike(first: str, second: str) -> None:
    assert look_alikes([first, second]) == [tuple(sorted([first, second]))]


def test_names_that_differ_on_purpose_do_not() -> None:
    assert look_alikes(["normal", "abnormal", "class1", "class2", "run", "gun"]) == []
    assert not any(look_alikes(benchmark.classes) for benchmark in BENCHMARKS.values())
