"""Telling people: channels (webhook, e-mail, a heartbeat address), and what was told already."""

from __future__ import annotations

import ipaddress
import json
import os
import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

import requests
from pydantic import BaseModel, ConfigDict, ValidationError

from models.decisions.alarms import (
    Alarm,
    Facts,
    find_alarms,
    find_unknown,
    rename_told,
    select_untold,
)
from models.errors import DiskError, InputError, ServiceError
from tasks.storage.files import whole_file, write_text
from tasks.storage.home import home

SEND_SECONDS = 15
PORT = "with a port of 1 to 65535 if any"
_unkept: dict[Path, dict[str, Any]] = {}
"""What was told and could not be written, by its file: a full disk must not be told each minute."""


class Channel(BaseModel):
    """One way to tell: a webhook, an e-mail address, or a heartbeat address."""

    model_config = ConfigDict(frozen=True)
    kind: Literal["webhook", "email", "ping"]
    target: str
    smtp: str = ""

    @property
    def shown(self) -> str:
        """The channel for people: addresses of webhooks hold secrets after the host."""
        if self.kind == "email":
            return f"email {self.target}"
        return f"{self.kind} {urlsplit(self.target).scheme}://{urlsplit(self.target).hostname}/…"


def read_channels() -> list[Channel]:
    """Every channel; raises InputError where the file cannot be read."""
    path = _channels_path()
    if not path.exists():
        return []
    try:
        return [Channel.model_validate(item) for item in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(f"{path}: cannot read the channels ({type(error).__name__})") from error


def write_channels(channels: list[Channel]) -> None:
    """Keep the channels in a file that its owner alone may read."""
    with whole_file(_channels_path()) as temporary:
        temporary.chmod(0o600)
        temporary.write_text(json.dumps([channel.model_dump() for channel in channels], indent=2))


def make_channel(kind: str, target: str, smtp: str = "") -> Channel:
    """Check what was given; raises InputError in one line that repeats no secret."""
    if kind not in ("webhook", "email", "ping"):
        raise InputError(f"expected webhook, email or ping, received {kind!r}")
    if kind == "email":
        if "@" not in target or any(letter.isspace() for letter in target):
            raise InputError(f"email: expected an address such as me@example.org, got {target!r}")
        smtp = smtp or os.environ.get("BTC_SMTP_URL", "")
        if not _is_address(smtp, "smtp", "smtps"):
            raise InputError(
                "email: expected --smtp smtp://USER:PASSWORD@HOST:587 (or smtps://…), or "
                f"BTC_SMTP_URL, {PORT}"
            )
        if not unquote(urlsplit(smtp).netloc.rpartition("@")[0]).isascii():
            raise InputError("email: expected a user and a password of ASCII characters")
        return Channel(kind="email", target=target, smtp=smtp)
    if not _is_address(target, "http", "https"):
        raise InputError(
            f"{kind}: expected an address that begins with https:// or http://, {PORT}"
        )
    return Channel(kind="webhook" if kind == "webhook" else "ping", target=target)


def _is_address(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, half an IPv6 address
        return False


def send(channel: Channel, subject: str, text: str, facts: dict[str, Any] | None = None) -> None:
    """Tell one thing on one channel; raises ServiceError in one line that repeats no secret."""
    try:
        if channel.kind == "email":
            _send_mail(channel, subject, text)
        elif channel.kind == "webhook":
            body = {"text": f"{subject}\n{text}", **(facts or {})}
            requests.post(channel.target, json=body, timeout=SEND_SECONDS).raise_for_status()
        else:
            requests.get(channel.target, timeout=SEND_SECONDS).raise_for_status()
    except requests.HTTPError as error:
        raise ServiceError(f"{channel.shown}: answered {error.response.status_code}") from error
    except ssl.SSLCertVerificationError as error:
        raise ServiceError(
            f"{channel.shown}: its server's certificate is not trusted ({error.verify_message}); "
            "SSL_CERT_FILE can name a file with those to trust"
        ) from error
    except (OSError, ValueError, smtplib.SMTPException, requests.RequestException) as error:
        raise ServiceError(f"{channel.shown}: not reached ({type(error).__name__})") from error


def _send_mail(channel: Channel, subject: str, text: str) -> None:
    server = urlsplit(channel.smtp)
    message = EmailMessage()
    message["Subject"], message["To"] = subject, channel.target
    message["From"] = unquote(server.username or "") if "@" in (server.username or "") else (
        channel.target
    )  # fmt: skip
    message.set_content(text)
    with _open_mail(server) as client:
        if server.username:
            client.login(unquote(server.username), unquote(server.password or ""))
        client.send_message(message)


def _open_mail(server: SplitResult) -> smtplib.SMTP:
    """Connect, encrypted where the server can; else only a server of this machine gets a password.

    Raises ServiceError where another asks for one, in one line.
    """
    host, trusted = str(server.hostname), ssl.create_default_context()
    if server.scheme == "smtps":
        port = server.port or 465
        return smtplib.SMTP_SSL(host, port, timeout=SEND_SECONDS, context=trusted)
    client = smtplib.SMTP(host, server.port or 587, timeout=SEND_SECONDS)
    try:
        client.ehlo_or_helo_if_needed()
        if client.has_extn("starttls") and (server.username or not _is_loopback(host)):
            client.starttls(context=trusted)
        elif server.username and not _is_loopback(host):
            raise ServiceError(
                f"email: {host} offers no encryption (STARTTLS), so it is sent no password; "
                "expected smtps://…, or a server that offers it"
            )
    except BaseException:
        client.close()
        raise
    return client


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tell(facts: Facts) -> list[str]:
    """Tell what is new and what is well again, and ping after a success; one line for each.

    What no channel took is not counted as told and tried again the next time. Where there is no
    channel yet, lines are given once, and the same is told when a channel comes.
    """
    channels = read_channels()
    told, telling = _read_told(), _telling(channels)
    before = rename_told(told["alarms" if telling else "printed"], facts)
    new, well, after = select_untold(find_alarms(facts), before, find_unknown(facts, before))
    lines = []
    for alarm in new:
        taken = _tell_all(channels, f"btc-daily: {alarm.what}", alarm.text, alarm)
        lines.append(f"alarm: {alarm.what} ({alarm.why})")
        lines += taken
        if taken and len(taken) == len(telling):
            after[alarm.topic].remove(alarm.key)
    for topic in well:
        lines.append(f"well again: {topic}")
        text = f"{facts.at.date()}: it needs no attention any more."
        taken = _tell_all(channels, f"btc-daily: well again: {topic}", text)
        lines += taken
        if taken and len(taken) == len(telling):
            after[topic] = before[topic]
    after = {topic: keys for topic, keys in after.items() if keys}  # Else it is well one day.
    told |= {"alarms": after, "printed": after} if telling else {"printed": after}
    success = next((r.run_id for r in facts.runs if r.flow == "retrain" and r.state == "COMPLETED"),
                   "")  # fmt: skip
    if success and success != told["pinged"]:
        failed = _ping(channels)
        lines += failed
        told["pinged"] = success if not failed else told["pinged"]
    return lines + _write_told(told)


def _telling(channels: list[Channel]) -> list[Channel]:
    return [channel for channel in channels if channel.kind != "ping"]


def _tell_all(
    channels: list[Channel], subject: str, text: str, alarm: Alarm | None = None
) -> list[str]:
    """Tell on every channel; returns a line for each that did not take it."""
    facts = {} if alarm is None else {"alarm": alarm.model_dump(mode="json")}
    return _collect([(channel, subject, text, facts) for channel in _telling(channels)])


def _ping(channels: list[Channel]) -> list[str]:
    return _collect([(channel, "", "", {}) for channel in channels if channel.kind == "ping"])


def _collect(messages: list[tuple[Channel, str, str, dict[str, Any]]]) -> list[str]:
    failed = []
    for channel, subject, text, facts in messages:
        try:
            send(channel, subject, text, facts)
        except ServiceError as error:
            failed.append(str(error))
    return failed


def _read_told() -> dict[str, Any]:
    """The keys told and, while there was no channel, printed, by topic; the last run pinged."""
    stored: dict[str, Any] = {}
    if _told_path() in _unkept:
        return _unkept[_told_path()]
    with suppress(OSError, ValueError):
        stored = json.loads(_told_path().read_text("utf-8"))
    return {"alarms": {}, "printed": stored.get("alarms", {}), "pinged": ""} | stored


def _write_told(told: dict[str, Any]) -> list[str]:
    """Keep what was told, in this process alone where it cannot be written."""
    try:
        write_text(json.dumps(told), _told_path())
    except (DiskError, OSError) as error:
        _unkept[_told_path()] = told
        return [str(error)]
    _unkept.pop(_told_path(), None)
    return []


def _told_path() -> Path:
    return home() / "service" / "told.json"


def _channels_path() -> Path:
    return home() / "alerts.json"
