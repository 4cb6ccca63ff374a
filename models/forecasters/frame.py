"""Forecasts as quantiles: the one long frame of them, and how it is read.

One row per model, origin and step, with the columns of `COLUMNS` and one per quantile level, such
as q0.025. `origin` (datetime64[us, UTC]) is the open_time of the last candle known, `target_date`
that of the candle forecast, `step` their distance in days. `close_origin` and `actual_usd` are in
USD; `actual` and the quantiles are cumulative log returns from `close_origin`. The point forecast
is the median.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from models.learning.windows import make_future

Floats = NDArray[np.float64]

DAY = pd.Timedelta(days=1)
COLUMNS = ("model", "origin", "target_date", "step", "close_origin", "actual", "actual_usd")
BANDS = (0.5, 0.8, 0.9, 0.95)
"""Central bands that are reported, where the quantile levels have their ends."""
MOVE = 0.05


@dataclass(frozen=True)
class Forecast:
    """Quantiles (n, horizon, n_levels) of ln(close_{t+step} / close_t) for n origins.

    `origins` (n,), UTC; `close` (n,), USD, the origins' closes; `levels` (n_levels,).
    """

    origins: pd.DatetimeIndex
    close: Floats
    quantiles: Floats
    levels: tuple[float, ...]

    @property
    def quantiles_usd(self) -> Floats:
        """The quantiles as prices in USD: (n, horizon, n_levels)."""
        return self.close[:, None, None] * np.exp(self.quantiles)

    def to_frame(self) -> pd.DataFrame:
        """One row per origin and step: origin, target_date, step, close_origin, q0.025, …."""
        n, horizon, n_levels = self.quantiles.shape
        steps = np.tile(np.arange(1, horizon + 1), n)
        origins = self.origins.repeat(horizon)
        index = {
            "origin": origins,
            "target_date": origins + steps * DAY,
            "step": steps,
            "close_origin": np.repeat(self.close, horizon),
        }
        flat = self.quantiles.reshape(n * horizon, n_levels)
        named = {quantile_column(level): flat[:, i] for i, level in enumerate(self.levels)}
        return pd.DataFrame(index | named)


def make_predictions(
    model: str,
    candles: pd.DataFrame,
    origins: range,
    quantiles: Floats,
    levels: tuple[float, ...],
) -> pd.DataFrame:
    """Set the forecasts of one model beside what came: the long frame.

    `origins` are rows of the candle frame, `quantiles` (n_origins, horizon, n_levels) cumulative
    log returns. Rows whose outcome the candles do not have yet are left out.
    """
    rows = slice(origins.start, origins.stop)
    close = candles["close"].to_numpy(dtype=np.float64)
    days = pd.DatetimeIndex(candles["open_time"].iloc[rows])
    frame = Forecast(days, close[rows], quantiles, levels).to_frame()
    actual_usd = make_future(close, quantiles.shape[1])[rows].reshape(-1)
    frame.insert(0, "model", model)
    frame.insert(5, "actual", np.log(actual_usd / frame["close_origin"].to_numpy()))
    frame.insert(6, "actual_usd", actual_usd)
    return frame[np.isfinite(actual_usd)].reset_index(drop=True)


def quantile_column(level: float) -> str:
    """Name of the column of a quantile level: 0.025 -> "q0.025"."""
    return f"q{level:g}"


def levels_of(frame: pd.DataFrame) -> tuple[float, ...]:
    """Sorted quantile levels that a frame has columns of; ValueError where 0.5 is not among them.

    Other columns are left alone.
    """
    names = [str(name) for name in frame.columns]
    levels = sorted(float(name[1:]) for name in names if re.fullmatch(r"q0?\.\d+", name))
    if 0.5 not in levels:
        raise ValueError(f"predictions: expected a column q0.5 among the quantiles, got {levels}")
    return tuple(levels)


def read_quantiles(frame: pd.DataFrame) -> tuple[Floats, tuple[float, ...]]:
    """Quantiles (n, n_levels) of a frame's rows, and their levels; ValueError as `levels_of`."""
    levels = levels_of(frame)
    columns = [quantile_column(level) for level in levels]
    return frame[columns].to_numpy(dtype=np.float64), levels


def find_band(band: float, levels: Sequence[float]) -> tuple[int, int] | None:
    """Where among `levels` the ends of a central band are (0.9: 0.05 and 0.95), or None."""
    ends = [
        i
        for wanted in ((1 - band) / 2, (1 + band) / 2)
        for i, level in enumerate(levels)
        if abs(level - wanted) < 1e-9
    ]
    return (ends[0], ends[1]) if len(ends) == 2 else None


def central_band(band: float, levels: Sequence[float]) -> tuple[str, str] | None:
    """Columns of a central band (0.9: q0.05 and q0.95), or None."""
    ends = find_band(band, levels)
    return ends and (quantile_column(levels[ends[0]]), quantile_column(levels[ends[1]]))


def probability_below(
    values: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]
) -> NDArray[np.float64]:
    """Probability of a value at most as large as `values`: (...) from quantiles (..., n_levels).

    Of an outcome, this is its probability integral transform: evenly spread over 0…1 where the
    forecasts are calibrated (Dawid 1984). Linear between the quantiles. Beyond the outermost ones
    the tail falls off exponentially, with the density of the outermost gap at its beginning.
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


def _tail(distance: Floats, gap: Floats, ratio: float) -> Floats:
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
    table = forecast.to_frame()[["target_date", "step"]].reset_index(drop=True)
    table["median"] = close * np.exp(quantiles[:, levels.index(0.5)])
    for band in BANDS:
        if ends := find_band(band, levels):
            for name, at in zip(("low", "high"), ends, strict=True):
                table[f"{name}_{band * 100:.0f}"] = close * np.exp(quantiles[:, at])
    table["p_up"] = 1 - probability_below(0.0, quantiles, levels)
    fall, rise = np.log(1 - MOVE), np.log(1 + MOVE)
    beyond = 1 - probability_below(rise, quantiles, levels)
    table["p_move_5"] = probability_below(fall, quantiles, levels) + beyond
    if below_usd is not None:
        table["p_below"] = probability_below(np.log(below_usd / close), quantiles, levels)
    return table
