"""Baselines: forecasts that cost nothing, behind the forecaster's interface of quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.windows import make_targets

NAIVE_WINDOW = 250


def naive_quantiles(
    close: NDArray[np.float64], origins: range, horizon: int, levels: tuple[float, ...]
) -> NDArray[np.float64]:
    """Naive persistence with rolling empirical quantiles: (n, horizon, n_levels) log returns.

    The median is zero, tomorrow's price is today's. Around it stand the empirical quantiles of the
    last 250 returns over as many days that were complete at the origin, less their median.
    Raises ValueError when the first origin has a shorter past.
    """
    if origins.start < NAIVE_WINDOW + horizon - 1:
        raise ValueError(
            f"naive_quantiles: expected {NAIVE_WINDOW + horizon - 1} rows before the first origin, "
            f"received {origins.start}"
        )
    returns = make_targets(close, horizon, "log_return")
    steps = []
    for step in range(1, horizon + 1):
        known = np.lib.stride_tricks.sliding_window_view(returns[:, step - 1], NAIVE_WINDOW)
        start = origins.start - step - NAIVE_WINDOW + 1
        past = known[start : start + len(origins)]
        steps.append(np.quantile(past, levels, axis=1).T)
    quantiles = np.stack(steps, axis=1)
    return quantiles - quantiles[:, :, [levels.index(0.5)]]
