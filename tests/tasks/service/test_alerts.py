"""Alerts, to a real HTTP receiver and a real SMTP conversation on this machine."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from models.decisions.alarms import Facts, RunFacts, SymbolFacts
from models.errors import InputError, ServiceError
from tasks.service.alerts import Channel, make_channel, read_channels, send, tell, write_channels
from tasks.service.backup import back_up, restore
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
    """A mail server that takes any password; it offers STARTTLS where it has a `context`."""

    got: ClassVar[list[str]] = []
    commands: ClassVar[list[tuple[str, bool]]] = []
    """Every line but those of messages, and whether it came encrypted."""
    context: ClassVar[ssl.SSLContext | None] = None

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().decode().strip():
            word, encrypted = line.split()[0].upper(), isinstance(self.request, ssl.SSLSocket)
            Mail.commands.append((line, encrypted))
            if word == "EHLO":
                more = b"250-STARTTLS\r\n" if Mail.context and not encrypted else b""
                self.wfile.write(b"250-here\r\n" + more + b"250 AUTH PLAIN\r\n")
                continue
            if word == "STARTTLS" and Mail.context:
                self.wfile.write(b"220 go on\r\n")
                try:
                    self.request = Mail.context.wrap_socket(self.request, server_side=True)
                except ssl.SSLError:
                    return
                self.setup()
                continue
            if word == "AUTH":
                self.wfile.write(b"235 welcome\r\n")
                continue
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


@contextmanager
def mailing(context: ssl.SSLContext | None = None, *, at_once: bool = False) -> Iterator[str]:
    """A real mail server, encrypted by STARTTLS or `at_once`; gives its host and port."""
    Mail.got, Mail.commands, Mail.context = [], [], context
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
    if context and at_once:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def smtp() -> Iterator[str]:
    with mailing() as address:
        yield f"smtp://{address}"


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of this machine that signs itself, and what a server encrypts with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day)
    made = builder.add_extension(here, critical=False).sign(key, hashes.SHA256())
    path, private = folder / "certificate.pem", folder / "key.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path, private)
    return path, context


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


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_password_goes_encrypted_and_to_a_server_that_is_trusted(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = make_certificate(tmp_path)
    with mailing(context, at_once=scheme == "smtps") as address:
        channel = make_channel("email", "me@example.org", f"{scheme}://me:hidden@{address}")
        with pytest.raises(ServiceError, match="certificate is not trusted") as refused:
            send(channel, "x", "y")
        assert "\n" not in str(refused.value) and "hidden" not in str(refused.value)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        send(channel, "x", "y")
    assert len(Mail.got) == 1
    assert [safe for line, safe in Mail.commands if line.startswith("AUTH")] == [True]
    unsafe = {line.split()[0].upper() for line, safe in Mail.commands if not safe}
    assert unsafe == ({"EHLO", "STARTTLS"} if scheme == "smtp" else set())


def test_another_machine_that_does_not_encrypt_gets_no_password(
    smtp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = socket.create_connection

    def connect_here(address: tuple[str, int], *more: object, **named: object) -> socket.socket:
        return connect(("127.0.0.1", address[1]), *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", connect_here)
    there = smtp.replace("127.0.0.1", "mail.example.org")
    channel = make_channel("email", "me@example.org", there.replace("//", "//me:hidden@"))
    with pytest.raises(ServiceError, match="offers no encryption") as refused:
        send(channel, "x", "y")
    assert "\n" not in str(refused.value) and "hidden" not in str(refused.value)
    assert not any(line.startswith("AUTH") for line, _ in Mail.commands)
    send(make_channel("email", "me@example.org", there), "x", "y")
    send(make_channel("email", "me@example.org", smtp.replace("//", "//me:hidden@")), "x", "y")
    assert len(Mail.got) == 2
    assert sum(line.startswith("AUTH") for line, _ in Mail.commands) == 1


@pytest.mark.parametrize("wrong", ["me:p%C3%A4ss@{}", "{}9999999", "[::1"])
def test_a_channel_that_cannot_work_does_not_make_others_be_told_again(
    wrong: str, webhook: str, smtp: str, own_home: Path
) -> None:
    address = f"smtp://{wrong.format(smtp.removeprefix('smtp://'))}"
    broken = Channel(kind="email", target="me@example.org", smtp=address)
    write_channels([broken, make_channel("webhook", webhook)])
    assert len(tell(facts("FAILED"))) == 2
    assert tell(facts("FAILED")) == []
    assert len(Receiver.got) == 1
    with pytest.raises(InputError, match="email: expected "):
        make_channel("email", "me@example.org", address)


def test_what_was_told_to_nobody_is_told_when_a_channel_comes(webhook: str, own_home: Path) -> None:
    full = facts("FAILED").model_copy(update={"disk_bytes": 0})
    assert len(tell(full)) == 2  # printed once, not each minute
    assert tell(full) == []
    assert tell(facts("FAILED")) == ["well again: disk"]
    btc("alerts", "add", "webhook", webhook)
    tell(facts("FAILED"))
    assert tell(facts("FAILED")) == []
    assert [message["alarm"]["topic"] for _, message in Receiver.got] == ["run retrain"]
    btc("alerts", "remove", "1")
    assert tell(facts("FAILED")) == []
    tell(facts("COMPLETED"))
    btc("alerts", "add", "webhook", webhook)
    tell(facts("COMPLETED"))
    assert "well again: run retrain" in Receiver.got[1][1]["text"]


def test_an_alarm_that_no_channel_took_is_never_well_again(webhook: str, own_home: Path) -> None:
    btc("alerts", "add", "webhook", webhook)
    Receiver.status = 500
    tell(facts("FAILED"))
    Receiver.status = 200
    assert tell(facts("COMPLETED")) == []


def test_neither_an_upgrade_nor_a_restore_tells_anything_twice(
    webhook: str, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    btc("alerts", "add", "webhook", webhook)
    told = {"alarms": {"candle": ["2026-05-01"], "run retrain": ["FAILED"]}, "pinged": ""}
    (own_home / "service").mkdir()
    (own_home / "service" / "told.json").write_text(json.dumps(told))
    old = SymbolFacts(symbol="BTC/USD", newest_candle=dt.date(2026, 5, 1))
    several = (old, SymbolFacts(symbol="ETH/USD", newest_candle=NOW.date()))
    assert tell(facts("FAILED").model_copy(update={"symbols": (old,)})) == []
    assert tell(facts("FAILED").model_copy(update={"symbols": several})) == []
    back_up(tmp_path / "all.tar.gz")
    monkeypatch.setenv("BTC_HOME", str(tmp_path / "restored"))
    restore(tmp_path / "all.tar.gz")
    assert tell(facts("FAILED").model_copy(update={"symbols": several})) == []
    assert Receiver.got == []


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
        ("ping", "https://hooks.example.org:x/secret", "a port of 1 to 65535 if any$"),
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
