"""Adaptive conformal correction: quantile levels that learn from how often they were wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.learning.windows import make_targets

# Faster, and coverage comes no nearer while CRPS suffers; see docs/experiments.md.
RATE = 0.002
# Outermost level that a correction may ask for; beyond it there is no quantile to read.
EDGE = 0.001


def adapt_quantiles(
    quantiles: NDArray[np.float64],
    actual: NDArray[np.float64],
    levels: tuple[float, ...],
    *,
    step: int,
    rate: float = RATE,
) -> NDArray[np.float64]:
    """Correct quantiles (n, n_levels) of consecutive daily origins, one by one.

    Every level tau keeps an asked level a, at first tau itself. A forecast gives the quantile at a;
    when its outcome `actual` (n,) is known, `step` days later, a moves by rate times (tau - [the
    outcome was below]). Only errors known at an origin enter its correction; an outcome that is
    not known yet is NaN and teaches nothing. Returns (n, n_levels), sorted.
    Source: Gibbs and Candès (2021), "Adaptive conformal inference under distribution shift",
    eq. 2, for each level on its own; between levels the quantile function is linear in the level.
    """
    tau = np.asarray(levels, dtype=np.float64)
    if quantiles.shape != (len(actual), len(tau)):
        raise ValueError(
            f"adapt_quantiles: expected quantiles {(len(actual), len(tau))}, "
            f"received {quantiles.shape}"
        )
    asked = tau.copy()
    corrected = np.empty_like(quantiles)
    for origin in range(len(quantiles)):
        known = origin - step
        if known >= 0 and np.isfinite(actual[known]):
            asked = asked + rate * (tau - (actual[known] < corrected[known]))
        inside = np.clip(asked, EDGE, 1 - EDGE)
        corrected[origin] = np.sort(_read_quantiles(inside, tau, quantiles[origin]))
    return corrected


def _read_quantiles(
    asked: NDArray[np.float64], levels: NDArray[np.float64], quantiles: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Quantiles at the `asked` levels; outside the known ones the outermost slope goes on."""
    read = np.interp(asked, levels, quantiles)
    if len(levels) < 2:
        return read
    slopes = np.diff(quantiles[[0, 1]]) / np.diff(levels[[0, 1]])
    low = quantiles[0] + (asked - levels[0]) * slopes
    slopes = np.diff(quantiles[[-2, -1]]) / np.diff(levels[[-2, -1]])
    high = quantiles[-1] + (asked - levels[-1]) * slopes
    return np.where(asked < levels[0], low, np.where(asked > levels[-1], high, read))


def adapt_forecasts(
    quantiles: NDArray[np.float64],
    close: NDArray[np.float64],
    origins: range,
    levels: tuple[float, ...],
) -> NDArray[np.float64]:
    """Correct the forecasts of a stretch of daily origins, each step by its own past errors.

    quantiles: (n_origins, horizon, n_levels) of cumulative log returns; close: (n_rows,), USD, the
    closes that `origins` count in. Returns an array of the quantiles' shape.
    """
    horizon = quantiles.shape[1]
    actual = make_targets(close, horizon, "log_return")[origins.start : origins.stop]
    steps = [
        adapt_quantiles(quantiles[:, step - 1], actual[:, step - 1], levels, step=step)
        for step in range(1, horizon + 1)
    ]
    return np.stack(steps, axis=1)
