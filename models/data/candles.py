"""Candles: the OHLCV schema, the checks that candles must pass, and their content hash.

A candle frame is a pandas DataFrame, one row a UTC day, sorted, with the columns of `COLUMNS`:
`open_time` (datetime64[us, UTC], start of the bar) and float64 prices in quote currency;
`volume` in the unit of its source. `close` is always there, the other prices and the volume only
where the source has them. Exogenous series that were joined to the candles follow, see
models/data/exogenous.py; they alone may miss values, on the first days.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.config.data import RepairPolicy
from models.data.rules import PRICES, Finding, find_faults, named
from models.errors import InputError

COLUMNS = ("open_time", *PRICES, "volume")
_EXOGENOUS = re.compile(r"exogenous_[a-z][a-z0-9_]*_lag[1-9][0-9]*")

_DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class CheckedCandles:
    """Candles fit for use, what was found in them, and in plain sentences what was repaired."""

    candles: pd.DataFrame
    findings: tuple[Finding, ...]
    repairs: tuple[str, ...]


def is_exogenous(column: str) -> bool:
    """Whether a column holds an exogenous series, named as in exogenous_fear_greed_lag1."""
    return _EXOGENOUS.fullmatch(column) is not None


def check_candles(
    candles: pd.DataFrame, policy: RepairPolicy, *, as_of: dt.date, newest_closed: dt.date
) -> CheckedCandles:
    """Sort, cut after `as_of`, check and, within the policy, repair candles.

    Values after `as_of` are cut off unread, so a replay of an old day sees what that day saw.
    `newest_closed` is the newest day whose candle is closed: the day after it may be there, still
    open, and is dropped.

    Raises InputError for days beyond that, time stamps that are no UTC midnight, duplicate days
    that disagree, days that break a rule of models/data/rules.py whose severity is error, and more
    missing days than the policy allows; ValueError for a frame that does not follow the schema.
    """
    if as_of > newest_closed:
        raise InputError(f"as_of {as_of} is not closed yet: give {newest_closed} or an earlier day")
    frame = _with_schema(candles)
    _check_days(frame["open_time"], newest_closed)
    findings = _find_open_candle(frame["open_time"], newest_closed)
    frame = frame[frame["open_time"] <= _midnight(as_of)].reset_index(drop=True)
    if frame.empty:
        raise InputError(f"no candle up to {as_of}: give candles that begin earlier or a later day")
    frame, repairs = _without_duplicates(frame, policy)
    findings += sorted(_find_stale(frame, as_of) + _check_values(frame), key=lambda f: f.kind)
    frame, filled = _without_gaps(frame, policy)
    return CheckedCandles(frame, tuple(findings), tuple(repairs + filled))


def find_changes(candles: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame | None:
    """The rows of candles that `base` lacks or has otherwise.

    None where `base` has other columns, or days that the candles lack.
    """
    days = candles["open_time"]
    if list(candles.columns) != list(base.columns) or not base["open_time"].isin(days).all():
        return None
    ours = candles.set_index("open_time")
    theirs = base.set_index("open_time").reindex(days)
    same = ours.eq(theirs) | (
        ours.isna() & theirs.isna() & days.isin(base["open_time"]).to_numpy()[:, None]
    )
    return candles[~same.all(axis=1).to_numpy()].reset_index(drop=True)


def apply_changes(changes: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """The candles that differ from `base` by the changes; see `find_changes`."""
    kept = base[~base["open_time"].isin(changes["open_time"])]
    return pd.concat([kept, changes]).sort_values("open_time", ignore_index=True)


def digest_candles(candles: pd.DataFrame) -> str:
    """Hash the content of candles: SHA-256, 64 hex digits, whatever the order of rows and columns.

    Hashed are, for each column in the order of `COLUMNS` and exogenous ones by name, its name and
    its values sorted by `open_time` as little-endian 64-bit numbers: microseconds since 1970, IEEE
    floats. Raises ValueError for values of candles that are missing.
    """
    frame = _with_schema(candles)
    for name in frame.columns:
        missing = frame[name].isna()
        if missing.any() and not is_exogenous(name):
            raise ValueError("expected candles without missing values, received NaN")
        if missing.any():
            # One of the many byte patterns of a missing number.
            frame[name] = np.where(missing, np.nan, frame[name])
    if not frame["open_time"].is_unique:
        frame = frame.sort_values(list(frame.columns))
    frame["open_time"] = frame["open_time"].dt.tz_localize(None)
    digest = hashlib.sha256()
    for name in frame.columns:
        values = frame[name].to_numpy()
        # -0.0 + 0.0 is 0.0
        numbers = values.astype("<i8") if name == "open_time" else (values + 0.0).astype("<f8")
        digest.update(f"{name}:{len(numbers)}:".encode())
        digest.update(numbers.data)
    return digest.hexdigest()


def log_returns(close: np.ndarray) -> np.ndarray:
    """Log returns ln(close_t / close_{t-1}), no unit: (n,) closes to (n - 1,) returns."""
    return np.diff(np.log(close))


def _with_schema(candles: pd.DataFrame) -> pd.DataFrame:
    """Copy with the columns in the schema's order and types, sorted by open_time, stable."""
    joined = sorted(str(name) for name in candles.columns if is_exogenous(str(name)))
    unknown = [str(name) for name in candles.columns if name not in (*COLUMNS, *joined)]
    if unknown or not {"open_time", "close"} <= set(candles.columns):
        raise ValueError(
            f"expected open_time, close and others of {list(COLUMNS)}, "
            f"received {[str(name) for name in candles.columns]}"
        )
    if not isinstance(candles["open_time"].dtype, pd.DatetimeTZDtype):
        raise ValueError(f"expected open_time in UTC, received {candles['open_time'].dtype}")
    types = {name: "float64" for name in candles.columns if name != "open_time"}
    known = [name for name in COLUMNS if name in candles.columns]
    frame = candles[[*known, *joined]].astype(types)
    frame["open_time"] = frame["open_time"].dt.tz_convert("UTC").dt.as_unit("us")
    if not frame["open_time"].is_monotonic_increasing:
        frame = frame.sort_values("open_time", kind="stable")
    return frame.reset_index(drop=True)


def _check_days(open_time: pd.Series, newest_closed: dt.date) -> None:
    if open_time.isna().any():
        raise InputError(f"{int(open_time.isna().sum())} rows have no date: give each row its day")
    odd = open_time[open_time != open_time.dt.normalize()]
    if len(odd):
        raise InputError(
            f"{len(odd)} candles do not start at midnight UTC, the first at {odd.iloc[0]}: "
            "daily candles are expected"
        )
    future = open_time[open_time > _midnight(newest_closed) + _DAY]
    if len(future):
        raise InputError(
            f"future dates: {named(_days(future))}; the newest closed candle is {newest_closed}, "
            "remove those rows"
        )


def _without_duplicates(
    frame: pd.DataFrame, policy: RepairPolicy
) -> tuple[pd.DataFrame, list[str]]:
    """Keep a day that is given twice with the same values once."""
    once = frame.drop_duplicates()
    twice = once.loc[once["open_time"].duplicated(), "open_time"]
    if len(twice):
        raise InputError(f"duplicate days that disagree: {named(_days(twice))}; keep one row a day")
    if len(once) == len(frame):
        return frame, []
    dropped = _days(frame.loc[frame.duplicated(), "open_time"])
    if not policy.drop_identical_duplicates:
        raise InputError(
            f"duplicate days: {named(dropped)}; keep one row a day "
            "or set repair.drop_identical_duplicates"
        )
    repair = f"dropped {_count(len(dropped), 'identical duplicate row')}: {named(dropped)}"
    return once.reset_index(drop=True), [repair]


def _check_values(frame: pd.DataFrame) -> list[Finding]:
    """Findings that are warnings; raises InputError for the first that is an error."""
    columns = {name: frame[name].to_numpy() for name in COLUMNS[1:] if name in frame.columns}
    found = find_faults(frame["open_time"].dt.tz_localize(None).to_numpy(), columns)
    for finding in found:
        if finding.severity == "error":
            raise InputError(f"{finding.message}: {finding.advice}")
    return found


def _without_gaps(frame: pd.DataFrame, policy: RepairPolicy) -> tuple[pd.DataFrame, list[str]]:
    """Fill missing days with flat candles at the close before and no volume."""
    indexed = frame.set_index("open_time")
    every_day = pd.date_range(indexed.index[0], indexed.index[-1], freq="D", unit="us")
    every_day.name = "open_time"
    missing = _days(every_day[~every_day.isin(indexed.index)])
    if not missing:
        return frame, []
    if len(missing) > policy.max_missing_days:
        raise InputError(
            f"{_count(len(missing), 'missing day')}: {named(missing)}; at most "
            f"{policy.max_missing_days} may be filled (repair.max_missing_days), add those candles"
        )
    whole = indexed.reindex(every_day)
    close = whole["close"].ffill()
    for name in whole.columns:
        whole[name] = whole[name].fillna(0.0 if name == "volume" else close)
    repair = f"filled {_count(len(missing), 'missing day')} with the close before: "
    return whole.reset_index(), [repair + named(missing)]


def _find_open_candle(open_time: pd.Series, newest_closed: dt.date) -> list[Finding]:
    still_open = open_time[open_time > _midnight(newest_closed)]
    if still_open.empty:
        return []
    day = _days(still_open)[0]
    return [Finding("open_candle", "warning", (day,), f"dropped the candle of {day}: still open")]


def _find_stale(frame: pd.DataFrame, as_of: dt.date) -> list[Finding]:
    newest = frame["open_time"].iloc[-1]
    if newest >= _midnight(as_of):
        return []
    late = _count((_midnight(as_of) - newest).days, "day")
    text = f"stale: the newest candle is {late} before {as_of}, of {_day(newest)}"
    return [Finding("stale", "warning", (_day(newest),), text)]


def _midnight(day: dt.date) -> pd.Timestamp:
    return pd.Timestamp(day, tz="UTC")


def _day(time: pd.Timestamp) -> str:
    return time.strftime("%Y-%m-%d")


def _days(times: Iterable[pd.Timestamp]) -> tuple[str, ...]:
    return tuple(_day(time) for time in times)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
