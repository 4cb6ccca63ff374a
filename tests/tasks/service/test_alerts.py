"""Alerts, to a real HTTP receiver and a real SMTP conversation on this machine."""

from __future__ import annotations

import datetime as dt
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from models.decisions.alarms import Facts, RunFacts
from models.errors import InputError
from tasks.service.alerts import make_channel, read_channels, tell, write_channels
from tests.flows.states import btc
from tests.servers import fill_disk

NOW = dt.datetime(2026, 5, 10, 2, 0, tzinfo=dt.UTC)


def facts(state: str) -> Facts:
    run = RunFacts(
        flow="retrain", run_id=state, state=state, message="no space", day=NOW.date(), link="x"
    )
    return Facts(at=NOW, servers={"prefect": True}, runs=(run,))


class Receiver(BaseHTTPRequestHandler):
    got: ClassVar[list[tuple[str, dict]]] = []
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Receiver.got.append((self.path, json.loads(body)))
        self._answer()

    def do_GET(self) -> None:
        Receiver.got.append((self.path, {}))
        self._answer()

    def _answer(self) -> None:
        self.send_response(Receiver.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Mail(socketserver.StreamRequestHandler):
    got: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].upper()
            if word == "DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), ".")
                Mail.got.append("\n".join(lines))
            if word == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 fine\r\n")


@contextmanager
def receiving() -> Iterator[str]:
    """A real HTTP server that keeps what it is sent in `Receiver.got`; gives its address."""
    Receiver.got, Receiver.status = [], 200
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


@pytest.fixture
def webhook() -> Iterator[str]:
    with receiving() as address:
        yield f"{address}/secret"


@pytest.fixture
def smtp() -> Iterator[str]:
    Mail.got = []
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"smtp://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_a_failure_is_told_once_on_every_channel_and_so_is_its_end(
    webhook: str, smtp: str, own_home: Path
) -> None:
    btc("alerts", "add", "webhook", webhook)
    btc("alerts", "add", "email", "me@example.org", "--smtp", smtp)
    btc("alerts", "add", "ping", f"{webhook}/ping")
    tell(facts("FAILED"))
    tell(facts("FAILED"))
    [(path, message)] = Receiver.got
    assert path == "/secret"
    assert message["alarm"]["what"] == "retrain failed"
    assert "no space" in message["text"]
    [mail] = Mail.got
    assert "Subject: btc-daily: retrain failed" in mail and "To: me@example.org" in mail
    assert tell(facts("COMPLETED")) == ["well again: run retrain"]
    tell(facts("COMPLETED"))
    assert [path for path, _ in Receiver.got] == ["/secret", "/secret", "/secret/ping"]
    assert "well again" in Receiver.got[1][1]["text"]
    assert len(Mail.got) == 2


def test_what_no_channel_took_is_tried_again(webhook: str, own_home: Path) -> None:
    btc("alerts", "add", "webhook", webhook)
    Receiver.status = 500
    lines = tell(facts("FAILED"))
    assert lines[-1] == "webhook http://127.0.0.1/…: answered 500"
    Receiver.status = 200
    assert tell(facts("FAILED")) == ["alarm: retrain failed (no space)"]
    assert tell(facts("FAILED")) == []


def test_an_end_that_no_channel_took_is_tried_again(webhook: str, own_home: Path) -> None:
    btc("alerts", "add", "webhook", webhook)
    tell(facts("FAILED"))
    Receiver.status = 500
    assert tell(facts("COMPLETED"))[0] == "well again: run retrain"
    Receiver.status = 200
    assert tell(facts("COMPLETED")) == ["well again: run retrain"]
    assert tell(facts("COMPLETED")) == []


def test_a_full_disk_is_told_once_although_nothing_can_be_kept(
    webhook: str, small_disk: Path
) -> None:
    btc("alerts", "add", "webhook", webhook)
    tell(facts("COMPLETED"))
    filler = fill_disk(small_disk)
    full = facts("COMPLETED").model_copy(update={"disk_bytes": 0})
    for _ in range(3):
        tell(full)
    filler.unlink()
    assert tell(full) == []
    assert [message["alarm"]["topic"] for _, message in Receiver.got] == ["disk"]
    assert tell(facts("COMPLETED")) == ["well again: disk"]


def test_channels_are_kept_from_others_and_shown_without_secrets(own_home: Path) -> None:
    channel = make_channel("email", "me@example.org", "smtp://me:hidden@mail.example.org")
    write_channels([channel, make_channel("webhook", "https://hooks.example.org/hidden")])
    assert (own_home / "alerts.json").stat().st_mode & 0o077 == 0
    assert len(read_channels()) == 2
    shown = btc("alerts", "list")
    assert "hooks.example.org" in shown and "hidden" not in shown
    assert "removed" in btc("alerts", "remove", "1")
    assert len(read_channels()) == 1


@pytest.mark.parametrize(
    ("kind", "target", "said"),
    [
        ("pigeon", "x", "expected webhook, email or ping"),
        ("webhook", "hooks.example.org", "begins with https://"),
        ("email", "nobody", "expected an address"),
        ("email", "me@example.org", "expected --smtp"),
    ],
)
def test_what_cannot_be_a_channel_is_one_line(kind: str, target: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_channel(kind, target)


def test_test_says_where_it_was_sent(webhook: str, own_home: Path) -> None:
    with pytest.raises(InputError, match="no channel yet"):
        btc("alerts", "test")
    btc("alerts", "add", "webhook", webhook)
    assert "sent to webhook" in btc("alerts", "test")
    assert Receiver.got[0][1]["text"].startswith("btc-daily: test")
