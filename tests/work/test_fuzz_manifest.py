"""The manifest keeps what it was told, whatever happens in which order."""

from __future__ import annotations

import copy
import hashlib
import os
import sqlite3
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from helpers.fuzzing import MULTIPLIER
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lad.work.lock import holder
from lad.work.manifest import Manifest, ManifestError, open_manifest


@dataclass
class Row:
    """What the model knows of an item."""

    fingerprint: str
    attempt: int = 1
    repairs: int = 0
    status: str = "running"
    outputs: dict[str, tuple[int, str]] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    failure: tuple[str | None, str | None] = (None, None)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


ITEMS = st.tuples(st.sampled_from(["extract", "score"]), st.sampled_from(["a", "b/c", "ünï"]))
FINGERPRINTS = st.sampled_from(["today", "tomorrow"])
FILES = st.sampled_from(["work/one.npy", "work/features/two.npy", "outside.npy"])
CONTENT = st.sampled_from([b"", b"one", b"two", b"longer"])
STEPS = st.tuples(st.sampled_from(["start", "finish", "fail"]), ITEMS, FINGERPRINTS, st.lists(FILES, max_size=2))


class Broken(Exception):
    """What ends a transaction in these tests."""


class ManifestMachine(RuleBasedStateMachine):
    """A work directory, its files and its process, beside a model of them."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.rows: dict[tuple[str, str], Row] = {}
        self.trusted: dict[str, tuple[int, int, str]] = {}  # hashes taken: size, time, content
        self.files: dict[str, tuple[bytes, int]] = {}
        self.clock = 10**9
        self.opened = ExitStack()
        self.open()

    def open(self) -> None:
        self.manifest: Manifest = self.opened.enter_context(open_manifest(self.root / "work"))

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.close()
            self.folder.cleanup()

    # What happens to files

    @rule(name=FILES, content=CONTENT, keep_time=st.booleans())
    def write(self, name: str, content: bytes, keep_time: bool) -> None:
        """Make or change a file; with its old time that may escape all but `verify`."""
        self.clock += 1
        stamp = self.files[name][1] if keep_time and name in self.files else self.clock
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(stamp, stamp))
        self.files[name] = (content, stamp)

    @rule(name=FILES)
    def touch(self, name: str) -> None:
        if name in self.files:
            self.write(name, self.files[name][0], keep_time=False)

    @rule(name=FILES)
    def truncate(self, name: str) -> None:
        if name in self.files:
            self.write(name, self.files[name][0][:-1], keep_time=True)

    @rule(name=FILES)
    def delete(self, name: str) -> None:
        if self.files.pop(name, None):
            (self.root / name).unlink()

    # What happens to items

    def step(self, kind: str, key: tuple[str, str], fingerprint: str, names: list[str]) -> None:
        row = self.rows.get(key)
        if kind == "start":
            self.manifest.start(*key, fingerprint)
            same = row is not None and row.fingerprint == fingerprint
            attempt, repairs = (row.attempt + 1, row.repairs + self.altered(row)) if row and same else (1, 0)
            self.rows[key] = Row(fingerprint, attempt, repairs)
        elif row is None or row.status != "running":
            return
        elif kind == "fail":
            self.manifest.fail(*key, "io", "out \udcff of order")
            row.status, row.failure = "failed", ("io", "out \\udcff of order")
        else:
            there = [name for name in dict.fromkeys(names) if name in self.files]
            self.manifest.finish(*key, [self.root / name for name in there], {"frames": len(there)})
            row.status, row.info = "done", {"frames": len(there)}
            for name in there:
                content = self.files[name][0]
                inside = name.startswith("work/")
                place = name.removeprefix("work/") if inside else str(self.root / name)
                row.outputs[place] = (len(content), self.hashed(name, verify=inside))

    def hashed(self, name: str, verify: bool = False) -> str:
        """The hash that the manifest has to give."""
        content, stamp = self.files[name]
        size, before, known = self.trusted.get(name, (-1, -1, ""))
        if verify or (size, before) != (len(content), stamp):
            known = sha256(content)
            self.trusted[name] = (len(content), stamp, known)
        return known

    @rule(step=STEPS)
    def one_step(self, step: tuple[str, tuple[str, str], str, list[str]]) -> None:
        self.step(*step)

    @rule(key=ITEMS, fingerprint=FINGERPRINTS, names=st.lists(FILES, max_size=2))
    def do(self, key: tuple[str, str], fingerprint: str, names: list[str]) -> None:
        self.step("start", key, fingerprint, [])
        self.step("finish", key, fingerprint, names)

    @rule(steps=st.lists(STEPS, max_size=4), end=st.sampled_from(["commit", "error", "killed"]))
    def in_a_transaction(self, steps: list[tuple[str, tuple[str, str], str, list[str]]], end: str) -> None:
        before = copy.deepcopy((self.rows, self.trusted))
        transaction = self.manifest.transaction()
        transaction.__enter__()
        for step in steps:
            self.step(*step)
        if end == "commit":
            transaction.__exit__(None, None, None)
        else:
            self.rows, self.trusted = before
            if end == "error":
                assert not transaction.__exit__(Broken, Broken(), None), "it goes on"
            else:
                self.reopen()
                with suppress(sqlite3.ProgrammingError):  # its database is closed
                    transaction.__exit__(Broken, Broken(), None)

    @rule()
    def reopen(self) -> None:
        """Another process after this one was ended, with whatever was running."""
        self.opened.close()
        assert holder(self.root / "work") is None
        self.open()
        for row in self.rows.values():
            row.status = "pending" if row.status == "running" else row.status
        assert all(item.status != "running" for item in self.manifest.items().values())

    @rule()
    def a_second_one_is_refused(self) -> None:
        with pytest.raises(ManifestError), open_manifest(self.root / "work"):
            pytest.fail("opened twice")
        assert holder(self.root / "work")

    @precondition(lambda self: self.files)
    @rule(name=FILES, verify=st.booleans())
    def take_hash(self, name: str, verify: bool) -> None:
        if name in self.files:
            assert self.manifest.content_sha256(self.root / name, verify=verify) == self.hashed(name, verify)
        else:
            with pytest.raises(FileNotFoundError):
                self.manifest.content_sha256(self.root / name, verify=verify)

    # What has to hold

    def altered(self, row: Row) -> bool:
        names = {place: "outside.npy" if place.startswith("/") else f"work/{place}" for place in row.outputs}
        there = {place: made for place, made in row.outputs.items() if names[place] in self.files}
        return row.status == "done" and not all(self.intact(place, *made, True) for place, made in there.items())

    def intact(self, place: str, size: int, content_sha256: str, verify: bool) -> bool:
        name = "outside.npy" if place.startswith("/") else f"work/{place}"
        if name not in self.files or len(self.files[name][0]) != size:
            return False
        return self.hashed(name, verify) == content_sha256

    @invariant()
    def the_rows_are_those_of_the_model(self) -> None:
        if not hasattr(self, "manifest"):
            return
        found = self.manifest.items()
        assert len({item.sequence for item in found.values()}) == len(found), "they have an order"
        assert found.keys() == self.rows.keys()
        for key, row in self.rows.items():
            item = found[key]
            assert item == self.manifest.get(*key)
            assert (item.status, item.fingerprint) == (row.status, row.fingerprint)
            assert (item.attempt, item.repairs) == (row.attempt, row.repairs)
            assert (item.info, (item.failure, item.error)) == (row.info, row.failure)
            assert {output.path: (output.bytes, output.sha256) for output in item.outputs} == row.outputs
            for fingerprint in ("today", "tomorrow"):
                for verify in (False, True):
                    done = (
                        row.status == "done"
                        and row.fingerprint == fingerprint
                        and all(self.intact(place, *made, verify) for place, made in row.outputs.items())
                    )
                    assert self.manifest.is_done(item, fingerprint, verify=verify) == done


ManifestMachine.TestCase.settings = settings(
    max_examples=10 * MULTIPLIER, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestManifest = ManifestMachine.TestCase
