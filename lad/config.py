"""The configuration as users write it: YAML files, `-o key=value`; errors name the key and the line."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import ValidationError

from lad.config_keys import (
    Config,
    DataConfig,
    ExtractConfig,
    ProtocolConfig,
    ScoreConfig,
    Stream,
    TrainConfig,
    all_keys,
)
from lad.config_section import IMPOSSIBLE
from lad.errors import LadError
from lad.remote.url import Url
from lad.text import did_you_mean

__all__ = [
    "Config",
    "ConfigError",
    "DataConfig",
    "ExtractConfig",
    "ProtocolConfig",
    "ScoreConfig",
    "Stream",
    "TrainConfig",
    "all_keys",
    "find_config",
    "load_config",
    "override",
    "read_yaml",
    "shown",
]

SHIPPED = Path(__file__).resolve().parent / "configs"  # a link to the repository's, and the files when installed
# What PyYAML raises: also a ValueError for 2026-02-30 and its like, a RecursionError for brackets without end, and
# whatever it stumbles over where a tag such as !!bool does not fit its value.
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError, TypeError, ArithmeticError)
MAX_CHARACTERS, MAX_NODES = 1_000_000, 10_000  # of a file or value; a configuration has about a hundred
MAX_DEPTH = 4  # sections in sections; an alias may nest without end
# How the command line's options are called that stand for keys.
OPTIONS = {
    "data.root": "--data",
    "device": "--device",
    "workers": "--workers",
    "score.checkpoint": "--checkpoint",
    "score.source": "--source",
}
# What became of keys since they were written: the key of today (None: there is none), and why. Every renaming goes
# through this table: checkpoints, work directories and files of an older lad are read all the same.
BECAME: dict[str, tuple[str | None, str]] = {"extract.runtime": (None, "torch runs every network by now")}


class ConfigError(LadError):
    """What is wrong with a configuration, one line per problem."""


def load_config(
    path: Path | None,
    overrides: list[str],
    base: dict[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Config:
    """Read a YAML file, or start from `base`, and apply overrides.

    Args:
        path: the file, or the name of a configuration that comes with `lad`; None: there is none.
        overrides: `key=value`, with dotted keys and YAML values; for a key that is a text or a path, as they are.
        base: what to start from where there is no file.
        options: dotted key -> value, as it is: what options of the command line say. They win.
        say: gets a line for each key in `path` or `overrides` that `BECAME` has. In `base` they are passed over.

    Raises:
        ConfigError: every wrong key and value, with its line or override.
    """
    tree: dict[str, Any] = deepcopy(base or {})
    lines: dict[tuple[str, ...], int] = {}
    if path is not None:
        path = find_config(path)
        tree, lines = read_yaml(path)
        tree.setdefault("name", path.stem)
    for key, (today, why) in BECAME.items():
        parts = tuple(key.split("."))
        found, value = _take(tree, parts)
        if found and today is not None:
            _set(tree, tuple(today.split(".")), value)
        if found and path is not None:
            say(f"{path}:{lines[parts]}: {_became(key)}: {why}")
    overridden: dict[tuple[str, ...], str] = {}
    problems: list[str] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = tuple(key.strip().split("."))
        if not equals or not all(parts):
            problems.append(f"-o {override}: expected key=value, as in -o train.steps=500")
            continue
        if (old := ".".join(parts)) in BECAME:
            today, why = BECAME[old]
            say(f"-o {override}: {_became(old)}: {why}")
            if today is None:
                continue
            parts = tuple(today.split("."))
        try:
            value = text if _is_text(parts, text) else _load_yaml(text)[0]
        except NOT_YAML:
            problems.append(f"-o {override}: the value is not valid YAML")
            continue
        _set(tree, parts, value)
        overridden[parts] = f"-o {override}"
    for key, value in (options or {}).items():
        parts = tuple(key.split("."))
        _set(tree, parts, value)
        overridden[parts] = OPTIONS.get(key, key)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        problems += [line for problem in error.errors() for line in _explain(problem, path, lines, overridden)]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def find_config(path: Path) -> Path:
    """The file itself, or the configuration that comes with `lad` and has this name.

    Raises:
        ConfigError: there is neither.
    """
    shipped = {file.stem: file for file in sorted(SHIPPED.glob("*.yaml"))}
    if path.is_file() or (path.exists() and str(path) not in shipped):  # a folder of data may have the same name
        return path
    if str(path) in shipped:
        return shipped[str(path)]
    names = f"; by name there are {', '.join(shipped)}" if str(path) == path.stem else ""
    raise ConfigError(f"{path}: no such configuration file{did_you_mean(str(path), shipped)}{names}")


def override(key: str, value: object) -> str:
    """`key=value` as `-o` reads it: the text or path as it is, with quotes only where YAML would see more in it."""
    text = str(value)
    return f"{key}={text if _is_text(tuple(key.split('.')), text) else json.dumps(text, ensure_ascii=False)}"


def _is_text(parts: tuple[str, ...], text: str) -> bool:
    """Whether the value of an override is no YAML but the text or path as it stands: `*` and `#` mean nothing there.

    Quotes or blanks around all of it, and `null` for no value, are YAML's for every key.
    """
    kind: Any = Config
    for part in parts:
        fields = getattr(kind, "model_fields", {})
        if part not in fields:
            return False
        kind = fields[part].annotation
    several = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    kinds = {get_args(one)[0] if get_origin(one) is Annotated else one for one in several}
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    plain = not quoted and text == text.strip() and text not in ("", "~", "null")
    return plain and kinds <= {str, Path, Url, type(None)}


def _set(tree: dict[str, Any], parts: tuple[str, ...], value: Any) -> None:
    for part in parts[:-1]:
        child = tree.get(part)
        tree[part] = tree = child if isinstance(child, dict) else {}
    tree[parts[-1]] = value


def _became(key: str) -> str:
    today = BECAME[key][0]
    return f"{key} is no more" if today is None else f"{key} is called {today} now"


def _take(tree: Any, parts: tuple[str, ...]) -> tuple[bool, Any]:
    """Remove a key: whether it was there, and its value."""
    for part in parts[:-1]:
        tree = tree.get(part) if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or parts[-1] not in tree:
        return False, None
    return True, tree.pop(parts[-1])


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[tuple[str, ...], int]]:
    """A YAML file as plain data, and the line of every key.

    Raises:
        ConfigError: it cannot be read, is none, or holds no `key: value`.
    """
    try:
        with path.open(encoding="utf-8") as file:
            tree, root = _load_yaml(file.read(MAX_CHARACTERS + 1))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem}") from error
    except NOT_YAML as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if tree is None:
        return {}, {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}:1: a configuration is a list of `key: value`")
    lines: dict[tuple[str, ...], int] = {}
    twice: list[str] = []

    def walk(node: yaml.Node | None, prefix: tuple[str, ...]) -> None:
        if isinstance(node, yaml.MappingNode) and len(prefix) < MAX_DEPTH:
            for key, value in node.value:
                place = (*prefix, str(key.value))
                line = key.start_mark.line + 1
                if place in lines:
                    twice.append(f"{path}:{line}: key {'.'.join(place)!r} stands already on line {lines[place]}")
                lines[place] = line
                walk(value, place)

    walk(root, ())
    if twice:
        raise ConfigError("\n".join(twice))
    return tree, lines


def _load_yaml(text: str) -> tuple[Any, yaml.Node | None]:
    """Plain data, and the nodes that it is made of.

    Raises:
        yaml.YAMLError: or another of NOT_YAML: it is none, or becomes more than a configuration can be.
    """
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"it is longer than {MAX_CHARACTERS:,} characters")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        """How many nodes it is with each alias written out: a few lines of them can stand for billions."""
        if id(node) not in sizes:
            sizes[id(node)] = MAX_NODES + 1  # of one that holds itself
            children = node.value if isinstance(node, yaml.CollectionNode) else []
            parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
            sizes[id(node)] = 1 + sum(map(size, parts))
        return sizes[id(node)]

    if root is not None and size(root) > MAX_NODES:
        raise yaml.YAMLError(f"with its aliases and merges written out it holds more than {MAX_NODES:,} values")
    return yaml.safe_load(text), root


def _explain(
    problem: Any, path: Path | None, lines: dict[tuple[str, ...], int], overridden: dict[tuple[str, ...], str]
) -> list[str]:
    def where(location: tuple[str, ...]) -> str:
        for length in range(len(location), 0, -1):
            if location[:length] in overridden:
                return overridden[location[:length]]
            if location[:length] in lines:
                return f"{path}:{lines[location[:length]]}"
        return str(path or "configuration")

    if problem["type"] == IMPOSSIBLE:
        return [f"{where(tuple(key.split('.')))}: {key}: {why}" for key, why in problem["ctx"]["problems"].items()]
    location = tuple(str(part) for part in problem["loc"])
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = sorted(_known_keys(location[:-1]))
        prefix = ".".join((*location[:-1], ""))
        meant = did_you_mean(key, [prefix + name for name in known]) or elsewhere(location[-1])
        return [f"{where(location)}: unknown key {key!r}{meant or ';'} known here: {', '.join(known)}"]
    said = problem["msg"][0].lower() + problem["msg"][1:]
    return [f"{where(location)}: {key}: {said}, got {shown(problem['input'])}"]


def shown(value: object) -> str:
    """A wrong value, cut where it is long: aliases can make a short file of a value without end."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 200
    try:
        return short.repr(value)
    except ValueError:  # Python spells out no integer of so many digits
        return "a number of too many digits"


def _known_keys(section: tuple[str, ...]) -> list[str]:
    model: Any = Config
    for part in section:
        model = model.model_fields[part].annotation
    return list(model.model_fields)


def elsewhere(name: str) -> str:
    """Where a key stands that is not where somebody wrote it."""
    places = [repr(key) for key, _ in all_keys() if key.rpartition(".")[2] == name]
    return f": did you mean {' or '.join(places)}?" if places else ""
