"""The rules that candles of every source must keep, in one table, each with its severity.

They are applied to each page of an exchange before it is stored, to the store's files when they
are read and written, and to all candles of a run when it is validated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Severity = Literal["warning", "error"]
Columns = Mapping[str, np.ndarray]
PRICES = ("open", "high", "low", "close")

OUTLIER_LIMIT = 10.0
MAX_INCONSISTENT_SHARE, MIN_INCONSISTENT_DAYS = 0.01, 5
MIN_DAYS_FOR_ORDER = 20


@dataclass(frozen=True)
class Finding:
    """Something about the candles that a reader should know; `days` are ISO days, UTC."""

    kind: str
    severity: Severity
    days: tuple[str, ...]
    message: str
    advice: str = ""


@dataclass(frozen=True)
class Rule:
    """What a day may not show.

    `broken(columns)` marks the days, (n,), and is asked where the source has all of `needs`. Where
    more than MAX_INCONSISTENT_SHARE of the days, and at least MIN_INCONSISTENT_DAYS, break a rule
    that is `systematic`, it is an error. `text` names `{days}` and `{first}`, the value of the
    first such day; `advice` is for the owner of a file, where it is an error.
    """

    kind: str
    severity: Severity
    needs: tuple[str, ...]
    broken: Callable[[Columns], np.ndarray]
    text: str
    advice: str = ""
    systematic: bool = False


def _not_positive(name: str) -> Rule:
    return Rule(
        kind=f"{name}_not_positive",
        severity="error",
        needs=(name,),
        broken=lambda c: ~((c[name] > 0) & np.isfinite(c[name])),
        text=f"{name} is {{first:g}} on {{days}}",
        advice="expected a number that is positive and finite, mend or remove the row",
    )


def _outside_range(name: str) -> Rule:
    def broken(columns: Columns) -> np.ndarray:
        values = columns[name]
        low, high = columns.get("low"), columns.get("high")
        below = np.zeros(len(values), dtype=bool) if low is None else values < low
        return below if high is None else below | (values > high)

    return Rule(
        kind=f"{name}_outside_range",
        severity="warning",
        needs=(name,),
        broken=broken,
        text=f"{name} outside the day's low to high on {{days}}",
        advice="does the column hold something else, such as the volume? Correct its name",
        systematic=True,
    )


def _outliers(columns: Columns) -> np.ndarray:
    """Closes after a return beyond OUTLIER_LIMIT x 1.4826 x MAD of the median; none at a MAD of 0.

    1.4826 makes the median absolute deviation the standard deviation of a normal distribution.
    """
    returns = np.diff(np.log(columns["close"]))
    if not len(returns):
        return np.zeros(len(columns["close"]), dtype=bool)
    distance = np.abs(returns - np.median(returns))
    scale = 1.4826 * np.median(distance)
    return np.append(False, (distance > OUTLIER_LIMIT * scale) & (scale > 0))


def _swapped(columns: Columns) -> np.ndarray:
    """All days, if closes follow the open of the day before as opens should follow the close.

    Trade does not stop at midnight: a day opens where the day before closed. Where `close` lies
    nearer to the open before than `open` to the close before, on most days and by far, the two
    columns have each other's name.
    """
    opened, closed = columns["open"], columns["close"]
    as_named = np.abs(np.log(opened[1:] / closed[:-1]))
    as_swapped = np.abs(np.log(closed[1:] / opened[:-1]))
    swapped = (
        len(opened) >= MIN_DAYS_FOR_ORDER
        and np.mean(as_swapped < as_named) > 0.9
        and np.median(as_swapped) < 0.25 * np.median(as_named)
    )
    return np.full(len(opened), swapped)


RULES = (
    *(_not_positive(name) for name in PRICES),
    Rule(
        kind="volume_negative",
        severity="error",
        needs=("volume",),
        broken=lambda c: ~((c["volume"] >= 0) & np.isfinite(c["volume"])),
        text="volume is {first:g} on {days}",
        advice="expected a number that is not negative and finite, mend or remove the row",
    ),
    Rule(
        kind="high_below_low",
        severity="error",
        needs=("high", "low"),
        broken=lambda c: c["high"] < c["low"],
        text="high < low on {days}",
        advice="are the columns swapped?",
    ),
    _outside_range("open"),
    _outside_range("close"),
    Rule(
        kind="open_close_swapped",
        severity="error",
        needs=("open", "close"),
        broken=_swapped,
        text="each close is what the next day's open should be, and the other way round",
        advice="the columns open and close are swapped, exchange their names",
    ),
    Rule(
        kind="zero_volume",
        severity="warning",
        needs=("volume",),
        broken=lambda c: c["volume"] == 0,
        text="no volume on {days}",
    ),
    Rule(
        kind="outlier_return",
        severity="warning",
        needs=("close",),
        broken=_outliers,
        text=f"close changes beyond {OUTLIER_LIMIT:g} robust standard deviations on {{days}}",
    ),
)


STORABLE = tuple(rule for rule in RULES if rule.severity == "error")
"""The rules that single days must keep to be stored."""


def find_faults(
    times: np.ndarray, columns: Columns, rules: tuple[Rule, ...] = RULES
) -> list[Finding]:
    """Apply rules to sorted days, `times` (n,) as datetime64, and their `columns` (n,) each.

    Rules after one that is an error in itself are not asked: logarithms may not exist.
    """
    found: list[Finding] = []
    for rule in rules:
        if not set(rule.needs) <= columns.keys() or not len(times):
            continue
        broken = rule.broken(columns)
        if not broken.any():
            continue
        found.append(_finding(rule, times, columns, broken))
        if rule.severity == "error":
            break
    return found


def _finding(rule: Rule, times: np.ndarray, columns: Columns, broken: np.ndarray) -> Finding:
    days = tuple(str(day) for day in times[broken].astype("datetime64[D]"))
    many = len(days) > MAX_INCONSISTENT_SHARE * len(times) and len(days) >= MIN_INCONSISTENT_DAYS
    first = columns[rule.needs[0]][broken][0]
    message = rule.text.format(days=named(days), first=first)
    severity: Severity = rule.severity
    if rule.systematic and many:
        severity = "error"
        message += f", {len(days):,} of {len(times):,} days"
    advice = rule.advice if severity == "error" else ""
    return Finding(rule.kind, severity, days, message, advice)


def named(days: tuple[str, ...]) -> str:
    """First five days, and how many more."""
    more = f" and {len(days) - 5} more" if len(days) > 5 else ""
    return ", ".join(days[:5]) + more
