"""What a configuration promises: every mistake is named with its place, all at once, and nothing of it is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fuzzing import soon
from helpers.places import CONFIGS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lad.config import Config, ConfigError, all_keys, load_config, override


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path | None, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, list(overrides))
    return str(caught.value).splitlines()


def test_nothing_gives_the_defaults() -> None:
    assert load_config(None, []) == Config()


def test_a_file_sets_what_it_says_and_is_named_after_itself(tmp_path: Path) -> None:
    path = write(tmp_path, "train:\n  steps: 7\nextract:\n  streams: [rgb, flow]\n")
    config = load_config(path, [])
    assert config.name == "run"
    assert config.train.steps == 7
    assert config.extract.streams == ["rgb", "flow"]
    assert config.train.window == Config().train.window
    assert load_config(write(tmp_path, "name: other"), []).name == "other"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\ufeffname: run\n"])
def test_an_empty_file_gives_the_defaults(text: str, tmp_path: Path) -> None:
    assert load_config(write(tmp_path, text), []) == Config(name="run")


def test_overrides_reach_nested_keys_and_win_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "train:\n  steps: 7\n  window: 3\n")
    overrides = ["train.steps=9", "extract.streams=[flow]", "extract.weights.rgb=random", "workers=3", "data.root=a=b"]
    config = load_config(path, overrides)
    assert (config.train.steps, config.train.window, config.workers) == (9, 3, 3)
    assert config.extract.streams == ["flow"]
    assert config.extract.weights == {"rgb": "random"}
    assert config.data.root == Path("a=b"), "only the first = divides"


def test_the_last_override_wins() -> None:
    assert load_config(None, ["workers=3", "workers=4"]).workers == 4


def test_the_base_is_left_as_it_was() -> None:
    base = {"train": {"steps": 5}}
    assert load_config(None, ["train.steps=6"], base=base).train.steps == 6
    assert base == {"train": {"steps": 5}}


def test_every_wrong_key_and_value_is_named_with_its_line_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "name: x\ntrain:\n  stepz: 1\n  window: none\nextract:\n  tail: cut\nspeed: 3\n")
    found = problems(path)
    assert len(found) == 4
    by_key = {key: next(line for line in found if key in line) for key in ("stepz", "window", "tail", "speed")}
    assert by_key["stepz"].startswith(f"{path}:3: unknown key 'train.stepz'")
    assert "steps" in by_key["stepz"], "the known keys are listed"
    assert by_key["window"].startswith(f"{path}:4: train.window: ")
    assert "'none'" in by_key["window"]
    assert by_key["tail"].startswith(f"{path}:6: extract.tail: ")
    assert "'pad' or 'drop'" in by_key["tail"]
    assert by_key["speed"].startswith(f"{path}:7: unknown key 'speed'")


def test_a_wrong_override_is_named_beside_the_wrong_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "train:\n  steps: 0\n")
    found = problems(path, "train.dropout=2", "nonsense", "device=gpu", "train.folds={", "=1")
    assert {line.partition(": ")[0] for line in found} == {
        "-o nonsense",
        "-o train.folds={",
        "-o =1",
        f"{path}:2",
        "-o train.dropout=2",
        "-o device=gpu",
    }
    assert "key=value" in found[0]
    assert "not valid YAML" in found[1]


def test_an_override_of_a_wrong_line_mends_it(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "train:\n  steps: 0\n"), ["train.steps=1"]).train.steps == 1


@pytest.mark.parametrize(
    "override",
    ["workers=0", "train.dropout=1", "score.threshold=1.5", "extract.streams=[]", "extract.streams=[sound]", "train=5"],
)
def test_values_out_of_range_are_refused(override: str) -> None:
    (problem,) = problems(None, override)
    assert problem.startswith(f"-o {override}: ")


LIMITS = {
    "workers": 256,
    "threads": 1024,
    "extract.batch_clips": 1024,
    "extract.clip_stride": 1024,
    "extract.rgb_short_side": 1024,
    "extract.fps": 1000,
    "extract.max_pixels": 1 << 31,
    "extract.max_frames": 10**9,
    "extract.stall_seconds": 86_400,
    "extract.weights_seed": 2**62,
    "data.frame_folder_fps": 100_000,
    "data.download_gb": 10**6,
    "train.smooth_seconds": 3600,
    "score.alarms_per_day": 86_400,
    "train.window": 1024,
    "train.hidden": 4096,
    "train.reference_clips": 1024,
    "train.learning_rate": 1000,
    "train.weight_decay": 1000,
    "train.class_weight": 10**6,
    "train.score_weight": 10**6,
    "train.abnormal_windows": 10_000,
    "train.normal_windows": 10_000,
    "train.steps": 10**8,
    "train.evaluate_every": 10**8,
    "train.folds": 1000,
    "train.seed": 2**62,
    "protocol.splits": 1000,
    "protocol.seed": 2**62,
    "score.max_memory": 10**6,
    "score.merge_seconds": 86_400,
    "score.min_seconds": 86_400,
}


@pytest.mark.parametrize("key", LIMITS)
def test_a_number_far_beyond_what_anybody_needs_is_refused(key: str) -> None:
    assert load_config(None, [f"{key}={LIMITS[key]}"])
    for number in (LIMITS[key] + 1, 10**30, ".inf"):
        (problem,) = problems(None, f"{key}={number}")
        assert problem.startswith(f"-o {key}={number}: {key}: input should be ")


def test_every_number_of_the_configuration_has_limits() -> None:
    def numbers(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        for name, field in schema["properties"].items():
            if "$ref" in field:
                yield from numbers(whole["$defs"][field["$ref"].rpartition("/")[2]], f"{name}.")
            for kind in field.get("anyOf", [field]):
                if kind.get("type") in ("integer", "number") and "enum" not in kind:
                    yield prefix + name, kind

    whole = Config.model_json_schema()
    found = dict(numbers(whole))
    assert found.keys() == LIMITS.keys() | {
        "train.dropout",
        "train.val_fraction",
        "score.threshold",
        "train.motion_quantile",
    }
    assert all(kind.keys() & {"maximum", "exclusiveMaximum"} for kind in found.values())
    assert all(kind.keys() & {"minimum", "exclusiveMinimum"} for kind in found.values())


def test_a_share_of_nothing_is_refused() -> None:
    assert "train.val_fraction" in problems(None, "train.val_fraction=1e-300")[0]


@pytest.mark.parametrize("key", ["data.root", "data.dataset", "score.checkpoint", "name"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a" * 256, "a name in it has 256 bytes, and no file system takes more than 255: shorten it"),
        ("b/" + "ä" * 128, "a name in it has 256 bytes"),
        ("c/" * 2100, "and the system takes no more than 4095: shorten it"),
        (r'"d\0e"', "it holds a NUL character: leave that out"),
    ],
)
def test_a_path_that_can_be_none_is_refused(key: str, path: str, reason: str) -> None:
    (problem,) = problems(None, f"{key}={path}")
    assert f": {key}: " in problem
    assert reason in problem
    assert load_config(None, [f"{key}={'a' * 255}/b"])


def test_a_key_that_stands_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "train:\n  steps: 1\n  window: 2\n  steps: 3\n")
    assert problems(path) == [f"{path}:4: key 'train.steps' stands already on line 2"]


@pytest.mark.parametrize(
    ("text", "line"), [("name: x\ntrain: [1, 2\n", 3), ("a: b: c\n", 1), ("name: x\n\tworkers: 2\n", 2)]
)
def test_a_line_that_is_not_yaml_is_named(text: str, line: int, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:{line}: not valid YAML")


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "5\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    assert "key: value" in problems(write(tmp_path, text))[0]


@pytest.mark.parametrize("text", ["data:\n  seed: 2026-02-30\n", "name: 0b_\n", "name: " + "[" * 5000, "a: &a {b: *a}"])
def test_yaml_that_trips_its_own_parser_is_refused(text: str, tmp_path: Path) -> None:
    assert problems(write(tmp_path, text))
    assert problems(None, "data.seed=2026-02-30")[0].startswith("-o data.seed=2026-02-30: ")


@pytest.mark.parametrize(
    "tag",
    ["!!python/object/apply:os.system ['touch {mark}']", "!!python/object/new:subprocess.Popen [['touch', {mark}]]"],
)
def test_python_tags_are_refused_and_not_run(tag: str, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    tag = tag.format(mark=mark)
    path = write(tmp_path, f"name: x\ndevice: {tag}\n")
    assert problems(path)[0].startswith(f"{path}:2: not valid YAML")
    assert problems(None, f"workers={tag}")[0].endswith("the value is not valid YAML")
    assert not mark.exists()


def test_a_missing_file_and_one_that_is_not_text_are_named(tmp_path: Path) -> None:
    assert problems(tmp_path / "no.yaml") == [f"{tmp_path / 'no.yaml'}: no such configuration file"]
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00name")
    assert problems(tmp_path / "bytes.yaml")[0].startswith(f"{tmp_path / 'bytes.yaml'}: cannot be read")
    assert "cannot be read" in problems(tmp_path)[0]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.name)
def test_the_configurations_of_this_project_are_valid(path: Path) -> None:
    assert load_config(path, []).name


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60))
def test_arbitrary_text_is_a_configuration_or_a_config_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    for arguments in ((path, []), (None, [text]), (None, [f"train.steps={text}"])):
        try:
            assert isinstance(load_config(*arguments), Config)
        except ConfigError as error:
            assert str(error)


@pytest.mark.parametrize(
    "text",
    [
        "*normal*",
        "a # b",
        "a: b",
        "'q",
        "[x]",
        "null",
        "~",
        '"',
        "'x'",
        "x\ny",
        " x ",
        "2026-02-30",
        "{a",
        "5",
        "ü\"'🎥",
    ],
)
def test_a_text_or_path_is_set_as_it_stands(text: str) -> None:
    config = load_config(None, [override("data.normal", text), override("data.root", text), "train.steps=5"])
    assert config.data.normal == text and config.data.root == Path(text).expanduser()
    assert load_config(None, [], options={"data.root": text}).data.root == config.data.root, "as --data does"
    assert load_config(None, ["data.root=null", "data.dataset="]).data == Config().data, "null and nothing are no value"


# Names and keys -------------------------------------------------------------------------------------------------------


def test_a_configuration_that_comes_with_lad_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("surveillance"), []) == load_config(CONFIGS / "surveillance.yaml", [])
    (tmp_path / "ped2").mkdir()
    assert load_config(Path("ped2"), []).name == "ped2", "a folder of data is no configuration"
    (tmp_path / "ped2").rmdir()
    (tmp_path / "ped2").write_text("name: mine")
    assert load_config(Path("ped2"), []).name == "mine", "a file that is there comes first"
    (problem,) = problems(Path("survaillance"))
    assert "did you mean 'surveillance'?" in problem and "ped2-paper" in problem


def test_every_key_has_a_meaning_and_is_printed_with_its_default(lad) -> None:
    status, out, _ = lad("config")
    assert status == 0
    lines = out.splitlines()
    for key, field in all_keys():
        assert field.description, key
        assert any(line.startswith(f"{key}: ") for line in lines)
    assert "train.steps: 12000" in lines
    assert lad("config", "score.threshold")[1].splitlines()[0] == "score.threshold: null"
    assert "    values: `auto`, `float32`, `float16`, `bfloat16`, `int8`" in lines
    assert all(line.startswith(("train.", "    ")) for line in lad("config", "train")[1].splitlines())
    assert "did you mean 'train.steps'?" in lad("config", "steps")[2]
    assert "did you mean 'extract.dtype' or 'train.dtype'?" in lad("config", "dtype")[2]


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
MERGES = "m0: &m0 {a: 1}\n" + "".join(f"m{n}: &m{n}\n  <<: [{', '.join([f'*m{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize("text", [BOMB, MERGES, "name: &a [*a]\n", "x" * 2_000_000])
def test_a_few_lines_that_stand_for_billions_of_values_are_refused_at_once(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with soon():
        assert problems(path)[0].startswith(str(path))
        assert problems(None, f"train={text}")[0].startswith("-o train=")


def test_a_shared_value_is_no_bomb(tmp_path: Path) -> None:
    text = "train: &t\n  steps: 7\n  window: 3\nprotocol:\n  seed: &s 3\nextract:\n  weights_seed: *s\n"
    config = load_config(write(tmp_path, text), [])
    assert config.train.steps == 7 and config.extract.weights_seed == 3


def test_the_home_folder_is_a_tilde_in_paths_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write(tmp_path, "name: '~'\ndata: {root: ~/videos, dataset: ~/rows.csv}\nscore: {checkpoint: ~/best.pt}\n")
    config = load_config(path, ["data.download_dir=~/down", "train.detector=~/x"])
    assert (config.data.root, config.data.dataset) == (tmp_path / "videos", tmp_path / "rows.csv")
    assert (config.score.checkpoint, config.data.download_dir) == (tmp_path / "best.pt", tmp_path / "down")
    assert (config.name, config.train.detector) == ("~", "~/x")
    assert load_config(None, ["data.root=~nobody-has-this-name/x"]).data.root == Path("~nobody-has-this-name/x")
