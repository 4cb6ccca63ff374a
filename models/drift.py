"""The drift watch: does the live record, or what goes into the model, leave its usual range."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.stats import binom

from models.config import Watch
from models.features import make_features

N_BINS = 5
MIN_SCORED = 30


class Breach(BaseModel):
    """A limit that was passed."""

    model_config = ConfigDict(frozen=True)
    kind: Literal["coverage", "crps", "inputs"]
    value: float
    limit: float
    text: str


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
    """Check whether the newest days' inputs are spread as those of all days before."""
    values = make_features(candles, features)
    before, recent = values[: -limits.watch_days], values[-limits.watch_days :]
    breaches = []
    for i, name in enumerate(features):
        past, now = (part[np.isfinite(part[:, i]), i] for part in (before, recent))
        if len(past) < limits.watch_days or len(now) < limits.watch_days:
            continue
        shift = population_stability_index(past, now)
        if shift > limits.max_shift:
            text = f"{name} has shifted: stability index {shift:.2f} over the last {len(now)} days"
            text += f", the limit is {limits.max_shift:g}"
            breaches.append(Breach(kind="inputs", value=shift, limit=limits.max_shift, text=text))
    return breaches


def population_stability_index(past: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """Sum of (share now - share past) ln(share now / share past) over the past's quintiles.

    past (n,), now (m,). Half a case is added to every bin, so that an empty one counts as few.
    Source: Siddiqi (2006), "Credit risk scorecards"; above 0.25 is commonly called a shift.
    """
    edges = np.unique(np.quantile(past, np.arange(1, N_BINS) / N_BINS))
    shares = []
    for values in (past, now):
        counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) + 0.5
        shares.append(counts / counts.sum())
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))
