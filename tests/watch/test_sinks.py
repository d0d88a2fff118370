"""Where notices go: standard output, a folder, a webhook with a real receiver."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.notices import Receiver, event, free_port, make_certificate, notice
from helpers.places import REPOSITORY
from helpers.schema import check
from pydantic import ValidationError

from lad.watch.environment import expand
from lad.watch.payload import Notice, place, read_notice
from lad.watch.sink import RefusedError, Sink, SinkError
from lad.watch.sinks import SINKS

SCHEMA = json.loads((REPOSITORY / "docs" / "watch_events.schema.json").read_text())


def make(name: str, **options: object) -> Sink:
    kind = SINKS[name]
    return kind.make(kind.options.model_validate(options))


def give(sink: Sink, told: Notice) -> None:
    sink.deliver(told.to_json(), told.type)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


# Standard output, a folder --------------------------------------------------------------------------------------------


def test_standard_output_gets_a_line_for_each_notice(capfd):
    sink = make("stdout")
    for number in range(3):
        give(sink, notice(number))
    lines = capfd.readouterr().out.splitlines()
    assert [read_notice(line) for line in lines] == [notice(number) for number in range(3)]


def test_output_that_nobody_reads_is_refused_and_no_error(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as file:
        monkeypatch.setattr("sys.stdout", file)
        sink = make("stdout")
        for _ in range(2):
            with pytest.raises(RefusedError, match="standard output: Broken pipe"):
                give(sink, notice())
        file.flush()  # and Python, which does so at its end, complains no more


def test_a_folder_holds_the_last_state_of_each_event(tmp_path):
    sink = make("folder", path=tmp_path)
    give(sink, notice(1))
    give(sink, notice(2))
    ended = Notice("end", event(1), event(1, end_time=event().start_time + 9))
    give(sink, ended)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")) == [
        f"yard/2025-11-29/{event(number).id}.json" for number in (1, 2)
    ]
    content = (tmp_path / f"{place(event(1))}.json").read_text()
    check(json.loads(content), SCHEMA)
    assert read_notice(content) == Notice("end", None, ended.after)
    assert [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")] == []


def test_a_folder_that_cannot_be_written_is_tried_again(tmp_path):
    (tmp_path / "yard").write_text("no folder")
    with pytest.raises(SinkError) as error:
        give(make("folder", path=tmp_path), notice())
    assert not isinstance(error.value, RefusedError) and str(tmp_path) in str(error.value)


# Webhook --------------------------------------------------------------------------------------------------------------


def test_a_webhook_gets_the_line_signed_and_with_the_same_headers_each_time(receiver, monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    monkeypatch.setenv("HOOK_TOKEN", "t0ken")
    headers = {"Authorization": "Bearer ${HOOK_TOKEN}"}
    sink = make("webhook", url=receiver.address, secret="${HOOK_SECRET}", headers=headers)
    give(sink, notice())
    give(sink, notice())
    give(sink, Notice("update", notice().after, event(score=0.5)))
    (path, first, body), (_, second, again), (_, other, _) = receiver.requests
    assert (path, body.decode()) == ("/hook?token=hidden", notice().to_json())
    assert first["x-lad-signature"] == f"sha256={hmac.new(b's3cret', body, hashlib.sha256).hexdigest()}"
    assert first["authorization"] == "Bearer t0ken" and first["content-type"] == "application/json"
    assert first["idempotency-key"].startswith(f"{notice().after.id}-new-")
    assert (first, body) == (second, again)
    assert other["idempotency-key"] != first["idempotency-key"] and other["x-lad-event"] == "update"


def test_the_check_of_a_signature_in_the_docs_works(receiver):
    code = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs" / "watch_events.md").read_text(), re.DOTALL)
    assert code is not None
    names: dict = {}
    exec(code[1], names)
    give(make("webhook", url=receiver.address, secret="s3cret"), notice())
    _, headers, body = receiver.requests[0]
    assert names["is_from_lad"](body, headers["x-lad-signature"], "s3cret")
    assert not names["is_from_lad"](body + b" ", headers["x-lad-signature"], "s3cret")
    assert not names["is_from_lad"](body, headers["x-lad-signature"], "another")


def test_a_user_in_the_address_is_who_asks(receiver):
    address = receiver.address.replace("127", "us%40er:p%2Fss@127")
    give(make("webhook", url=address), notice())
    (path, headers, _) = receiver.requests[0]
    assert headers["authorization"] == f"Basic {base64.b64encode(b'us@er:p/ss').decode()}"
    assert path == "/hook?token=hidden"


@pytest.mark.parametrize(
    "address", ["http://host:99999/hidden", "http://[::1/hidden", "http://ho st/hidden", "http:///hidden"]
)
def test_an_address_that_is_none_is_said_at_once(address):
    with pytest.raises((SinkError, ValidationError)) as error:
        make("webhook", url=address)
    assert "hidden" not in str(error.value)


def test_without_a_secret_nothing_is_signed(receiver):
    give(make("webhook", url=receiver.address), notice())
    assert "x-lad-signature" not in receiver.requests[0][1]


@pytest.mark.parametrize("answer", [500, 503, 408, 429, "break"])
def test_what_may_pass_is_tried_again(receiver, answer):
    receiver.answers = [answer]
    sink = make("webhook", url=receiver.address)
    with pytest.raises(SinkError) as error:
        give(sink, notice())
    assert not isinstance(error.value, RefusedError)
    give(sink, notice())
    assert len(receiver.requests) == 2


@pytest.mark.parametrize("answer", [400, 401, 404, 413, 301, 302, 307, 308])
def test_a_refusal_is_one_and_no_redirect_is_followed(receiver, answer):
    receiver.answers = [answer]
    with pytest.raises(RefusedError, match=f"answered {answer}"):
        give(make("webhook", url=receiver.address), notice())
    assert [path for path, _, _ in receiver.requests] == ["/hook?token=hidden"]


def test_a_receiver_that_hangs_costs_the_timeout(receiver):
    receiver.answers = ["hang"]
    with pytest.raises(SinkError, match=r"no answer within 0\.2 s"):
        give(make("webhook", url=receiver.address, timeout_seconds=0.2), notice())


def test_a_message_never_holds_what_is_secret():
    address = f"http://user:pass@127.0.0.1:{free_port()}/hook/hidden?token=hidden"
    sink = make("webhook", url=address, secret="s3cret", headers={"X-Key": "k3y"})
    with pytest.raises(SinkError, match=r"^http://127\.0\.0\.1:\d+: cannot be reached$"):
        give(sink, notice())
    for kind, said in (
        ("webhook", {"url": "ftp://user:hidden@host"}),
        ("webhook", {"url": address, "headers": {"X-Key": "hidden\n"}}),
        ("webhook", {"url": address, "secret": "hidden", "unknown": 1}),
        ("mqtt", {"host": "broker", "password": "hidden", "port": 0}),
    ):
        options = SINKS[kind].options
        with pytest.raises(ValidationError) as wrong:
            options.model_validate(said)
        assert "hidden" not in str(wrong.value)
    shown = repr(SINKS["webhook"].options.model_validate({"url": address, "secret": "hidden"}))
    assert "hidden" not in shown and "pass" not in shown


def test_a_host_without_a_name_is_said():
    with pytest.raises(SinkError, match="there is no such host"):
        give(make("webhook", url="http://nowhere.invalid/"), notice())


def test_a_server_whose_certificate_nobody_vouches_for_is_not_told_anything(tls_receiver):
    receiver, certificate = tls_receiver
    with pytest.raises(SinkError, match="no safe connection"):
        give(make("webhook", url=receiver.address), notice())
    assert receiver.requests == []
    give(make("webhook", url=receiver.address, ca_file=certificate), notice())
    assert receiver.bodies() == [notice().to_json()]


def test_certificates_that_are_none_are_named(tmp_path):
    (tmp_path / "ca.pem").write_text("none")
    for kind, options in (("webhook", {"url": "https://host"}), ("mqtt", {"host": "broker", "tls": True})):
        for file in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
            with pytest.raises(SinkError, match=re.escape(str(file))):
                make(kind, **options, ca_file=file)


def test_headers_that_lad_sets_cannot_be_given():
    with pytest.raises(ValidationError, match="lad sets this header itself"):
        SINKS["webhook"].options.model_validate({"url": "https://host", "headers": {"X-Lad-Signature": "mine"}})


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.setenv("SET", "a")
    monkeypatch.delenv("NOT_SET", raising=False)
    assert expand("x${SET}y$SET") == "xay$SET"
    with pytest.raises(ValueError, match="the environment has no NOT_SET: set it"):
        expand("${NOT_SET}")


@pytest.fixture
def tls_receiver(tmp_path) -> Iterator[tuple[Receiver, Path]]:
    certificate = make_certificate(tmp_path)
    one = Receiver(certificate)
    yield one, certificate
    one.close()
