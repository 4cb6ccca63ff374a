"""Synthetic daily candles, made from a seed: for first runs and tests. They are not Bitcoin.

The log price p_t follows, day by day from `PROCESS_START`,

    r_t = echo * r_{t-1} - pull * (p_{t-1} - ln 20000) + shock_t,    p_t = p_{t-1} + r_t

- default: shock_t = sigma_t z_t + jump_t, with z_t Student-t(5) of unit variance,
  ln sigma_t = ln 0.023 + h_t - 0.3 on weekends, h_t = 0.98 h_{t-1} + 0.1 normal (volatility
  clusters), and on one day in 70 a jump of standard deviation 0.06. echo = 0: returns have no
  memory of direction but the pull, far too weak to be traded, that keeps the price plausible.
- random-walk: echo = pull = 0 and iid normal shocks, so there is nothing to learn.
- planted: echo = 0.6 and iid normal shocks, so a forecaster that sees today's return explains
  36 % of the variance of tomorrow's.

The open is the close before. High and low are the extremes of a Brownian bridge from open to
close with the day's sigma, each drawn from its exact distribution: for a bridge from 0 to r the
maximum is (r + sqrt(r^2 - 2 sigma^2 ln u)) / 2 with u uniform, the minimum its mirror image
(Karatzas and Shreve, Brownian Motion and Stochastic Calculus, 4.3.40). Volume, in coins, is
log-normal and grows with |return| and volatility; in the two other variants it is pure noise.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from models.data.candles import COLUMNS
from models.errors import InputError

Variant = Literal["default", "random-walk", "planted"]
VARIANTS: tuple[str, ...] = get_args(Variant)

PROCESS_START = dt.date(2005, 1, 1)
_CENTRE = np.log(20_000.0)


@dataclass(frozen=True)
class _Process:
    echo: float
    pull: float
    sigma: float
    stochastic: bool


_PROCESSES = {
    "default": _Process(echo=0.0, pull=0.0008, sigma=0.023, stochastic=True),
    "random-walk": _Process(echo=0.0, pull=0.0, sigma=0.015, stochastic=False),
    "planted": _Process(echo=0.6, pull=0.001, sigma=0.012, stochastic=False),
}


def make_sample(
    last_day: dt.date, *, n_days: int = 3000, seed: int = 7, variant: Variant = "default"
) -> pd.DataFrame:
    """Make n_days synthetic candles, all columns of the schema, the last one of `last_day`.

    The history is one and the same for all calls with a seed and variant: the candle of a day
    does not depend on `last_day` or `n_days`, so that a daily retrain sees one day more each day.

    Raises InputError if the process has too few days up to `last_day`, ValueError for a variant
    that is none of `VARIANTS`.
    """
    if variant not in _PROCESSES:
        raise ValueError(f"expected variant in {list(VARIANTS)}, received {variant!r}")
    n = (last_day - PROCESS_START).days + 1
    if not 1 <= n_days <= n:
        raise InputError(
            f"the sample begins on {PROCESS_START}: {n_days} days up to {last_day} cannot be had, "
            f"expected 1 to {max(n, 0)} days"
        )
    days = pd.date_range(PROCESS_START, periods=n, freq="D", tz="UTC", unit="us")
    values = _make_values(_PROCESSES[variant], np.asarray(days.day_of_week) >= 5, seed)
    frame = pd.DataFrame({"open_time": days} | values)[list(COLUMNS)]
    return frame.iloc[n - n_days :].reset_index(drop=True)


def _make_values(process: _Process, weekend: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Prices and volume of all days, each (n,), rounded to hide last-bit differences."""
    n = len(weekend)
    # One stream for each quantity, drawn in the order of days: more days leave the first alone.
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(8)]
    state, sigma = np.zeros(n), np.full(n, process.sigma)
    if process.stochastic:
        state = _accumulate(0.1 * streams[0].standard_normal(n), 0.98)
        sigma = process.sigma * np.exp(state - 0.3 * weekend)
        student = streams[1].standard_t(5, n) * np.sqrt(3 / 5)
        jumps = (streams[2].random(n) < 1 / 70) * 0.06 * streams[3].standard_normal(n)
        shocks = sigma * student + jumps
    else:
        shocks = sigma * streams[1].standard_normal(n)
    returns = _make_returns(shocks, process)
    log_close = _CENTRE + np.cumsum(returns)
    close = np.exp(log_close)
    before = np.exp(log_close - returns)
    extremes = [
        np.sqrt(returns**2 - 2 * sigma**2 * np.log1p(-stream.random(n))) for stream in streams[4:6]
    ]
    log_volume = np.log(5000.0) + 0.3 * streams[6].standard_normal(n)
    if process.stochastic:
        log_volume += 0.8 * state + 5 * np.abs(returns) - 0.3 * weekend
    return {
        "open": before.round(2),
        "high": (before * np.exp((returns + extremes[0]) / 2)).round(2),
        "low": (before * np.exp((returns - extremes[1]) / 2)).round(2),
        "close": close.round(2),
        "volume": np.exp(log_volume).round(4),
    }


def _make_returns(shocks: np.ndarray, process: _Process) -> np.ndarray:
    """Log returns (n,) of the recursion in the module's docstring."""
    returns = np.empty(len(shocks))
    previous, distance = 0.0, 0.0
    for t, shock in enumerate(shocks):
        previous = process.echo * previous - process.pull * distance + shock
        distance += previous
        returns[t] = previous
    return returns


def _accumulate(shocks: np.ndarray, memory: float) -> np.ndarray:
    """AR(1) state h_t = memory * h_{t-1} + shock_t, (n,), from 0."""
    state = np.empty(len(shocks))
    last = 0.0
    for t, shock in enumerate(shocks):
        last = memory * last + shock
        state[t] = last
    return state
