"""Any configuration is one, or a ConfigError."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from helpers.fuzzing import any_mutation, examples, soon
from helpers.places import CONFIGS
from hypothesis import given
from hypothesis import strategies as st

from lad.config import Config, ConfigError, load_config
from lad.pipeline.checks import check_config

SHIPPED = sorted(CONFIGS.glob("*.yaml"))

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))
ODD_YAML = st.one_of(
    st.sampled_from(
        [
            "~",
            "",
            "0x" + "f" * 5000,
            "0b" + "1" * 20000,
            "9" * 5000,
            "1" * 400,
            "190:20:30",
            ".inf",
            "-.inf",
            ".nan",
            "1e400",
            "2026-02-28",
            "2026-02-30",
            "2026-02-28 25:00:00",
            "!!binary aGk=",
            "!!binary ä",
            "!!set {a, b}",
            "!!int x",
            "!!omap [a: 1]",
            "!!python/object/apply:os.system [true]",
            "!x y",
            "&a [*a]",
            "&a {b: *a}",
            "*nowhere",
            "[",
            "{",
            "? [a]",
            "{1: 2}",
            "{[a]: 1}",
            "{{a: 1}: 1}",
            "{~: 1}",
            "{<<: {steps: 1}}",
            "{<<: 3}",
            "a: b",
            "- a",
            '"\\ud800"',
            '"\\0"',
            '"' + "x" * 5000 + '"',
            "x" * 300,
            "[" * 300,
            "!!float x",
            "!!bool x",
            "!!timestamp x",
            "yes",
            "1_0",
            "0o7",
            "07",
            "!!str 5",
            "!!seq {}",
            "!!map []",
            "!!null x",
            "[rgb, rgb]",
            "{rgb: [1]}",
            "cuda:" + "9" * 5000,
        ]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
        ),
        max_leaves=6,
    ).map(lambda value: yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n...\n").strip()),
)
KEYS = sorted(
    [
        f"{name}.{key}"
        for name, part in Config.model_fields.items()
        for key in getattr(part.annotation, "model_fields", [])
    ]
    + list(Config.model_fields)
    + ["extract.weights.rgb", "train.nothing.at.all", "train", "1", "a..b", "", " "]
)


@st.composite
def config_files(draw: st.DrawFn) -> bytes:
    lines = draw(st.sampled_from(SHIPPED)).read_text().splitlines()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        key, colon, _value = lines[at].partition(":")
        what = draw(st.sampled_from(["value", "value", "value", "twice", "new", "indent"]))
        if what == "value" and colon:
            lines[at] = f"{key}: {draw(ODD_YAML)}"
        elif what == "twice":
            lines.insert(at, lines[at])
        elif what == "new":
            lines.insert(at, f"{'  ' * draw(st.integers(0, 2))}{draw(ODD_YAML)}: {draw(ODD_YAML)}")
        else:
            lines[at] = " " * draw(st.integers(0, 4)) + lines[at].strip()
    text = "\n".join(lines)
    return draw(st.just(text.encode(errors="replace")) | any_mutation(text.encode(errors="replace")))


OVERRIDES = st.lists(
    st.tuples(st.sampled_from(KEYS), ODD_YAML).map("=".join) | st.text(max_size=20) | ODD_YAML, max_size=3
)


@examples(150)
@given(
    content=st.none() | st.binary(max_size=80) | st.text(max_size=80).map(str.encode) | config_files() | config_files(),
    overrides=OVERRIDES,
)
def test_any_configuration_is_one_or_a_config_error(
    content: bytes | None, overrides: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "run.yaml"
    if content is not None:
        path.write_bytes(content)
    with soon():
        try:
            config = load_config(None if content is None else path, overrides)
        except ConfigError as error:
            assert str(error)
            return
        # OSError: a path of more characters than the system takes, or one that may not be looked at.
        with suppress(ConfigError, OSError):
            check_config(config)


def test_aliases_that_multiply_are_no_endless_error(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(f"{LAUGHS}workers: *a29\ndevice: *a29\ndata: {{classes: *a29}}\n")
    with soon(), pytest.raises(ConfigError) as caught:
        load_config(path, ["train.steps=[1, 2]"])
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize("key", ["device", "train.learning_rate", "nothing", "name"])
def test_a_number_of_too_many_digits_is_a_config_error(key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        load_config(None, [f"{key}=0x{'f' * 5000}"])
