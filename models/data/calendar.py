"""Which day counts as the newest one."""

from __future__ import annotations

import datetime as dt

from models.errors import InputError


def newest_closed_day(scheduled: dt.datetime) -> dt.date:
    """Return the UTC day before `scheduled` (time zone aware): its candle is the newest closed."""
    return scheduled.astimezone(dt.UTC).date() - dt.timedelta(days=1)


def add_wait(now: dt.datetime, waited: dt.timedelta) -> tuple[dt.datetime, dt.date]:
    """Return the time after a wait, and the newest day that has closed by then."""
    return now + waited, newest_closed_day(now + waited)


def resolve_as_of(asked: dt.date | None, newest_closed: dt.date) -> dt.date:
    """Return the day that was asked for, else the newest closed one.

    Raises InputError when the asked day has not closed.
    """
    if asked is not None and asked > newest_closed:
        raise InputError(
            f"as_of: {asked} has not closed yet; expected {newest_closed} (UTC) or an earlier day"
        )
    return asked or newest_closed
