"""Inputs of the network: small pure functions of the candles up to and including a day.

Every function takes a candle frame of n rows and returns (n,) float64 in which row t depends on
rows 0…t alone; the first rows, where its past is too short, are NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.config.base import nearest
from models.data.candles import is_exogenous
from models.errors import InputError

VOLUME_WINDOW = 30
MEAN_WINDOW = 20
EWMA_DECAY = 0.94
EWMA_START = 20
RANGE_DECAY = 0.9
# A range or a variance below these is a day without trade; its logarithm would run away.
LEAST_RANGE, LEAST_VARIANCE = 1e-4, 1e-8
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def close(candles: pd.DataFrame) -> NDArray[np.float64]:
    """Closing price, in quote currency."""
    return candles["close"].to_numpy(dtype=np.float64)


def log_return(candles: pd.DataFrame) -> NDArray[np.float64]:
    """ln(close_t / close_{t-1})."""
    return np.diff(np.log(close(candles)), prepend=np.nan)


def log_range(candles: pd.DataFrame) -> NDArray[np.float64]:
    """ln(high_t / low_t), a proxy of the day's volatility (Parkinson 1980)."""
    high = candles["high"].to_numpy(dtype=np.float64)
    return np.log(high / candles["low"].to_numpy(dtype=np.float64))


def log_volume_ratio(candles: pd.DataFrame) -> NDArray[np.float64]:
    """ln(1 + volume_t) less the logarithm of one plus its mean over the last 30 days."""
    volume = candles["volume"].astype("float64")
    mean = volume.rolling(VOLUME_WINDOW).mean()
    return (np.log1p(volume) - np.log1p(mean)).to_numpy()


def ewma_volatility(candles: pd.DataFrame) -> NDArray[np.float64]:
    """Exponentially weighted volatility of daily log returns, decay 0.94.

    See `volatility_of_closes`.
    """
    return volatility_of_closes(close(candles))


def volatility_of_closes(close: NDArray[np.float64]) -> NDArray[np.float64]:
    """Exponentially weighted volatility of the log returns of closes (n,), NaN for 20 rows.

    v_t = 0.94 v_{t-1} + 0.06 r_t², from the mean of the first 20 squares; its square root.
    Source: RiskMetrics technical document (1996), 5.2.
    """
    squares = np.square(np.diff(np.log(close), prepend=np.nan))
    return np.sqrt(_decay(squares, EWMA_DECAY) + LEAST_VARIANCE)


def garman_klass_variance(candles: pd.DataFrame) -> NDArray[np.float64]:
    """Daily variance from one candle: ln(high/low)² / 2 - (2 ln 2 - 1) ln(close/open)².

    At least 1e-8. Source: Garman and Klass (1980), eq. 20 without the cross term.
    Where the candles have no range it is the squared log return.
    """
    if not {"open", "high", "low"} <= set(candles.columns):
        return np.maximum(np.square(np.nan_to_num(log_return(candles))), LEAST_VARIANCE)
    drift = np.log(close(candles) / candles["open"].to_numpy(dtype=np.float64))
    variance = np.square(log_range(candles)) / 2 - (2 * np.log(2) - 1) * np.square(drift)
    return np.maximum(variance, LEAST_VARIANCE)


def standardized_return(candles: pd.DataFrame) -> NDArray[np.float64]:
    """Log return over the EWMA volatility of the same close."""
    return log_return(candles) / ewma_volatility(candles)


def standardized_move(candles: pd.DataFrame) -> NDArray[np.float64]:
    """Absolute log return over the EWMA volatility of the same close."""
    return np.abs(standardized_return(candles))


def log_volatility(candles: pd.DataFrame) -> NDArray[np.float64]:
    """ln of the EWMA volatility: the level that everything else is relative to."""
    return np.log(ewma_volatility(candles))


def relative_range(candles: pd.DataFrame) -> NDArray[np.float64]:
    """ln of the day's log range (at least 1e-4) over the EWMA volatility; Parkinson (1980)."""
    return np.log(np.maximum(log_range(candles), LEAST_RANGE)) - log_volatility(candles)


def relative_garman_klass(candles: pd.DataFrame) -> NDArray[np.float64]:
    """ln of the day's Garman-Klass volatility over the EWMA volatility."""
    return np.log(garman_klass_variance(candles)) / 2 - log_volatility(candles)


def relative_garman_klass_mean(candles: pd.DataFrame) -> NDArray[np.float64]:
    """ln of the EWMA (0.9) of Garman-Klass variances, as volatility, over the EWMA volatility."""
    smooth = _decay(garman_klass_variance(candles), RANGE_DECAY)
    return np.log(smooth) / 2 - log_volatility(candles)


def distance_from_mean(candles: pd.DataFrame) -> NDArray[np.float64]:
    """ln(close) less its mean of 20 days, over EWMA volatility times √20."""
    logs = pd.Series(np.log(close(candles)))
    mean = logs.rolling(MEAN_WINDOW).mean().to_numpy()
    return (logs.to_numpy() - mean) / (ewma_volatility(candles) * np.sqrt(MEAN_WINDOW))


def _next_is(candles: pd.DataFrame, day: int) -> NDArray[np.float64]:
    """1 where the day after the candle is the weekday `day` (Monday 0), else 0."""
    following = (candles["open_time"].dt.dayofweek.to_numpy() + 1) % len(DAYS)
    return (following == day).astype(np.float64)


def _column(candles: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return candles[name].to_numpy(dtype=np.float64)


def _decay(values: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """Exponentially weighted mean of (n,), from the mean of the first 20 present; NaN before."""
    from scipy.signal import lfilter  # takes a second to import

    mean = np.full(len(values), np.nan)
    first = int(np.isnan(values[:1]).any())
    start = first + EWMA_START - 1
    if len(values) <= start:
        return mean
    mean[start] = values[first : start + 1].mean()
    state = [decay * mean[start]]
    mean[start + 1 :], _ = lfilter([1 - decay], [1, -decay], values[start + 1 :], zi=state)
    return mean


@dataclass(frozen=True)
class Feature:
    """A named input and the candle columns that it reads."""

    make: Callable[[pd.DataFrame], NDArray[np.float64]]
    needs: tuple[str, ...]


FEATURES: dict[str, Feature] = {
    "close": Feature(close, ("close",)),
    "log_return": Feature(log_return, ("close",)),
    "log_range": Feature(log_range, ("high", "low")),
    "log_volume_ratio": Feature(log_volume_ratio, ("volume",)),
    "standardized_return": Feature(standardized_return, ("close",)),
    "standardized_move": Feature(standardized_move, ("close",)),
    "log_volatility": Feature(log_volatility, ("close",)),
    "distance_from_mean": Feature(distance_from_mean, ("close",)),
    "relative_range": Feature(relative_range, ("close", "high", "low")),
    "relative_garman_klass": Feature(relative_garman_klass, ("open", "close", "high", "low")),
    "relative_garman_klass_mean": Feature(
        relative_garman_klass_mean, ("open", "close", "high", "low")
    ),
    **{
        f"next_is_{name}": Feature(partial(_next_is, day=day), ("open_time",))
        for day, name in enumerate(DAYS)
    },
}


def find_feature(name: str) -> Feature | None:
    """Return the feature of that name, None for an unknown one.

    An exogenous series is a feature by the name of its column: its value, lagged when it was joined
    to the candles.
    """
    if is_exogenous(name):
        return Feature(partial(_column, name=name), (name,))
    return FEATURES.get(name)


def needed_columns(names: tuple[str, ...]) -> set[str]:
    """Return the candle columns that the features `names`, all of them known, read."""
    found = [find_feature(name) for name in names]
    return set().union(*(feature.needs for feature in found if feature))


def usable_features(
    wanted: tuple[str, ...], columns: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the `wanted` features into those that candles with `columns` give, and the rest.

    Raises InputError for an unknown name, or when none can be made.
    """
    for name in wanted:
        if find_feature(name) is None:
            raise InputError(f"features: unknown feature {name!r}{nearest(name, FEATURES)}")
    used = tuple(name for name in wanted if needed_columns((name,)) <= set(columns))
    if not used:
        raise InputError(
            f"features: none of {', '.join(wanted)} can be made from the columns "
            f"{', '.join(columns)}; choose features that need closes alone, such as log_return"
        )
    return used, tuple(name for name in wanted if name not in used)


def make_features(candles: pd.DataFrame, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Stack the features `names` of n candles: (n, n_features), NaN where the past is too short.

    Raises InputError where the candles lack a column.
    """
    if lacking := needed_columns(names) - set(candles.columns):
        raise InputError(
            f"features: expected candles with {', '.join(sorted(lacking))}, received "
            f"{', '.join(map(str, candles.columns))}"
        )
    found = [find_feature(name) for name in names]
    return np.column_stack([feature.make(candles) for feature in found if feature])


def first_complete_row(features: NDArray[np.float64]) -> int:
    """Return the first row from which on no feature is missing.

    Raises ValueError when a later row has a missing or infinite value.
    """
    complete: NDArray[np.bool_] = np.all(np.isfinite(features), axis=1)
    first = int(np.argmax(complete)) if complete.any() else len(features)
    if not complete[first:].all():
        row = first + int(np.argmin(complete[first:]))
        raise ValueError(f"features: row {row} has a value that is not finite")
    return first
