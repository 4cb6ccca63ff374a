"""Waiting between attempts: exponential backoff with jitter, never shorter than was asked for."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TypeVar

from models.config.data import Ingestion
from models.errors import SourceError

Result = TypeVar("Result")


class TryAgain(Exception):
    """An attempt failed in a way that may pass; `wait_s` is what the server asked for, in s."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


def retry(
    attempt: Callable[[], Result],
    policy: Ingestion,
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Result:
    """Result of `attempt`, which is called again after each TryAgain, at most `attempts` times.

    The wait before attempt n + 1 is drawn from the upper half of backoff_s * 2^(n - 1), and is
    at least what the server asked for. Raises SourceError when attempts are used up or the
    server asks for a wait beyond max_wait_s.
    """
    for number in range(1, policy.attempts + 1):
        try:
            return attempt()
        except TryAgain as failure:
            if number == policy.attempts:
                times = f"{number} attempts" if number > 1 else "one attempt"
                raise SourceError(f"no usable answer after {times}: {failure}") from failure
            if failure.wait_s > policy.max_wait_s:
                raise SourceError(
                    f"asked to wait {failure.wait_s:.0f} s, more than the "
                    f"{policy.max_wait_s:g} s allowed (ingestion.max_wait_s): {failure}"
                ) from failure
            backoff = policy.backoff_s * 2 ** (number - 1) * (0.5 + 0.5 * jitter())
            sleep(max(failure.wait_s, min(backoff, policy.max_wait_s)))
    raise AssertionError("unreachable: attempts is at least 1")


def read_retry_after(value: str | None, now: dt.datetime | None) -> float:
    """Seconds that a Retry-After header asks for, a number or an HTTP date; 0 if it says nothing.

    A date is counted from `now`, the server's own clock.
    """
    if not value:
        return 0.0
    if value.strip().isdigit():
        return float(value)
    then = read_http_date(value)
    return max(0.0, (then - now).total_seconds()) if then and now else 0.0


def read_http_date(value: str | None) -> dt.datetime | None:
    """Time of an HTTP date header, UTC, or None where it is absent or unreadable."""
    try:
        time = parsedate_to_datetime(value or "")
    except (ValueError, IndexError):
        return None
    return time.astimezone(dt.UTC) if time.tzinfo else time.replace(tzinfo=dt.UTC)
