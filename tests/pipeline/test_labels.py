"""What labels alone tell is said before anything is decoded, and what cannot teach is refused with what to do."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.work import BEST, same_tensors, tensors

from lad.config import TrainConfig, load_config, override
from lad.dataset import Video
from lad.detector.checkpoint import load_checkpoint
from lad.events import parse_events
from lad.pipeline.labels import check_labels_of, counted_labels, supervision_of

HEADER = "video,path,split,label,events,n_frames,fps,source\n"
SMALL = (
    "train={window: 2, hidden: 8, abnormal_windows: 2, normal_windows: 2, steps: 4, evaluate_every: 2}",
    "extract.backbone=tiny",
    "threads=1",
)
GOOD = [
    "a,a.mp4,train,Fire,8-30,,,one",
    "b,b.mp4,train,Fire,,,,one",
    "c,c.mp4,train,Fire,8-30,,,two",
    "d,d.mp4,train,normal,,,,two",
    "e,e.mp4,test,Fire,8-30,,,three",
]


@pytest.fixture(scope="session")
def clips(tmp_path_factory, make_video) -> Path:
    root = tmp_path_factory.mktemp("clips")
    for number, name in enumerate("abcde"):  # no two are the same
        make_video(root / f"{name}.mp4", 40, size=(64 + 2 * number, 48))
    return root


@pytest.fixture
def lad_run(lad, clips, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Run a command on a dataset.csv of the given rows."""

    def call(command: str, rows: list[str], *words: str) -> tuple[int, str, str]:
        (clips / "dataset.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
        options = [word for key in ("data.dataset=dataset.csv", *SMALL) for word in ("-o", key)]
        return lad(command, "--data", str(clips), "--work", str(tmp_path / "work"), *options, *words)

    return call


def changed(**cells: str) -> list[str]:
    """The good rows, with one cell of a row exchanged: `a="Fire>nromal"`."""
    return [row.replace(*cells[row[0]].split(">")) if row[0] in cells else row for row in GOOD]


def refused_at_once(result: tuple[int, str, str], tmp_path: Path, *said: str) -> None:
    status, _, err = result
    assert status == 2 and not list(tmp_path.rglob("*.npy")), "nothing was decoded"
    assert all(words in err.splitlines()[-1] for words in said), err


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row.replace("train", "test") for row in GOOD], "no video is in the split `train`"),
        ([row.replace("test", "train") for row in GOOD], "no video is in the split `test`"),
        ([row.replace("8-30", "") for row in GOOD], "write where they are in the column events"),
        (
            [row.replace(",two", ",one") for row in GOOD],
            "all of one source (one), which cannot both teach",
        ),
        (changed(a="Fire>", b="Fire>"), "a, b: training videos without a label"),
    ],
)
def test_what_the_csv_alone_can_tell_is_said_before_extraction(lad_run, rows, said, tmp_path) -> None:
    refused_at_once(lad_run("run", rows), tmp_path, said)


@pytest.mark.parametrize("events", ["?", "12"])
def test_a_test_video_whose_frames_nobody_labelled_is_refused(lad_run, events, tmp_path) -> None:
    rows = changed(e=f"8-30>{events}")
    refused_at_once(lad_run("run", rows), tmp_path, "e: test videos with ? or a single frame", "begins and ends")


def test_weak_labels_are_counted_by_their_kind() -> None:
    events = ["?", "?", "8-30", "12;20", ""]
    videos = [Video(str(n), Path("v"), label="Fire", events=parse_events(text)) for n, text in enumerate(events)]
    said = "labels of 5 videos: Fire 1 abnormal + 1 abnormal (a frame) + 2 abnormal (?) + 1 normal"
    assert counted_labels(videos) == said


def test_a_label_that_is_no_class_is_named_with_the_class_that_was_meant(lad_run, tmp_path) -> None:
    rows = changed(a="Fire>Frie")
    refused_at_once(
        lad_run("run", rows, "-o", "data.classes=[Fire, normal]"), tmp_path, "'Frie'", "did you mean 'Fire'?"
    )


def test_videos_that_are_all_abnormal_from_end_to_end_are_refused(lad_run, tmp_path) -> None:
    rows = [row.replace("8-30", "0-").replace(",,,,", ",0-,,,") for row in GOOD]
    refused_at_once(lad_run("run", rows), tmp_path, "all 4 training videos are abnormal", "column events")


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        (GOOD, ["train.detector=linear", "train.supervision=videos"], "needs labels of frames"),
        (
            [row.replace("b.mp4,train", "b.mp4,test").replace("d.mp4,train", "d.mp4,test") for row in GOOD],
            [],
            "no normal",
        ),
        ([row.rpartition(",")[0] + "," for row in GOOD], [], "fill in the column source"),
    ],
)
def test_what_cannot_teach_of_cameras_is_refused(lad_run, rows, more, said, tmp_path) -> None:
    words = [word for key in ("train.adapt=source", *more) for word in ("-o", key)]
    refused_at_once(lad_run("run", rows, *words), tmp_path, "train.adapt is source", said, "-o train.adapt=none")


def test_a_folder_of_clips_without_normal_in_a_name_is_refused_with_the_pattern(lad, clips, tmp_path) -> None:
    root = tmp_path / "shop"
    shutil.copytree(clips, root, ignore=shutil.ignore_patterns("*.csv"))
    words = [word for key in ("data.benchmark=folder", *SMALL) for word in ("-o", key)]
    result = lad("run", "--data", str(root), "--work", str(tmp_path / "work"), *words)
    refused_at_once(result, tmp_path, "are abnormal from end to end", "data.normal=PATTERN", "'*normal*'")
    result = lad("run", "--data", str(root), "--work", str(tmp_path / "work"), *words, "-o", "data.normal=*")
    refused_at_once(result, tmp_path, "no training video has an event", "data.normal=PATTERN")


def test_a_normal_video_with_an_event_is_told() -> None:
    videos = [
        Video(str(number), Path("v"), split="test", label=label, events=parse_events(events))
        for number, (label, events) in enumerate([("Fire", "8-30"), ("normal", ""), ("normal", "0-20")])
    ]
    said: list[str] = []
    check_labels_of(["evaluate"], videos, ["Fire", "normal"], load_config(None, []), said.append)
    assert said == ["warning: label 'normal': some of its videos have events, which count as abnormal"]


def test_classes_are_counted_and_slips_are_named_before_training(lad_run) -> None:
    status, _, err = lad_run("run", changed(d="normal>Fires"), "-o", "data.classes=[Fire, Fires, Panic]")
    assert status == 0, err
    assert "train: labels of 4 videos: Fire 2 abnormal + 1 normal, Fires 1 normal" in err
    assert "warning: label 'Fires' (1 videos) looks like 'Fire' (4)" in err
    assert "warning: label 'Fires': none of its videos has an event, so all of them count as normal" in err
    assert "warning: data.classes: no video has the label 'Panic'" in err
    assert err.index("labels of 4") < err.index("extract:"), "before extraction"


def test_why_videos_cannot_be_used_comes_before_what_the_others_lack(lad_run, clips) -> None:
    rows = changed(a="8-30>8-560", c="8-30>8-560")
    status, _, err = lad_run("run", rows)
    early = [line for line in err.splitlines() if "event 8-560 ends after the 40 frames" in line]
    assert len(early) == 2 and f"{clips / 'dataset.csv'}:2: a: " in early[0]
    assert err.index(early[1]) < err.index("extract:"), "before extraction"
    last = err.splitlines()[-1]
    assert status == 2 and "its labels are for 560 frames and it has 40" in last and "no training video has" in last
    assert last.index("560") < last.index("no training video has an event")


def test_events_in_seconds_train_and_test_as_the_same_in_frames(lad_run, clips, tmp_path) -> None:
    results = []
    for events in ("8-30", "0.32s-1.2s", "0:00.32-0:01.2"):
        shutil.rmtree(tmp_path / "work", ignore_errors=True)
        status, _, err = lad_run("run", [row.replace("8-30", events) for row in GOOD])
        assert status == 0, err
        assert events in (tmp_path / "work" / "dataset.csv").read_text(), "as it was written"
        metrics = (tmp_path / "work" / "metrics.json").read_text()
        state = load_checkpoint(tmp_path / "work" / "checkpoints" / "best.pt").model
        results.append(("".join(metrics.split()), {key: tensor.tolist() for key, tensor in state.items()}))
    assert results[0] == results[1] == results[2]


def test_the_dataset_below_the_data_root_wins_and_the_other_is_named(lad_run, clips, tmp_path, monkeypatch) -> None:
    (tmp_path / "dataset.csv").write_text("video,path\nz,z.mp4\n")
    monkeypatch.chdir(tmp_path)
    status, _, err = lad_run("extract", GOOD)
    assert status == 0, err
    assert f"warning: {clips / 'dataset.csv'} and {tmp_path / 'dataset.csv'} differ: the first is used" in err
    assert f"dataset: {clips / 'dataset.csv'}, 5 videos" in err


@pytest.mark.parametrize("name", ['a: b #c\'s "d"', "*[x {ü 🎥 %s", "two\nlines", "null"])
def test_paths_of_any_characters_work_as_options_and_in_the_line_that_prepare_prints(
    name, lad, clips, tmp_path, monkeypatch
) -> None:
    root, elsewhere = tmp_path / name, tmp_path / "elsewhere"
    (root / "normal").mkdir(parents=True)
    shutil.copy(clips / "a.mp4", root / "normal" / "a.mp4")
    (root / f"{name}.csv").write_text("video,path\n")  # another one of the same name
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    small = ["-o", "extract.backbone=tiny", "-o", "extract.layers=[]", "-o", "threads=1"]
    for words in (["--data", str(root)], ["-o", override("data.root", root)]):
        assert lad("extract", *words, "--work", str(tmp_path / f"work {name}"), *small)[0] == 0
    status, _, err = lad("prepare", "folder", "--root", str(root), "--out", f"{name}.csv")
    assert status == 0, err
    line = err[err.index("use it with: ") :].removeprefix("use it with: ")
    monkeypatch.chdir(tmp_path)
    status, _, err = lad("extract", *shlex.split(line), *small, "--work", "work")
    assert status == 0 and "1 videos" in err, err


def test_a_dataset_beside_nothing_is_still_found_as_given(lad, clips, tmp_path, monkeypatch) -> None:
    (tmp_path / "mine.csv").write_text("video,path\na,a.mp4\n")
    monkeypatch.chdir(tmp_path)
    words = ("--data", str(clips), "--work", "work", "-o", "data.dataset=mine.csv", "-o", "extract.backbone=tiny")
    assert lad("extract", *words)[0] == 0


# Labels of whole videos -----------------------------------------------------------------------------------------------

WEAK = changed(a="8-30>?", c="8-30>12")
CLICKS = changed(a="8-30>12", c="8-30>20")
NORMAL = changed(a="8-30>", c="8-30>")
MIL = ("-o", "train.detector=mil", "-o", "train.dropout=0.5")


def setting(text: str) -> tuple[str, str]:
    return "-o", f"train.{text}"


@pytest.mark.parametrize(
    ("rows", "settings", "said"),
    [
        (WEAK, [], "a: training videos with ? in the column events, and the detector aed_t cannot learn from that"),
        (WEAK, [], "set train.detector=linear or train.detector=mil"),
        (WEAK, ["supervision=frames", "detector=linear"], "or set train.supervision=videos"),
        (CLICKS, ["supervision=frames", "detector=linear"], "or set train.supervision=clicks"),
        (WEAK, ["supervision=clicks"], "a: training videos with ? in the column events, and train.supervision is clic"),
        (GOOD, ["supervision=clicks"], "no training video has a single frame in the column events, and train.superv"),
        (GOOD, ["supervision=videos"], "the detector aed_t cannot learn from that: set train.detector=linear"),
        (GOOD, ["supervision=frames", "detector=mil"], "the detector mil cannot learn from that"),
        (WEAK[:1] + WEAK[2:3] + WEAK[4:], ["detector=mil"], "every training video has an event"),
        (NORMAL, [], "no training video has an event: there is nothing to learn from"),
        (NORMAL, [], "or, to learn from normal footage alone, -o train.detector=normality"),
        (NORMAL, ["supervision=normal"], "the detector aed_t cannot learn from that: set train.detector=normality"),
        (GOOD, ["detector=normality"], "a, c: training videos with an event, and the detector normality is to learn"),
        (WEAK, ["detector=normality"], "write test, or nothing, in their column split"),
    ],
)
def test_labels_that_cannot_teach_this_detector_are_refused_with_what_to_do(
    lad_run, rows, settings, said, tmp_path
) -> None:
    words = [word for text in settings for word in setting(text)]
    refused_at_once(lad_run("run", rows, *words), tmp_path, said)


def test_labels_of_videos_that_may_teach_places_are_said() -> None:
    rooms = {"a": "one", "b": "two", "c": "one", "d": "two", "e": "three"}
    videos = [
        Video(name, Path(name), "train", "Fire", parse_events("?" if room != "two" else ""), source=room)
        for name, room in rooms.items()
    ]

    def warned(videos: list[Video], *more: str) -> bool:
        said: list[str] = []
        config = load_config(None, ["train.detector=mil", *more])
        check_labels_of(["train"], videos, ["Fire"], config, said.append)
        return any("no source has both normal and abnormal training videos" in line for line in said)

    assert warned(videos)
    assert not warned(videos, "train.reference_clips=1", "train.detector=linear"), "it takes the places away"
    assert warned(videos, "train.reference_clips=1"), "mil learns them all the same"
    assert not warned([replace(video, source="one" if video.id in "ab" else "two") for video in videos])
    assert not warned([replace(video, source="") for video in videos])
    assert not warned([replace(video, source=video.id) for video in videos]), "each by itself: nobody knows the places"


def test_a_budget_of_alarms_for_a_detector_that_keeps_none_is_refused(lad_run, tmp_path) -> None:
    result = lad_run("run", GOOD, "-o", "score.alarms_per_day=2")
    refused_at_once(result, tmp_path, "score.alarms_per_day: the detector aed_t does not know how often")


@pytest.mark.parametrize(
    ("rows", "detector", "taught_by"),
    [
        *((GOOD, "linear", "frames"), (GOOD, "mil", "videos"), (GOOD, "aed", "frames"), (WEAK, "linear", "videos")),
        *((CLICKS, detector, "clicks") for detector in ("linear", "mil", "mil_causal", "aed", "package.module:Class")),
        (NORMAL, "normality", "normal"),
    ],
)
def test_the_labels_that_say_most_are_those_that_all_videos_and_the_detector_allow(rows, detector, taught_by) -> None:
    cells = (row.split(",") for row in rows if ",train," in row)
    videos = [Video(cell[0], Path(cell[1]), cell[2], cell[3], parse_events(cell[4])) for cell in cells]
    assert supervision_of(videos, TrainConfig(detector=detector)) == taught_by


@pytest.mark.slow
@pytest.mark.parametrize("selection", ["validation", "cross-validation"])
def test_weak_labels_train_and_frames_are_measured(lad_run, selection, tmp_path) -> None:
    words = (*MIL, *setting(f"selection={selection}"))
    status, _, err = lad_run("run", WEAK, *words)
    assert status == 0, err
    assert "train: labels of 4 videos: Fire 1 abnormal (a frame) + 1 abnormal (?) + 1 normal, normal 1 normal" in err
    assert "learns from labels of whole videos (train.supervision videos); of 1 of them more is known, and not" in err
    assert ",?," in (tmp_path / "work" / "dataset.csv").read_text()
    metrics = json.loads((tmp_path / "work" / "metrics.json").read_text())
    assert 0 <= metrics["auc"] <= 1
    assert metrics["protocol"]["supervision"] == "videos"
    checkpoint = load_checkpoint(tmp_path / "work" / "checkpoints" / "best.pt")
    assert checkpoint.detector().max_clips and (checkpoint.config or {})["train"]["supervision"] == "videos"
    status, out, err = lad_run("run", WEAK, *words)
    assert status == 0 and "train" in out + err and "2 steps" not in err
    before = (tmp_path / "work" / "checkpoints" / "best.pt").read_bytes()
    status, _, err = lad_run("run", WEAK, *words, *setting("smooth_seconds=3"))
    assert status == 0, f"a key of another detector's changes nothing: {err}"
    assert (tmp_path / "work" / "checkpoints" / "best.pt").read_bytes() == before
    status, _, err = lad_run("run", changed(a="8-30>?", c="8-30>?"), *words)
    assert status == 0 and "more is known" not in err
    assert (tmp_path / "work" / "checkpoints" / "best.pt").read_bytes() != before, "other labels, another detector"


@pytest.mark.slow
@pytest.mark.parametrize("selection", ["validation", "cross-validation"])
def test_clicks_train_and_frames_are_measured(lad_run, selection, tmp_path) -> None:
    best = tmp_path / "work" / "checkpoints" / "best.pt"
    words = (*setting("detector=linear"), *setting(f"selection={selection}"))
    status, _, err = lad_run("run", CLICKS, *words)
    assert status == 0, err
    assert "train: it learns from intervals that it grows around single frames of events (train.superv" in err
    metrics = json.loads((tmp_path / "work" / "metrics.json").read_text())
    assert 0 <= metrics["auc"] <= 1 and metrics["protocol"]["supervision"] == "clicks"
    assert (load_checkpoint(best).config or {})["train"]["supervision"] == "clicks"
    first = best.read_bytes()
    status, out, err = lad_run("run", CLICKS, *words)
    assert status == 0 and "train: nothing to do" in out
    status, _, err = lad_run("run", CLICKS, *words, "--force")
    assert status == 0 and best.read_bytes() == first, "the same bytes again"
    status, _, err = lad_run("run", changed(a="8-30>12", c="8-30>2"), *words)
    assert status == 0 and best.read_bytes() != first, "another click, another detector"


@pytest.mark.slow
def test_the_best_step_by_the_test_videos_is_a_number_more_and_changes_no_other(lad_run, tmp_path) -> None:
    work = tmp_path / "work"
    assert lad_run("run", WEAK, *MIL)[0] == 0
    before, detector = json.loads((work / "metrics.json").read_text()), tensors(work / BEST)
    assert "selected_by_test" not in before
    status, out, err = lad_run("run", WEAK, *MIL, "-o", "protocol.by_test=true")
    assert status == 0, err
    metrics = json.loads((work / "metrics.json").read_text())
    extra = metrics.pop("selected_by_test")
    curve = [json.loads(line) for line in (work / "logs/train/metrics.jsonl").read_text().splitlines()]
    for name in ("auc", "ap"):
        best = max(curve, key=lambda entry: entry[f"by_test_{name}"])
        assert (extra[name], extra[f"{name}_step"]) == (best[f"by_test_{name}"], best["step"])
    assert "by the test videos themselves: optimistic" in extra["how"]
    assert f"selected by test: frame AUC {extra['auc']:.4f}" in out
    assert metrics == before and same_tensors(tensors(work / BEST), detector)
    assert lad_run("evaluate", WEAK, *MIL)[0] == 0
    assert "selected_by_test" not in json.loads((work / "metrics.json").read_text())
