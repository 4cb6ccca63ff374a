from __future__ import annotations

import datetime as dt

import pytest

from models.config.data import Ingestion
from models.errors import SourceError
from tasks.sources.retries import TryAgain, read_retry_after, retry

POLICY = Ingestion(attempts=4, backoff_s=2, max_wait_s=30)


def failing(times: int, wait_s: float = 0.0):
    calls = []

    def attempt():
        calls.append(1)
        if len(calls) <= times:
            raise TryAgain("busy", wait_s)
        return len(calls)

    return attempt


def waits_of(times: int, wait_s: float = 0.0, jitter: float = 1.0) -> list[float]:
    waits: list[float] = []
    retry(failing(times, wait_s), POLICY, sleep=waits.append, jitter=lambda: jitter)
    return waits


def test_waits_double_with_jitter_in_the_upper_half():
    assert waits_of(0) == []
    assert waits_of(3) == [2, 4, 8]
    assert waits_of(3, jitter=0) == [1, 2, 4]


def test_the_servers_wish_is_the_least_that_is_waited():
    assert waits_of(3, wait_s=5) == [5, 5, 8]


def test_a_wish_beyond_the_limit_and_too_many_failures_end_in_one_line():
    with pytest.raises(SourceError, match=r"asked to wait 31 s, more than the 30 s allowed"):
        retry(failing(1, 31), POLICY, sleep=lambda _: None)
    with pytest.raises(SourceError, match="no usable answer after 4 attempts: busy"):
        retry(failing(4), POLICY, sleep=lambda _: None)
    assert retry(failing(3), POLICY, sleep=lambda _: None) == 4


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, 0),
        ("7", 7),
        ("Mon, 01 Jan 2024 00:01:00 GMT", 60),
        ("Sun, 31 Dec 2023 00:00:00 GMT", 0),
        ("soon", 0),
        ("-5", 0),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(header, expected):
    assert read_retry_after(header, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)) == expected
