"""Telling people: channels (webhook, e-mail, a heartbeat address), and what was told already."""

from __future__ import annotations

import json
import os
import smtplib
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import requests
from pydantic import BaseModel, ConfigDict, ValidationError

from models.decisions.alarms import Alarm, Facts, find_alarms, find_unknown, select_untold
from models.errors import DiskError, InputError, ServiceError
from tasks.storage.files import whole_file, write_text
from tasks.storage.home import home

SEND_SECONDS = 15
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
        if urlsplit(smtp).scheme not in ("smtp", "smtps") or not urlsplit(smtp).hostname:
            raise InputError(
                "email: expected --smtp smtp://USER:PASSWORD@HOST:587 (or smtps://…), or "
                "BTC_SMTP_URL"
            )
        return Channel(kind="email", target=target, smtp=smtp)
    if urlsplit(target).scheme not in ("http", "https") or not urlsplit(target).hostname:
        raise InputError(f"{kind}: expected an address that begins with https:// or http://")
    return Channel(kind="webhook" if kind == "webhook" else "ping", target=target)


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
    except (OSError, smtplib.SMTPException, requests.RequestException) as error:
        raise ServiceError(f"{channel.shown}: not reached ({type(error).__name__})") from error


def _send_mail(channel: Channel, subject: str, text: str) -> None:
    server = urlsplit(channel.smtp)
    message = EmailMessage()
    message["Subject"], message["To"] = subject, channel.target
    message["From"] = unquote(server.username or "") if "@" in (server.username or "") else (
        channel.target
    )  # fmt: skip
    message.set_content(text)
    make = smtplib.SMTP_SSL if server.scheme == "smtps" else smtplib.SMTP
    default = 465 if server.scheme == "smtps" else 587
    with make(str(server.hostname), server.port or default, timeout=SEND_SECONDS) as client:
        if server.scheme == "smtp" and client.has_extn("starttls"):
            client.starttls()
        if server.username:
            client.login(unquote(server.username), unquote(server.password or ""))
        client.send_message(message)


def tell(facts: Facts) -> list[str]:
    """Tell what is new and what is well again, and ping after a success; one line for each.

    What no channel took is not counted as told and tried again the next time.
    """
    channels = read_channels()
    told = _read_told()
    alarms, unknown = find_alarms(facts), find_unknown(facts, told["alarms"])
    new, well, after = select_untold(alarms, told["alarms"], unknown)
    lines = []
    for alarm in new:
        taken = _tell_all(channels, f"btc-daily: {alarm.what}", alarm.text, alarm)
        lines.append(f"alarm: {alarm.what} ({alarm.why})")
        lines += taken
        if taken and len(taken) == len(_telling(channels)):
            after[alarm.topic].remove(alarm.key)
    for topic in well:
        lines.append(f"well again: {topic}")
        text = f"{facts.at.date()}: it needs no attention any more."
        taken = _tell_all(channels, f"btc-daily: well again: {topic}", text)
        lines += taken
        if taken and len(taken) == len(_telling(channels)):
            after[topic] = told["alarms"][topic]
    success = next((r.run_id for r in facts.runs if r.flow == "retrain" and r.state == "COMPLETED"),
                   "")  # fmt: skip
    if success and success != told["pinged"]:
        failed = _ping(channels)
        lines += failed
        told["pinged"] = success if not failed else told["pinged"]
    return lines + _write_told({"alarms": after, "pinged": told["pinged"]})


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
    if _told_path() in _unkept:
        return _unkept[_told_path()]
    try:
        stored: dict[str, Any] = json.loads(_told_path().read_text("utf-8"))
        return {"alarms": {}, "pinged": ""} | stored
    except (OSError, ValueError):
        return {"alarms": {}, "pinged": ""}


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
