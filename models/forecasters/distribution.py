"""Reading a distribution that is given as quantiles: probabilities, and a table for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from models.forecasters.frame import Forecast

BANDS = (0.5, 0.8, 0.9, 0.95)
MOVE = 0.05


def probability_below(
    values: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]
) -> NDArray[np.float64]:
    """Probability of a value at most as large as `values`: (...) from quantiles (..., n_levels).

    Linear between the quantiles. Beyond the outermost ones the tail falls off exponentially, with
    the density of the outermost gap at its beginning.
    """
    v, q = np.asarray(values, dtype=np.float64), np.sort(np.asarray(quantiles, dtype=np.float64))
    tau = np.asarray(levels, dtype=np.float64)
    v, q = np.broadcast_to(v, q.shape[:-1])[..., None], q
    above = np.clip((q < v).sum(axis=-1), 1, len(tau) - 1)[..., None]
    left, right = np.take_along_axis(q, above - 1, -1), np.take_along_axis(q, above, -1)
    gap = np.where(right > left, right - left, 1.0)
    share = np.clip((v - left) / gap, 0.0, 1.0)
    inside = tau[above - 1] + share * (tau[above] - tau[above - 1])
    lower = tau[0] * np.exp(-_tail(q[..., :1] - v, q[..., 1:2] - q[..., :1], tau[1] / tau[0] - 1))
    rest = 1 - tau[-1]
    upper = 1 - rest * np.exp(
        -_tail(v - q[..., -1:], q[..., -1:] - q[..., -2:-1], (tau[-1] - tau[-2]) / rest)
    )
    below = np.where(v < q[..., :1], lower, np.where(v > q[..., -1:], upper, inside))
    return np.asarray(below[..., 0])


def _tail(
    distance: NDArray[np.float64], gap: NDArray[np.float64], ratio: float
) -> NDArray[np.float64]:
    """Exponent of the tail at a `distance` beyond the outermost quantile; infinite for no gap."""
    safe = np.where(gap > 0, gap, 1.0)
    return np.where(gap > 0, np.maximum(distance, 0) * ratio / safe, np.inf)


def tabulate_forecast(forecast: Forecast, below_usd: float | None = None) -> pd.DataFrame:
    """Table of one origin's forecast by target date: median and bands in USD, and probabilities.

    Columns: target_date, step, median, low_50, high_50, …, low_95, high_95 (USD; only the bands
    that the levels allow), p_up, p_move_5 (beyond ±5 %), and p_below with `below_usd`.
    """
    quantiles, levels = forecast.quantiles[0], forecast.levels
    close = float(forecast.close[0])
    rows = forecast.to_frame()
    table = rows[["target_date", "step"]].reset_index(drop=True)
    middle = levels.index(0.5)
    table["median"] = close * np.exp(quantiles[:, middle])
    for band in BANDS:
        ends = [_find(levels, (1 - band) / 2), _find(levels, (1 + band) / 2)]
        for name, at in zip(("low", "high"), ends, strict=True):
            if at is not None:
                table[f"{name}_{band * 100:.0f}"] = close * np.exp(quantiles[:, at])
    table["p_up"] = 1 - probability_below(0.0, quantiles, levels)
    fall, rise = np.log(1 - MOVE), np.log(1 + MOVE)
    beyond = 1 - probability_below(rise, quantiles, levels)
    table["p_move_5"] = probability_below(fall, quantiles, levels) + beyond
    if below_usd is not None:
        table["p_below"] = probability_below(np.log(below_usd / close), quantiles, levels)
    return table


def _find(levels: Sequence[float], wanted: float) -> int | None:
    return next((i for i, level in enumerate(levels) if abs(level - wanted) < 1e-9), None)
