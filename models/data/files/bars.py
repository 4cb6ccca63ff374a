"""From the rows of a price file to daily candles: order, stamps, finer bars, days not over."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from models.data.candles import COLUMNS
from models.data.files.times import DAY_US
from models.data.rules import Finding, named
from models.errors import InputError

_MINUTE_US, _HOUR_US = 60_000_000, 3_600_000_000
LONGEST_GAP_US = 2 * _HOUR_US
"""Longest stretch of a day without a finer bar, or one bar where that is longer."""
_ENDS = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


@dataclass
class Rows:
    """Rows of a file: microseconds UTC (n,), values by column (n,), and what was noticed."""

    name: str
    micros: np.ndarray
    columns: dict[str, np.ndarray]
    facts: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def keep(self, chosen: np.ndarray) -> None:
        """Keep the chosen rows, by a mask or in an order."""
        self.micros = self.micros[chosen]
        self.columns = {name: values[chosen] for name, values in self.columns.items()}

    def tell(self, kind: str, micros: np.ndarray, text: str) -> None:
        """Note a finding on days, which the text names as {days}."""
        days = tuple(dict.fromkeys(str(day) for day in _as_days(micros)))
        self.findings.append(Finding(kind, "warning", days, text.format(days=named(days))))


def to_days(rows: Rows, *, closes_day_before: bool, written: dt.datetime | None) -> pd.DataFrame:
    """Daily candles of rows, with the columns that they have, sorted; duplicate days are kept.

    `written` is when the file was last written, UTC: its last day counts only if it was over then.
    Raises InputError for rows that are no days and cannot be added up to days.
    """
    _drop_empty(rows)
    if not len(rows.micros):
        raise InputError(f"{rows.name}: no rows below the header, expected one day a line")
    _sort(rows)
    step = _find_step(rows.micros)
    if step < DAY_US:
        _drop_twins(rows)
        _add_up(rows, step)
    else:
        if step > 6 * DAY_US:
            raise InputError(
                f"{rows.name}: has one row in {step // DAY_US} days; expected one a day, or finer "
                "bars, which are added up"
            )
        _check_stamps(rows, closes_day_before)
    _drop_unfinished(rows, written)
    if not len(rows.micros):
        raise InputError(f"{rows.name}: holds no day that is whole, expected at least one")
    times = pd.Series(rows.micros.astype("datetime64[us]")).dt.tz_localize("UTC")
    frame = pd.DataFrame({"open_time": times} | rows.columns)
    return frame[[name for name in COLUMNS if name in frame.columns]]


def _drop_empty(rows: Rows) -> None:
    """Drop rows without any price; a volume that is missing on some days counts as none."""
    prices = [values for name, values in rows.columns.items() if name != "volume"]
    empty = np.logical_and.reduce([np.isnan(values) for values in prices])
    if empty.any():
        rows.tell("empty_rows", rows.micros[empty], "rows without prices were left out, of {days}")
        rows.keep(~empty)
    volume = rows.columns.get("volume")
    if volume is None:
        return
    missing = np.isnan(volume)
    if missing.all():
        del rows.columns["volume"]
        rows.facts.append("no volume")
    elif missing.any():
        rows.tell("no_volume", rows.micros[missing], "no volume is given on {days}: taken as 0")
        rows.columns["volume"] = np.where(missing, 0.0, volume)


def _sort(rows: Rows) -> None:
    steps = np.diff(rows.micros)
    if (steps >= 0).all():
        return
    if (steps <= 0).all():
        rows.facts.append("newest first")
    rows.keep(np.argsort(rows.micros, kind="stable"))


def _find_step(micros: np.ndarray) -> int:
    """The most frequent distance between rows, in microseconds; a day where there is none."""
    steps = np.diff(micros)
    steps = steps[steps > 0]
    if not len(steps):
        return DAY_US
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()])


def _check_stamps(rows: Rows, closes_day_before: bool) -> None:
    """Bring daily rows to midnight UTC of their day; refuse days of another time zone."""
    if closes_day_before:
        rows.keep(_without_now(rows))
        rows.micros = rows.micros - DAY_US
        rows.facts.append("a price of 00:00 is the close of the day before")
    clock = rows.micros % DAY_US
    if (clock >= DAY_US - _MINUTE_US).mean() > 0.5:  # stamped at the day's end
        rows.keep(_without_now(rows, at_end=True))
        rows.micros = rows.micros - rows.micros % DAY_US
        return
    rows.keep(_without_now(rows))
    clock = rows.micros % DAY_US
    odd = clock != 0
    if odd.any():
        first = pd.Timestamp(rows.micros[odd][0], unit="us")
        raise InputError(
            f"{rows.name}: {int(odd.sum())} of {len(odd)} days do not start at midnight UTC, the "
            f"first at {first:%Y-%m-%d %H:%M} UTC; export days in UTC, or hours, which are added up"
        )


def _without_now(rows: Rows, at_end: bool = False) -> np.ndarray:
    """Rows without the newest where only that one is stamped within its day: the price of now."""
    clock = rows.micros % DAY_US
    right = clock >= DAY_US - _MINUTE_US if at_end else clock == 0
    keep = np.ones(len(clock), dtype=bool)
    if len(clock) > 1 and right[:-1].all() and not right[-1]:
        keep[-1] = False
        when = pd.Timestamp(rows.micros[-1], unit="us")
        text = f"the newest row is of {when:%H:%M} UTC, its day was not over: left out, {{days}}"
        rows.tell("unfinished_day", rows.micros[-1:], text)
    return keep


def _drop_twins(rows: Rows) -> None:
    """Keep a finer bar that is given twice with the same values once."""
    twin = np.append(False, rows.micros[1:] == rows.micros[:-1])
    if not twin.any():
        return
    same = np.logical_and.reduce([np.append(False, v[1:] == v[:-1]) for v in rows.columns.values()])
    if (twin & ~same).any():
        when = pd.Timestamp(rows.micros[twin & ~same][0], unit="us")
        raise InputError(
            f"{rows.name}: the bar of {when:%Y-%m-%d %H:%M:%S} UTC is there twice with different "
            "values; keep one"
        )
    rows.tell("repeated_bars", rows.micros[twin], "repeated bars were left out, of {days}")
    rows.keep(~twin)


def _add_up(rows: Rows, step: int) -> None:
    """Add finer bars up to UTC days, and leave out days that are not whole.

    The first and last day must begin and end with their bar; between them a day may miss bars,
    as exchanges leave out minutes without trade, for LONGEST_GAP_US at a stretch.
    """
    if (rows.micros % step >= step - 1_000_000).mean() > 0.5:  # stamped at the bar's end
        rows.micros = rows.micros - rows.micros % step
    day = rows.micros // DAY_US
    starts = np.append(0, np.flatnonzero(np.diff(day)) + 1)
    ends = np.append(starts[1:], len(day))
    days = day[starts]
    before = np.maximum(0, rows.micros[starts] - days * DAY_US)
    after = (days + 1) * DAY_US - rows.micros[ends - 1] - step
    gaps = np.append(np.diff(rows.micros) - step, 0)
    gaps[ends - 1] = 0
    longest = np.maximum(np.maximum.reduceat(gaps, starts), np.maximum(before, after))
    whole = longest <= max(LONGEST_GAP_US, 0)
    whole[0] &= before[0] == 0
    whole[-1] &= after[-1] <= 0
    counts = ends - starts
    span = counts[whole].sum()
    share = 1 - span / max(1, whole.sum() * DAY_US // step)
    rows.facts.append(f"added up from bars of {_length(step)}")
    if (~whole).any():
        left = days[~whole] * DAY_US
        rows.tell("incomplete_days", left, "days that are not whole were left out: {days}")
    if share > 0:
        rows.findings.append(
            Finding(
                "missing_bars", "warning", (), f"{_percent(share)} of the bars of {_length(step)} "
                "are missing in the days that were kept",
            )
        )  # fmt: skip
    for name, values in rows.columns.items():
        how = _ENDS[name]
        if how == "first":
            added = values[starts]
        elif how == "last":
            added = values[ends - 1]
        else:
            function = {"max": np.maximum, "min": np.minimum, "sum": np.add}[how]
            added = function.reduceat(values, starts)
        rows.columns[name] = added[whole]
    rows.micros = days[whole] * DAY_US


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "fewer than 0.1 %"


def _length(step: int) -> str:
    for unit, name in ((_HOUR_US, "hour"), (_MINUTE_US, "minute"), (1_000_000, "second")):
        if step % unit == 0:
            n = step // unit
            return f"1 {name}" if n == 1 else f"{n} {name}s"
    return f"{step / 1e6:g} seconds"


def _drop_unfinished(rows: Rows, written: dt.datetime | None) -> None:
    """Drop the last day if it was not over when the file was written."""
    if written is None or not len(rows.micros):
        return
    moment = int(written.timestamp() * 1e6)
    last = rows.micros == rows.micros[-1]
    if not rows.micros[-1] <= moment < rows.micros[-1] + DAY_US:
        return
    text = f"the last row was left out, of {{days}}: the file was written at {written:%H:%M} UTC, "
    rows.tell("unfinished_day", rows.micros[last][:1], text + "before that day was over")
    rows.keep(~last)


def _as_days(micros: np.ndarray) -> np.ndarray:
    return micros.astype("datetime64[us]").astype("datetime64[D]")
