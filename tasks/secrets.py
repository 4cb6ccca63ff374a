"""The secrets of this process's settings, hidden in all that it says, logs and stores."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import traceback
from types import TracebackType
from urllib.parse import unquote

from models.masking import find_secrets, mask

# Settings of ours, of the services that we call, and of the libraries in between.
_OURS = re.compile(r"(BTC|PREFECT|MLFLOW|AWS|PG|FSSPEC)\w*|\w*_PROXY", re.IGNORECASE)
_SECRET = re.compile(r"\w*(PASSWORD|SECRET|TOKEN|AUTH_STRING|KEY|CREDENTIALS)")
# fsspec takes its settings as JSON: {"key": "…", "secret": "…"}.
_IN_JSON = re.compile(r'(?i)"\w*(?:key|secret|token|password)\w*"\s*:\s*"([^"]+)"')
_ADDRESS = re.compile(r"\w*(URL|URI|STORE|ARCHIVE|PROXY|ENDPOINT)", re.IGNORECASE)


def known_secrets() -> set[str]:
    """Passwords, keys and tokens in the environment, also those inside addresses."""
    found: set[str] = set()
    for name, value in os.environ.items():
        if not value or not _OURS.fullmatch(name):
            continue
        if name.upper().startswith("FSSPEC"):
            found |= set(re.findall(_IN_JSON, value))
        if _SECRET.fullmatch(name):
            # Prefect's is name:password.
            found |= {value, value.partition(":")[2]} - {""}
        elif "://" in value or _ADDRESS.fullmatch(name):
            found |= find_secrets(value)
    return found


def hide(text: object) -> str:
    """A text, or what an error says, without any secret."""
    return mask(str(text), known_secrets())


class MaskedRecord(logging.LogRecord):
    """A record of a log whose message and traceback hold no secret."""

    def getMessage(self) -> str:
        """The message with its arguments."""
        return hide(super().getMessage())

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        if self.exc_info and self.exc_info[0]:
            self.exc_text = hide("".join(traceback.format_exception(*self.exc_info)).rstrip())


def guard_output() -> None:
    """Hide secrets in every log and every unexpected traceback of this process from now on."""
    logging.setLogRecordFactory(MaskedRecord)
    sys.excepthook = _say_unexpected
    threading.excepthook = _say_unexpected_of_thread
    part_credentials()


def _say_unexpected(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    print(hide("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)


def _say_unexpected_of_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None and not isinstance(found.exc_value, SystemExit):
        _say_unexpected(found.exc_type, found.exc_value, found.exc_traceback)


def part_credentials() -> None:
    """Move user and password out of the addresses of servers, which libraries log and show.

    Prefect and MLflow read them from variables of their own. What the user has set stands.
    """
    if found := _take("PREFECT_API_URL"):
        os.environ.setdefault("PREFECT_API_AUTH_STRING", ":".join(found))
    if found := _take("MLFLOW_TRACKING_URI"):
        os.environ.setdefault("MLFLOW_TRACKING_USERNAME", found[0])
        os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", found[1])


def _take(name: str) -> tuple[str, str] | None:
    """User and password of a server's address, which stays without them."""
    address = os.environ.get(name, "")
    scheme, _, rest = address.partition("://")
    user, at, host = rest.rpartition("@")
    # An @ may stand in a path, after the host.
    if scheme not in ("http", "https") or not at or re.match(r"[^@/:]+(:\d+)?/", rest):
        return None
    os.environ[name] = f"{scheme}://{host}"
    first, _, second = user.partition(":")
    return unquote(first), unquote(second)
