"""A forecast: quantiles of the cumulative log return for every origin and step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.evaluation import quantile_column

DAY = pd.Timedelta(days=1)


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
