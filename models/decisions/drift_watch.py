"""The drift watch: does the live record, or what goes into the model, leave its usual range."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from models.config.judging import Watch
from models.learning.features import make_features

N_BINS = 5
MIN_SCORED = 30
# Days before a window whose quintiles it is held against, and from one past window to the next.
BEFORE_DAYS = 365
WINDOW_STEP = 7
MIN_PAST_DAYS = 730
# Siddiqi (2006) calls less than this no shift.
SHIFT_FLOOR = 0.25


class Breach(BaseModel):
    """A limit that was passed."""

    model_config = ConfigDict(frozen=True)
    kind: Literal["coverage", "crps", "inputs"]
    value: float
    limit: float
    text: str


class Shift(BaseModel):
    """An input's stability index now, the most that past windows had, and what raises an alarm.

    Where it is now too small for an alarm, the past is not looked at: `usual` and `limit` are None.
    """

    model_config = ConfigDict(frozen=True)
    name: str
    value: float
    usual: float | None = None
    limit: float | None = None

    @property
    def alarm(self) -> bool:
        """Whether the limit is passed."""
        return self.limit is not None and self.value > self.limit


def select_new(
    breaches: list[Breach], alarms: pd.DataFrame, as_of: dt.date, limits: Watch
) -> list[Breach]:
    """Breaches of a kind that raised no alarm in the `watch_days` before `as_of`.

    `alarms`: as_of (days) and kind of those raised so far. Windows that overlap tell the same story
    day after day; it is new once.
    """
    since = as_of - dt.timedelta(days=limits.watch_days)
    known = {row["kind"] for row in alarms.to_dict("records") if since <= row["as_of"] < as_of}
    return [breach for breach in breaches if breach.kind not in known]


def watch_record(live: pd.DataFrame, limits: Watch) -> list[Breach]:
    """Check the newest scored next-day forecasts: `inside_90` (bool), crps_bp, naive_crps_bp.

    Coverage: the count inside the 90 % band lies outside the central binomial interval. CRPS: the
    mean is above naive's by more than the ratio allows. Nothing is said about fewer than 30 days.
    """
    recent = live.dropna(subset=["crps_bp"]).sort_values("as_of").tail(limits.watch_days)
    if len(recent) < MIN_SCORED:
        return []
    breaches = []
    n, inside = len(recent), int(recent["inside_90"].astype(bool).sum())
    from scipy.stats import binom  # takes a second to import

    low, high = binom.interval(1 - limits.alarm_significance, n, 0.9)
    if not low <= inside <= high:
        text = f"the 90 % band held {inside} of the last {n} days, expected {low:.0f} to {high:.0f}"
        limit = low if inside < low else high
        breaches.append(Breach(kind="coverage", value=inside / n, limit=limit / n, text=text))
    both = recent.dropna(subset=["naive_crps_bp"])
    if len(both) >= MIN_SCORED:
        ratio = float(both["crps_bp"].mean() / both["naive_crps_bp"].mean())
        if ratio > limits.max_crps_ratio:
            text = f"CRPS is {ratio:.2f} times naive's over the last {len(both)} days"
            text += f", the limit is {limits.max_crps_ratio:g}"
            breaches.append(
                Breach(kind="crps", value=ratio, limit=limits.max_crps_ratio, text=text)
            )
    return breaches


def watch_inputs(candles: pd.DataFrame, features: tuple[str, ...], limits: Watch) -> list[Breach]:
    """Check whether the newest days' inputs are spread otherwise than those of all days before.

    Markets calm down and wake up, so that slow inputs shift all the time: an input is told only
    where its stability index is above 0.25 and above `max_shift` times the largest that any earlier
    window of as many days had, against the days before it. Nothing is said before there are two
    years of such windows. Measured in docs/experiments.md.
    """
    breaches = []
    for shift in measure_shifts(candles, features, limits):
        if shift.alarm:
            text = f"{shift.name} has shifted: stability index {shift.value:.2f} over the last "
            text += f"{limits.watch_days} days, at most {shift.usual:.2f} in windows before"
            breaches.append(Breach(kind="inputs", value=shift.value, limit=shift.limit, text=text))
    return breaches


def measure_shifts(candles: pd.DataFrame, features: tuple[str, ...], limits: Watch) -> list[Shift]:
    """How far the newest days' inputs are from those before, input by input; see `watch_inputs`."""
    shifts = []
    for name, column in zip(features, make_features(candles, features).T, strict=True):
        values = column[np.isfinite(column)]
        ends = _ends_of_past_windows(len(values), limits.watch_days)
        if len(ends) * WINDOW_STEP < MIN_PAST_DAYS:
            continue
        value = _shift_before(values, len(values), limits.watch_days)
        if value <= SHIFT_FLOOR:
            shifts.append(Shift(name=name, value=value))
            continue
        usual = max(_shift_before(values, end, limits.watch_days) for end in ends)
        limit = max(SHIFT_FLOOR, limits.max_shift * usual)
        shifts.append(Shift(name=name, value=value, usual=usual, limit=limit))
    return shifts


def _ends_of_past_windows(n: int, n_days: int) -> range:
    """Ends (exclusive) of windows that share no day with the newest and have a year before them."""
    return range(n - n_days, n_days + BEFORE_DAYS - 1, -WINDOW_STEP)


def _shift_before(values: NDArray[np.float64], end: int, n_days: int) -> float:
    """Stability index of the `n_days` values before row `end` against all values before them."""
    return population_stability_index(values[: end - n_days], values[end - n_days : end])


def population_stability_index(past: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """Sum of (share now - share past) ln(share now / share past) over the past's quintiles.

    past (n,), now (m,). Half a case is added to every bin, so that an empty one counts as few.
    Source: Siddiqi (2006), "Credit risk scorecards".
    """
    edges = np.unique(np.quantile(past, np.arange(1, N_BINS) / N_BINS))
    shares = []
    for values in (past, now):
        counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) + 0.5
        shares.append(counts / counts.sum())
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))
