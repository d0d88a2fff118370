"""`lad score` and `lad evaluate` with `--engine ray`, on two nodes of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.elsewhere import (
    SCORED,
    actors_of,
    apart,
    ended,
    left_behind,
    results,
    scoring,
    wait_for,
    write_scoring,
)
from helpers.work import items

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
pytest.importorskip("ray", reason="NO RAY: --engine ray is not tested: pip install 'lad-video[ray]'")

pytestmark = pytest.mark.slow
CLIPS = 6000  # of the longest video, so that all of them take some seconds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector and its data."""
    found = tmp_path_factory.mktemp("scoring")
    write_scoring(found, CLIPS)
    return found


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one machine makes of it."""
    work = tmp_path_factory.mktemp("alone")
    subprocess.run(scoring("evaluate", folder, work, "-q"), check=True, capture_output=True, timeout=300)
    return results(work)


def start(words: list[str], address: str, **env: str) -> subprocess.Popen[str]:
    words = [*words, "--engine", "ray", "--ray-address", address]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **env})


def has_scores(work: Path) -> bool:
    return any((work / "scores" / "yard").glob("*.csv"))


def only_scores(made: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in made.items() if name.startswith("scores/")}


def done_twice(work: Path) -> list[str]:
    """Items that were finished more than once."""
    lines = [json.loads(line) for line in (work / "manifest.jsonl").read_text().splitlines()]
    done = [(line["stage"], line["item"]) for line in lines if line.get("status") == "done"]
    return sorted({item for stage, item in done if done.count((stage, item)) > 1})


def test_two_nodes_make_the_scores_and_metrics_that_one_machine_makes(
    cluster: Any, folder: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    work, heard = tmp_path / "work", tmp_path / "alarms"
    alarm = f"sh -c 'cat >> {heard}'"
    status, out, err = ended(start([*scoring("score", folder, work), "--alarm", alarm], cluster.address))
    assert status == 0 and f"score: {SCORED} done" in out, out + err
    assert "camera gate: known by 32 clips" in err, "its normal footage was scored, too"
    rows = items(work, "score").values()
    assert len(heard.read_text().splitlines()) == sum(len(row.info["events"]) for row in rows) > 0
    assert {row.status for row in rows} == {"done"} and len(items(work, "camera")["gate"].info["footage"]) == 4
    assert list(items(work, "camera")["gate"].info["footage"]) == [f"yard/{number}" for number in range(-4, 0)]
    status, out, err = ended(start(scoring("evaluate", folder, work), cluster.address))
    assert status == 0 and "score: nothing to do" in out, out + err
    assert err.count("warning") == err.count("warning: label 'fall': none of its videos has an event"), err
    assert len(only_scores(alone)) == SCORED + 3 and results(work) == alone
    assert not left_behind(work)


def test_an_actor_that_is_killed_costs_nothing_but_time(
    cluster: Any, nodes_cache: Path, folder: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    driver = start(scoring("score", folder, tmp_path), cluster.address)
    wait_for(lambda: has_scores(tmp_path), driver)
    for process in actors_of(nodes_cache):
        os.kill(process, signal.SIGKILL)
    status, out, err = ended(driver)
    assert status == 0 and f"score: {SCORED} done" in out and "lost a process" in err, out + err
    assert results(tmp_path) == only_scores(alone)
    assert not done_twice(tmp_path) and not left_behind(tmp_path)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_after_a_driver_that_was_ended_the_next_one_goes_on(
    cluster: Any, folder: Path, alone: dict[str, bytes], tmp_path: Path, how: signal.Signals
) -> None:
    driver = start(scoring("score", folder, tmp_path), cluster.address)
    wait_for(lambda: has_scores(tmp_path), driver)
    driver.send_signal(how)
    driver.communicate(timeout=60)
    assert driver.returncode == (130 if how == signal.SIGINT else -how)
    status, out, err = ended(start(scoring("score", folder, tmp_path), cluster.address))
    assert status == 0 and "done before" in out, out + err
    assert results(tmp_path) == only_scores(alone)
    assert not done_twice(tmp_path) and not left_behind(tmp_path)


def test_features_are_sent_where_nodes_do_not_see_them(
    cluster: Any, folder: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    """The driver is in a namespace of its own, where another disk has the data and the work directory."""
    place, kept = tmp_path / "place", tmp_path / "kept"
    place.mkdir()
    bring = [*apart(place), "sh", "-c", 'cp -a "$THERE/." "$0" && exec "$@"', str(place)]
    driver = start(
        [*bring, *scoring("score", place, place / "work")], cluster.address, THERE=str(folder), KEPT=str(kept)
    )
    status, out, err = ended(driver)
    assert status == 0 and f"score: {SCORED} done" in out, out + err
    made = results(kept / "work")
    told = {"scores/events.csv", "scores/events.json", "scores/summary.csv"}  # where the videos are
    assert {name: made[name] for name in made.keys() - told} == {
        name: content for name, content in only_scores(alone).items() if name not in told
    }
    assert not left_behind(kept / "work") and not list(place.iterdir())


def run_otherwise(words: list[str], change: str) -> list[str]:
    """A command whose program is changed by a line first."""
    return [sys.executable, "-c", f"{change}; import lad.__main__ as m; m.main()", *words[3:]]


def test_nodes_with_other_versions_score_nothing(cluster: Any, folder: Path, tmp_path: Path) -> None:
    change = "import lad.engine.scoring as s; s.versions = lambda *_: {'numpy': '0.4'}"
    driver = start(run_otherwise(scoring("score", folder, tmp_path), change), cluster.address)
    status, _, err = ended(driver)
    assert status == 2 and "and not 0.4: install the same on all nodes" in err, err
    assert not has_scores(tmp_path) and not left_behind(tmp_path)


def test_where_nodes_would_draw_otherwise_the_driver_draws(
    cluster: Any, folder: Path, alone: dict[str, bytes], tmp_path: Path
) -> None:
    change = "import lad.engine.on_ray as r; r.versions = lambda *_: {'matplotlib': '0.4'}"
    driver = start(run_otherwise(scoring("evaluate", folder, tmp_path), change), cluster.address)
    status, out, err = ended(driver)
    assert status == 0 and "score curves are drawn on this machine" in err and "and not 0.4" in err, out + err
    assert results(tmp_path) == alone and not left_behind(tmp_path)
