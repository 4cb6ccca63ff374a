"""Windows of the past as views, and the targets of every origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.config.recipe import Target
from models.learning.features import EWMA_START, first_complete_row, volatility_of_closes
from models.learning.splits import Fold

REGRESSION_START = 60
"""Rows before the scale regression's inputs can be relied on: they teach nothing."""


@dataclass(frozen=True)
class WindowSet:
    """What a network trains on, all of it views on two arrays.

    `features` (n, n_features) and `targets` (n, horizon), both scaled, a row a candle; targets are
    NaN where the future is not known yet.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    lookback: int
    fold: Fold

    def x(self, origins: range) -> NDArray[np.float32]:
        """Windows that end at `origins`: a view (n, lookback, n_features)."""
        start = origins.start - self.lookback + 1
        return make_windows(self.features, self.lookback)[start : start + len(origins)]

    def y(self, origins: range) -> NDArray[np.float32]:
        """Scaled targets of `origins`: a view (n, horizon)."""
        return self.targets[origins.start : origins.stop]


def make_windows(values: NDArray[Any], lookback: int) -> NDArray[Any]:
    """View `values` (n, n_features) as windows (n - lookback + 1, lookback, n_features).

    Window i holds rows i…i+lookback-1. No element is copied. Raises ValueError when there are
    fewer rows than `lookback`.
    """
    if len(values) < lookback:
        raise ValueError(f"make_windows: expected at least {lookback} rows, received {len(values)}")
    view = np.lib.stride_tricks.sliding_window_view(values, lookback, axis=0)
    return view.transpose(0, 2, 1)


def make_future(close: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """Closes of the days after each row: (n, horizon), NaN where not known yet."""
    padded = np.concatenate([close[1:], np.full(horizon, np.nan)])
    return np.lib.stride_tricks.sliding_window_view(padded, horizon)[: len(close)]


def make_targets(close: NDArray[np.float64], horizon: int, target: Target) -> NDArray[np.float64]:
    """What is to be learned, unscaled: (n, horizon).

    'log_return': ln(close_{t+step} / close_t); 'standardized_return': the same over its scale, see
    `return_scale`; 'price': close_{t+step}, in quote currency.
    """
    future = make_future(close, horizon)
    if target == "price":
        return future
    returns = np.log(future / close[:, None])
    return returns / return_scale(close, horizon) if target == "standardized_return" else returns


def return_scale(close: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """EWMA volatility at each row times √step: (n, horizon), NaN for the first 20 rows."""
    return volatility_of_closes(close)[:, None] * np.sqrt(np.arange(1, horizon + 1))


def first_usable_row(features: NDArray[np.float64], target: Target) -> int:
    """Return the first row with complete features and the scale that targets are divided by.

    features (n, n_features). Raises ValueError as `first_complete_row` does.
    """
    warm_up = {"standardized_return": EWMA_START, "rescaled_return": REGRESSION_START}.get(
        target, 0
    )
    return max(first_complete_row(features), warm_up)


def check_windows(windows: WindowSet) -> None:
    """Raise ValueError when an origin of the fold has a missing input or target."""
    fold = windows.fold
    for name, part in (("train", fold.train), ("validation", fold.validation), ("test", fold.test)):
        inputs = windows.features[part.start - windows.lookback + 1 : part.stop]
        if not (np.isfinite(inputs).all() and np.isfinite(windows.y(part)).all()):
            raise ValueError(f"windows: the {name} part has values that are not finite")
