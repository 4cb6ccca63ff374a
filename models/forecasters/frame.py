"""A forecast: quantiles of the cumulative log return for every origin and step."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DAY = pd.Timedelta(days=1)

COLUMNS = ("model", "origin", "target_date", "step", "close_origin", "actual", "actual_usd")


BAND_LEVELS = (0.5, 0.8, 0.9, 0.95)


def quantile_column(level: float) -> str:
    """Name of the predictions column of a quantile level: 0.025 -> "q0.025"."""
    return f"q{level:g}"


def levels_of(frame: pd.DataFrame) -> tuple[float, ...]:
    """Sorted quantile levels that a predictions frame has; ValueError where 0.5 is not among them.

    Other columns are left alone.
    """
    names = [str(name) for name in frame.columns]
    levels = sorted(float(name[1:]) for name in names if re.fullmatch(r"q0?\.\d+", name))
    if 0.5 not in levels:
        raise ValueError(f"predictions: expected a column q0.5 among the quantiles, got {levels}")
    return tuple(levels)


def central_band(level: float, levels: tuple[float, ...]) -> tuple[str, str] | None:
    """Columns of the central band that holds `level` (0.9: q0.05 and q0.95), or None."""
    ends = []
    for wanted in ((1 - level) / 2, (1 + level) / 2):
        ends += [quantile_column(known) for known in levels if abs(known - wanted) < 1e-9]
    return (ends[0], ends[1]) if len(ends) == 2 else None


@dataclass(frozen=True)
class Forecast:
    """Quantiles (n, horizon, n_levels) of ln(close_{t+step} / close_t) for n origins.

    `origins` (n,), UTC; `close` (n,), USD, the origins' closes; `levels` (n_levels,).
    """

    origins: pd.DatetimeIndex
    close: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    levels: tuple[float, ...]

    @property
    def quantiles_usd(self) -> NDArray[np.float64]:
        """The quantiles as prices in USD: (n, horizon, n_levels)."""
        return self.close[:, None, None] * np.exp(self.quantiles)

    def to_frame(self) -> pd.DataFrame:
        """One row an origin and step: origin, target_date, step, close_origin, q0.025, ….

        Quantiles are log returns.
        """
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


def make_predictions(model: str, forecast: Forecast, future: NDArray[np.float64]) -> pd.DataFrame:
    """Set a forecast beside what came: the long predictions frame of one model.

    `future` (n, horizon), USD: the closes that came. Adds `model`, `actual` (log return) and
    `actual_usd` to the columns of `Forecast.to_frame`.
    """
    frame = forecast.to_frame()
    frame.insert(0, "model", model)
    actual_usd = future.reshape(-1)
    frame.insert(5, "actual", np.log(actual_usd / frame["close_origin"].to_numpy()))
    frame.insert(6, "actual_usd", actual_usd)
    return frame
