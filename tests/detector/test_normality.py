"""What training on normal footage alone promises, on features that are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lad.config import Config, ExtractConfig, TrainConfig
from lad.detector import training_normal
from lad.detector.checkpoint import CheckpointError, load_checkpoint, other_features, save_checkpoint, scoring_config
from lad.detector.detector_file import SUFFIX
from lad.detector.scoring import Scores, make_scorer
from lad.detector.training import Setup
from lad.detector.training_normal import Learned, in_time, learn, stretches
from lad.detector.training_windows import TrainingError, TrainingVideo
from lad.extract.motion import SHARES
from lad.extract.sampling import evenly_spaced
from lad.features.recipe import MOTION_IDENTITY
from lad.features.video import ClipFeatures, VideoFeatures

LOOKS = 8  # numbers of a network
FPS = 25.0
SPEED = SHARES.index(TrainConfig().motion_quantile)


def features(clips: int, seed: int, looks: int = 0, speed: float = 2.0) -> np.ndarray:
    """`(clips, looks + 144)` float32: looks, and motion around a speed in pixels a frame."""
    rng = np.random.default_rng(seed)
    motion = speed * np.exp(0.1 * rng.normal(size=(clips, 16, 1))) * np.linspace(0.2, 1.2, len(SHARES))
    return np.hstack([rng.normal(size=(clips, looks)), motion.reshape(clips, -1)]).astype(np.float32)


def video(rows: np.ndarray) -> TrainingVideo:
    frames = 16 * len(rows)
    return TrainingVideo(
        VideoFeatures([Path("a.npy")], None, frames, FPS), ClipFeatures([rows[None]]), np.zeros(frames, bool), 0
    )


def setup(**train: object) -> Setup:
    config = TrainConfig(detector="normality", **{"smooth_seconds": 0.1, **train})  # type: ignore[arg-type]
    return Setup(config, "mean", ["event"], "cpu", "today", config={"extract": {"motion": True}})


def learned(looks: int = 0, **train: object) -> Learned:
    taught = stretches([video(features(12, seed, looks)) for seed in range(6)])
    return learn(setup(**train), taught, [taught[:2], taught[2:4], taught[4:]])


def scored(one: Learned, rows: np.ndarray, **options: float) -> Scores:
    scorer = make_scorer(one.checkpoint(setup()), "cpu", **options)  # type: ignore[arg-type]
    return scorer(ClipFeatures([rows[None]]), evenly_spaced(16 * len(rows), FPS))


def test_unseen_normal_footage_scores_evenly_from_0_to_1() -> None:
    scores = scored(learned(), features(200, 99)).frames
    assert np.quantile(scores, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.04)


def test_what_is_faster_than_normal_scores_high_and_what_is_slower_low() -> None:
    rows = np.concatenate([features(4, 50), features(4, 51, speed=4.0), features(4, 52, speed=1.0)])
    normal, fast, slow = scored(learned(), rows).frames.reshape(3, 64)
    assert fast[8:-8].min() > 0.99 > np.median(normal) > slow[8:-8].max()


@pytest.mark.parametrize("quantile", [0.5, 0.99, 1.0])
def test_the_speed_of_a_frame_is_the_quantile_that_was_asked_for(quantile: float) -> None:
    one, rows = learned(motion_quantile=quantile), features(6, 50)
    place = SHARES.index(quantile)
    rows.reshape(6, 16, -1)[3, :, place] *= 3
    assert scored(one, rows).frames[48:64].min() > 0.99


def test_looks_that_normal_footage_never_has_score_high_beside_usual_motion() -> None:
    rows = features(9, 50, LOOKS)
    rows[4, :LOOKS] += 6
    frames = scored(learned(LOOKS), rows).frames.reshape(9, 16)
    assert frames[4].min() > 0.99
    assert np.median(frames[:4]) < 0.9


LAYERS = {"Mixed_3c": 960, "Mixed_4b": 1024}


def with_layers(clips: int, seed: int) -> np.ndarray:
    """`(clips, 1024 + 960 + 1024 + 144)`: I3D's features, those of two layers, motion."""
    return features(clips, seed, 1024 + sum(LAYERS.values()))


def of_layers() -> tuple[Learned, Setup]:
    extract = ExtractConfig(layers=list(LAYERS), motion=True).model_dump(mode="json")
    asked = replace(setup(), config={"extract": extract})
    taught = stretches([video(with_layers(12, seed)) for seed in range(6)])
    return learn(asked, taught, [taught[:2], taught[2:4], taught[4:]]), asked


def test_each_layer_and_motion_have_a_z_score_and_the_networks_own_features_none(tmp_path: Path) -> None:
    one, asked = of_layers()
    assert one.model.part_mean.shape == (3,) and one.model.bank.shape == (72, 960 + 1024)
    save_checkpoint(tmp_path / "a.pt", one.checkpoint(asked))
    scorer = make_scorer(load_checkpoint(tmp_path / "a.pt"), "cpu")
    rows = with_layers(12, 50)
    rows[2, :1024] += 50  # nobody looks there
    rows[5, 1024 + 5 : 1024 + 100] += 9
    rows[9, 1024 + 960 + 5 : 1024 + 960 + 100] += 9
    frames = scorer(ClipFeatures([rows[None]]), evenly_spaced(12 * 16, FPS)).frames.reshape(12, 16)[:, 8]
    usual = np.delete(frames, [5, 9])
    assert min(frames[5], frames[9]) > 0.99 > usual.max()


def test_without_layers_a_file_says_nothing_of_parts() -> None:
    assert "looks" not in learned(LOOKS).checkpoint(setup()).network["sizes"]


def test_a_detector_of_normal_footage_names_no_category_of_a_video() -> None:
    rows = np.concatenate([features(6, 50), features(3, 51, speed=6.0)])
    found = scored(learned(), rows)
    assert not found.votes.any()
    assert [event.category for event in found.events] == ["event"]


@pytest.mark.parametrize("suffix", [".pt", SUFFIX])
def test_it_is_read_back_as_it_was_written_and_written_alike(tmp_path, suffix: str) -> None:
    one = learned(LOOKS)
    for name in ("a", "b"):
        save_checkpoint(tmp_path / f"{name}{suffix}", learned(LOOKS).checkpoint(setup()))
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    scorer = make_scorer(load_checkpoint(tmp_path / f"a{suffix}"), "cpu")
    rows = features(5, 70, LOOKS)
    frames = scorer(ClipFeatures([rows[None]]), evenly_spaced(80, FPS)).frames
    assert np.array_equal(frames, scored(one, rows).frames)


GOLDEN = [0.22803, 0.27645, 0.05425, 0.0514, 0.14594, 0.34198]


def test_scores_do_not_drift() -> None:
    """Golden numbers; if they move, raise CODE_VERSION of lad/pipeline/train.py."""
    frames = scored(learned(LOOKS), features(3, 7, LOOKS)).frames
    assert frames[::8] == pytest.approx(GOLDEN, abs=2e-4)


def test_the_threshold_is_for_2_alarms_a_day_or_as_many_as_are_asked_for() -> None:
    one, rows = learned(), features(3, 7)
    own, two, many = (scored(one, rows, **asked) for asked in ({}, {"alarms_per_day": 2}, {"alarms_per_day": 5000}))
    assert own.threshold == two.threshold > many.threshold
    assert scored(one, rows, threshold=0.5).threshold == 0.5


def test_another_detector_has_no_budget_of_alarms(tmp_path) -> None:
    from lad.models.linear import LinearDetector

    model = LinearDetector(feature_dim=4, classes=2, window=1)
    sizes = {"feature_dim": 4, "classes": 2, "window": 1, "hidden": 1}
    checkpoint = learned().checkpoint(setup())
    checkpoint.model, checkpoint.network = model.state_dict(), {"name": "linear", "sizes": sizes}
    checkpoint.classes = ["a", "b"]
    with pytest.raises(CheckpointError, match=r"score\.alarms_per_day"):
        make_scorer(checkpoint, "cpu", alarms_per_day=2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("tail_scale", 0.0), ("peak_shape", -1.0), ("levels", 1.0), ("motion_quantile", 9), ("motion_quantile", -1)),
        *(("motion_std", -1.0), ("part_std", 0.0)),
    ],
)
def test_a_file_that_says_nonsense_of_normal_footage_is_refused(name: str, value: float) -> None:
    checkpoint = learned().checkpoint(setup())
    tensor = checkpoint.model[name]
    tensor.copy_(tensor.flip(0)) if name == "levels" else tensor.fill_(value)
    with pytest.raises(CheckpointError, match="makes no sense"):
        make_scorer(checkpoint, "cpu")


def test_one_video_is_held_out_in_stretches_of_time() -> None:
    parts = in_time(video(features(30, 0)), 4)
    assert [len(part[0].clips) for part in parts] == [8, 8, 7, 7]
    one = learn(setup(), [stretch for part in parts for stretch in part], parts)
    assert one.frames == 480
    assert np.median(scored(one, features(20, 9)).frames) == pytest.approx(0.5, abs=0.1)


def test_other_normal_videos_may_say_what_is_usual() -> None:
    taught, faster = stretches([video(features(12, 0))]), stretches([video(features(60, 1, speed=3.0))])
    one = learn(setup(), taught, [faster])
    assert np.median(scored(one, features(20, 9, speed=3.0)).frames) == pytest.approx(0.5, abs=0.1)


def test_too_little_footage_is_refused() -> None:
    taught = stretches([video(features(2, seed)) for seed in range(2)])
    with pytest.raises(TrainingError, match="100 at least"):
        learn(setup(), taught, [[one] for one in taught])
    with pytest.raises(TrainingError, match="nothing to hold out"):
        learn(setup(), taught[:1], [taught[:1]])


def test_features_that_are_no_numbers_are_refused() -> None:
    rows = features(12, 0, LOOKS)
    rows[3, 2] = np.nan
    taught = stretches([video(rows), video(features(12, 1, LOOKS))])
    with pytest.raises(TrainingError, match=r"a\.npy: .* not finite"):
        learn(setup(), taught, [[one] for one in taught])


def test_held_out_features_that_are_no_numbers_are_refused() -> None:
    rows = features(12, 0)
    rows[3, 2:] = np.nan
    taught, held_out = stretches([video(features(12, 1))]), stretches([video(rows)])
    with pytest.raises(TrainingError, match=r"a\.npy: .* not finite"):
        learn(setup(), taught, [held_out])


def test_frames_that_are_not_known_to_be_normal_neither_teach_nor_say_what_is_usual() -> None:
    rows = features(12, 0)
    rows[5] *= 50
    known = np.ones(16 * 12, bool)
    known[5 * 16 + 2 : 6 * 16] = False
    one = video(rows)
    reviewed = TrainingVideo(one.source, one.features, one.frame_labels, 0, known)
    taught = stretches([reviewed, video(features(12, 1))])
    found = learn(setup(smooth_seconds=0), taught, [[part] for part in taught])
    assert found.frames == 2 * 192 - 14
    assert float(found.model.motion_std) < 0.2
    nothing = TrainingVideo(one.source, one.features, one.frame_labels, 0, np.zeros(192, bool))
    with pytest.raises(TrainingError, match="no clip is known to be normal"):
        learn(setup(), stretches([nothing]), [taught])


def test_no_more_clips_are_kept_than_were_meant_however_short_the_videos(monkeypatch) -> None:
    monkeypatch.setattr(training_normal, "MAX_BANK", 10)
    taught = stretches([video(features(3, seed, LOOKS)) for seed in range(33)])
    assert len(learn(setup(), taught, [taught[:5], taught[5:]]).model.bank) == 10


def test_motion_alone_depends_on_no_network() -> None:
    checkpoint = learned().checkpoint(setup())
    checkpoint.config = {"extract": ExtractConfig(streams=[], motion=True).model_dump(mode="json")}
    checkpoint.weights = {"motion": MOTION_IDENTITY}
    now = ExtractConfig(streams=[], motion=True, backbone="tiny", preset="wan2021", context="batch")
    assert other_features(checkpoint, now, {}, given=False) == []
    slower = ExtractConfig(streams=[], motion=True, fps=5)
    assert other_features(checkpoint, slower, {}, given=False) == ["fps None, now 5.0"]
    for older in ({}, {"motion": "version 1"}):  # the first said nothing of it
        checkpoint.weights = older
        assert other_features(checkpoint, now, {}, given=False) == ["motion as another version of lad computes it"]


def test_features_in_8_bits_are_others_than_those_in_any_float() -> None:
    checkpoint = learned().checkpoint(setup())
    checkpoint.config = {"extract": ExtractConfig(dtype="float16").model_dump(mode="json")}
    assert other_features(checkpoint, ExtractConfig(dtype="bfloat16"), {}, given=False) == []
    said = ["dtype float16, now int8"]
    assert other_features(checkpoint, ExtractConfig(dtype="int8"), {}, given=False) == said
    assert other_features(checkpoint, ExtractConfig(dtype="int8", streams=["flow"]), {}, given=False) == []


def test_motion_alone_can_be_asked_for_again_when_it_scores(tmp_path: Path) -> None:
    checkpoint = learned().checkpoint(setup())
    made_with = {"extract": {"streams": [], "motion": True}, "train": {"detector": "normality"}}
    checkpoint.config = Config.model_validate({"name": "a", **made_with}).model_dump(mode="json")
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    assert scoring_config(tmp_path / "a.pt", ["extract.streams=[]"]).extract.streams == []


@pytest.mark.parametrize(("made_with", "asked"), [("alarms_per_day", "threshold"), ("threshold", "alarms_per_day")])
def test_a_threshold_that_is_asked_for_takes_the_place_of_a_budget_and_the_other_way(
    made_with, asked, tmp_path
) -> None:
    checkpoint = learned().checkpoint(setup())
    settings = Config.model_validate({"name": "a", "score": {made_with: 0.5}, "train": {"detector": "normality"}})
    checkpoint.config = settings.model_dump(mode="json")
    save_checkpoint(tmp_path / "a.pt", checkpoint)
    score = scoring_config(tmp_path / "a.pt", [f"score.{asked}=0.25"]).score
    assert (getattr(score, asked), getattr(score, made_with)) == (0.25, None)
    assert getattr(scoring_config(tmp_path / "a.pt", []).score, made_with) == 0.5
