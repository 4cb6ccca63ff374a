"""Exogenous daily series: what was public of them at each candle's close, as one more column.

The lag is applied when a series is joined, so that a row of the joined candles holds nothing that a
forecast from that row could not have known.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.config.data import Exogenous
from models.data.rules import Finding
from models.errors import InputError

_DAY = pd.Timedelta(days=1)


def join_series(
    candles: pd.DataFrame, series: pd.DataFrame, asked: Exogenous
) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
    """Add a series to candles: on day t its newest value up to day t - lag_days.

    `series`: open_time (days, sorted) and value. Values after the last candle's day less the lag
    are not read, as if they were not there yet. Returns the candles with the column
    `asked.feature`, NaN or `asked.before` where the series has not begun, and what was found.
    Raises InputError for duplicate days, values that are not finite, a series that begins too late
    and gaps that are longer than allowed.
    """
    wanted = candles["open_time"] - asked.lag_days * _DAY
    known = series[series["open_time"] <= wanted.iloc[-1]]
    _check_series(known, asked, wanted.iloc[-1])
    days, asked_days = (
        times.dt.tz_localize(None).to_numpy() for times in (known["open_time"], wanted)
    )
    place = np.searchsorted(days, asked_days, side="right") - 1
    begun = place >= 0
    age = (asked_days - days[place]) // np.timedelta64(1, "D")
    too_old = begun & (age > asked.max_gap_days)
    if too_old.any():
        last = days[place[too_old.argmax()]]
        raise InputError(
            f"exogenous {asked.name}: no value after {_day(last)} for more than "
            f"{asked.max_gap_days} days (max_gap_days); add the missing days to {asked.path}"
        )
    before = np.nan if asked.before is None else asked.before
    values = np.where(begun, known["value"].to_numpy(dtype=np.float64)[place], before)
    carried = wanted[begun & (age > 0)]
    findings = _find_gaps(asked, carried) + _find_late_start(asked, days[0], int((~begun).sum()))
    return candles.assign(**{asked.feature: values}), findings


def _check_series(known: pd.DataFrame, asked: Exogenous, last: pd.Timestamp) -> None:
    name = f"exogenous {asked.name}"
    if known.empty:
        raise InputError(
            f"{name}: no value up to {last:%Y-%m-%d}; give a series that begins earlier"
        )
    twice = known.loc[known["open_time"].duplicated(), "open_time"]
    if len(twice):
        raise InputError(f"{name}: {twice.iloc[0]:%Y-%m-%d} is there twice; keep one row a day")
    wrong = known[~np.isfinite(known["value"].to_numpy())]
    if len(wrong):
        raise InputError(
            f"{name}: {wrong['value'].iloc[0]:g} on {wrong['open_time'].iloc[0]:%Y-%m-%d}, "
            "expected a finite number; mend or remove the row"
        )


def _find_gaps(asked: Exogenous, carried: pd.Series) -> tuple[Finding, ...]:
    if carried.empty:
        return ()
    days = tuple(carried.dt.strftime("%Y-%m-%d"))
    more = f" and {len(days) - 5} more" if len(days) > 5 else ""
    text = f"{asked.name} is missing on {', '.join(days[:5])}{more}: the value before is kept"
    return (Finding("exogenous_gap", "warning", days, text),)


def _find_late_start(asked: Exogenous, first: np.datetime64, n: int) -> tuple[Finding, ...]:
    if not n:
        return ()
    what = "teach nothing" if asked.before is None else f"carry {asked.before:g}"
    text = f"{asked.name} begins on {_day(first)}: the {n:,} candles before it {what}"
    return (Finding("exogenous_start", "warning", (_day(first),), text),)


def _day(moment: np.datetime64) -> str:
    return str(moment)[:10]
