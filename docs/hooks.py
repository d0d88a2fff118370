"""What `make docs` adds to the pages of this folder: the files of the repository's root, the tables of keys."""

from __future__ import annotations

import inspect
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel

from lad.cli import cli
from lad.config import Config
from lad.config_help import as_yaml, values_of

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
            default = as_yaml(field.get_default(call_default_factory=True))
            rows.append(f"| `{prefix}{name}` | `{default}` | {values_of(field)} | {meaning} |")
    yield "\n".join(rows)
