"""The newest closed day is the UTC day before, wherever the scheduler stands."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from models.data.calendar import newest_closed_day, resolve_as_of
from models.errors import InputError


@pytest.mark.parametrize(
    ("local", "zone", "newest"),
    [
        ("2024-01-02T00:20", "UTC", "2024-01-01"),
        ("2024-01-02T00:00", "UTC", "2024-01-01"),
        ("2024-01-01T23:59:59", "UTC", "2023-12-31"),
        ("2024-01-02T00:20", "Asia/Tokyo", "2023-12-31"),
        ("2024-01-02T09:00", "Asia/Tokyo", "2024-01-01"),
        ("2024-01-01T19:20", "America/New_York", "2024-01-01"),
        ("2024-01-01T18:59", "America/New_York", "2023-12-31"),
        ("2024-03-31T01:30", "Europe/Berlin", "2024-03-30"),
        ("2024-03-31T03:30", "Europe/Berlin", "2024-03-30"),
        ("2024-03-01T00:20", "UTC", "2024-02-29"),
    ],
)
def test_newest_closed_day(local, zone, newest):
    scheduled = dt.datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone))
    assert newest_closed_day(scheduled) == dt.date.fromisoformat(newest)


def test_as_of_is_the_day_asked_for_else_the_newest_closed():
    newest = dt.date(2024, 1, 1)
    assert resolve_as_of(None, newest) == newest
    assert resolve_as_of(newest, newest) == newest
    assert resolve_as_of(dt.date(2020, 2, 29), newest) == dt.date(2020, 2, 29)


def test_a_day_that_has_not_closed_is_refused():
    with pytest.raises(InputError, match="2024-01-02 has not closed yet; expected 2024-01-01"):
        resolve_as_of(dt.date(2024, 1, 2), dt.date(2024, 1, 1))
