"""Whether there can be a forecast, what must be said with it, and which days were missed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from models.config.judging import Watch
from models.errors import NoForecastError

DAY = dt.timedelta(days=1)


def describe_age(source: str, as_of: dt.date, wanted: dt.date, limits: Watch) -> list[str]:
    """Say how old the newest candle, of `as_of`, is; nothing where it is the one of `wanted`.

    Raises NoForecastError where it is older than the limits allow.
    """
    age = (wanted - as_of).days
    if age <= 0:
        return []
    told = f"the newest candle of {source} is that of {as_of}, {age} days old"
    if age > limits.max_age_days:
        raise NoForecastError(
            f"{told}; at most {limits.max_age_days} are allowed (max_age_days): bring the candles "
            f"up to date, or forecast as of that day (--as-of {as_of})"
        )
    return [f"No fresh candle: {told}."]


def describe_training(version: int | str, trained_to: str, as_of: dt.date) -> list[str]:
    """Say that a version was trained to another day, YYYY-MM-DD, than it forecasts from."""
    last_day = dt.date.fromisoformat(trained_to)
    if last_day < as_of:
        days = (as_of - last_day).days
        return [f"The champion, version {version}, is of {last_day}, {days} days ago."]
    if last_day > as_of:
        return [f"Made afterwards: version {version} was trained to {last_day}."]
    return []


def is_hindsight(notes: Iterable[str]) -> bool:
    """Whether the notes of a forecast say that its model has seen later days."""
    return any(note.startswith("Made afterwards") for note in notes)


def is_live(as_of: dt.date, newest_closed: dt.date, trained_to: dt.date) -> bool:
    """Whether a forecast from `as_of` was made before its first target, by a model of before."""
    return as_of == newest_closed and trained_to <= as_of


def lacking_columns(needed: Iterable[str], columns: Iterable[str]) -> list[str]:
    """Columns that a model needs and the candles do not have."""
    return sorted(set(needed) - set(columns))


def find_missed(
    days: Sequence[dt.date], known: Iterable[dt.date], as_of: dt.date, limits: Watch
) -> list[int]:
    """Rows of the `days` that nobody forecast from, since the first of the `known` that did.

    Only days before `as_of` count, and at most `catch_up_days` of them.
    """
    forecast = set(known)
    if not forecast:
        return []
    first = max(min(forecast), as_of - limits.catch_up_days * DAY)
    return [row for row, day in enumerate(days) if first <= day < as_of and day not in forecast]


def next_midnight(day: dt.date) -> dt.datetime:
    """The moment until which a forecast from a day's candle could have been made live."""
    return dt.datetime.combine(day + 2 * DAY, dt.time(), tzinfo=dt.UTC)
