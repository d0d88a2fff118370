"""`lad detectors`: the detectors that come with `lad`, and what is known of each."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from lad.options import JSON, Commands

if TYPE_CHECKING:
    from lad.detector.included import Card

WIDTH = 100


@click.group(cls=Commands)
def detectors() -> None:
    """Detectors that come with lad.

    \b
    Example:
      lad detectors list
    """


@detectors.command(name="list")
@JSON
def detectors_list(as_json: bool) -> None:
    """List them: name, what it finds, how good it is.

    \b
    Example:
      lad detectors list --json
    """
    from lad.detector.included import DEFAULT, names, read_card

    cards = [read_card(name) for name in names()]
    if as_json:
        click.echo(json.dumps([asdict(card) | {"default": card.name == DEFAULT} for card in cards], indent=2))
        return
    for card in cards:
        default = " (lad score takes it where you name none)" if card.name == DEFAULT else ""
        click.echo(f"{card.name}: {card.summary}{default}\n  {card.headline}\n  {card.path}")


@detectors.command(name="show")
@click.argument("name")
@JSON
def detectors_show(name: str, as_json: bool) -> None:
    """Print the card of one: what it was trained on, how it was measured, what it is for and what it is not for.

    \b
    Example:
      lad detectors show surveillance
    """
    from lad.detector.included import read_card

    card = read_card(name)
    click.echo(json.dumps(asdict(card), indent=2) if as_json else "\n".join(card_lines(card)))


def card_lines(card: Card) -> Iterator[str]:
    """The card as text."""
    features, trained = card.features, card.trained
    yield f"{card.name}: {card.summary}"
    yield ""
    yield from _part("categories", ", ".join(card.categories))
    yield from _part("detector", f"{card.kind}; threshold of events {card.threshold:.3f}")
    said = [f"{stream} {identity}" for stream, identity in features["weights"].items()]
    shown = {key: ", ".join(value) if isinstance(value, list) else value for key, value in features.items()}
    how = [f"{key} {value}" for key, value in shown.items() if key not in ("weights", "streams")]
    yield from _part("features", "; ".join([*how, *said]))
    yield from _part("file", f"{card.path}, {card.bytes:,} bytes, {card.licence}")
    yield from _part("sha256", card.sha256)
    yield from _part(
        "trained on",
        f"{trained['videos']} videos of {trained['sources']} sources, {trained['steps']} steps, "
        f"configuration {trained['configuration']}",
    )
    for one in trained["data"]:
        yield from _item(f"{one['what']}: {one['from']} ({one['licence']})")
    yield from _part("tested", card.tested)
    for of in dict.fromkeys(one.of for one in card.measured):
        numbers = [f"{one}  {one.what}; {one.on}{_by(one.how)}" for one in card.measured if one.of == of]
        yield from _list(f"how good: {of}", numbers)
    yield from _list("for", card.intended)
    yield from _list("not for", card.must_not)
    yield from _list("where it stops working", card.limits)


def _by(how: str) -> str:
    return f"; interval by {how}" if how else ""


def _list(title: str, lines: list[str]) -> Iterator[str]:
    yield f"{title}:"
    for line in lines:
        yield from _item(line)


def _item(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)


def _part(title: str, text: str) -> list[str]:
    lead = f"{title}: "
    return textwrap.wrap(lead + text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
