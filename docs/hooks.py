"""What `make docs` adds to the pages of this folder: the files of the repository's root, the tables of keys."""

from __future__ import annotations

import inspect
import posixpath
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lad.cli import cli
from lad.config import Config
from lad.remote.url import Location

ROOT = Path(__file__).resolve().parent.parent
# Pages that are files of the root, so that nothing is said twice.
ROOT_PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<to>[^)\s]+)\)")
KEYS_GO_HERE = "<!-- keys -->"
AS_WRITTEN = re.compile(r"^\x08\n((?:.+\n?)+)", re.MULTILINE)  # what click does not wrap: after a line with \b


def on_startup(command: str, dirty: bool) -> None:
    _keep_lines(cli)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page, source in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    if page.file.src_uri == "configuration.md":
        markdown = markdown.replace(KEYS_GO_HERE, _key_tables())
    return _with_links_of_site(markdown, page.file.src_uri)


def _with_links_of_site(markdown: str, page: str) -> str:
    """Links between files of the repository as links between pages; those to files without a page become plain text."""
    source = ROOT_PAGES.get(page, f"docs/{page}")
    page_of = {source: page for page, source in ROOT_PAGES.items()}

    def mend(link: re.Match[str]) -> str:
        target, hash_sign, anchor = link["to"].partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not target or not (ROOT / path).exists():
            return link[0]
        if path in page_of or path.startswith("docs/"):
            to = posixpath.relpath(page_of.get(path, path.removeprefix("docs/")), posixpath.dirname(page) or ".")
            return f"{link['text']}({to}{hash_sign}{anchor})"
        return link["text"].lstrip("!").strip("[]")

    return LINK.sub(mend, markdown)


def _keep_lines(command: click.Command) -> None:
    """Where help is to keep its lines, Markdown keeps them too."""
    if command.help:
        command.help = AS_WRITTEN.sub(r"```text\n\1```\n", inspect.cleandoc(command.help))
    for child in getattr(command, "commands", {}).values():
        _keep_lines(child)


def _key_tables() -> str:
    """A table of keys for each section of the configuration, from `lad/config_keys.py`."""
    sections = {
        name: field.annotation
        for name, field in Config.model_fields.items()
        if inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel)
    }
    parts = ["## Of the whole run", *_table(Config, prefix="", leave_out=set(sections))]
    for name, model in sections.items():
        parts += [f"## `{name}`", inspect.getdoc(model) or "", *_table(model, prefix=f"{name}.", leave_out=set())]
    return "\n\n".join(part for part in parts if part)


def _table(model: type[BaseModel], prefix: str, leave_out: set[str]) -> Iterator[str]:
    rows = ["| key | default | values | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name not in leave_out:
            meaning = (field.description or "").replace("|", "\\|")
            default = _as_yaml(field.get_default(call_default_factory=True))
            rows.append(f"| `{prefix}{name}` | `{default}` | {_values(field)} | {meaning} |")
    yield "\n".join(rows)


def _values(field: FieldInfo) -> str:
    """Which values a key may have, as far as its type says it."""
    kinds = [kind for kind in _alternatives(field.annotation) if kind is not types.NoneType]
    kind = kinds[0]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{_as_yaml(value)}`" for value in get_args(kind))
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        return f"a list of {_values(FieldInfo(annotation=item))}"
    if get_origin(kind) is dict:
        key, _ = get_args(kind)
        return f"a name for each of {_values(FieldInfo(annotation=key))}"
    pattern = next((limit.pattern for limit in field.metadata if getattr(limit, "pattern", None)), None)
    if pattern:
        return f"`{pattern}`"
    named = {bool: "`true`, `false`", str: "text", Path: "a path", Location: "a path or a URL"}
    return named.get(kind) or _range(kind, field.metadata)


def _alternatives(annotation: Any) -> list[Any]:
    union = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in union]


def _range(kind: Any, limits: list[Any]) -> str:
    """The numbers that a key allows: "a whole number, 1 to 64", "a number, above 0, below 1"."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = {name: getattr(limit, name) for limit in limits for name in words if getattr(limit, name, None) is not None}
    number = "a whole number" if kind is int else "a number"
    if set(found) == {"ge", "le"}:
        return f"{number}, {_number(found['ge'])} to {_number(found['le'])}"
    return ", ".join([number, *(f"{words[name]} {_number(value)}" for name, value in found.items())])


def _number(value: float) -> str:
    value = int(value) if value == int(value) else value
    for base, exponent in ((2, 62), (2, 31)):
        if abs(value) == base**exponent:
            return f"{'-' if value < 0 else ''}{base}<sup>{exponent}</sup>"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6f}".rstrip("0")


def _as_yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        return ""
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")
