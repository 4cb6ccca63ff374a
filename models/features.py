"""Inputs of the network: small pure functions of the candles up to and including a day.

Every function takes a candle frame of n rows and returns (n,) float64 in which row t depends on
rows 0…t alone; the first rows, where its past is too short, are NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.config import nearest
from models.errors import InputError

VOLUME_WINDOW = 30


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
}


def usable_features(
    wanted: tuple[str, ...], columns: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the `wanted` features into those that candles with `columns` give, and the rest.

    Raises InputError for an unknown name, or when none can be made.
    """
    for name in wanted:
        if name not in FEATURES:
            raise InputError(f"features: unknown feature {name!r}{nearest(name, FEATURES)}")
    used = tuple(name for name in wanted if set(FEATURES[name].needs) <= set(columns))
    if not used:
        raise InputError(
            f"features: none of {', '.join(wanted)} can be made from the columns "
            f"{', '.join(columns)}; choose features that need closes alone, such as log_return"
        )
    return used, tuple(name for name in wanted if name not in used)


def make_features(candles: pd.DataFrame, names: tuple[str, ...]) -> NDArray[np.float64]:
    """Stack the features `names` of n candles: (n, n_features), NaN where the past is too short."""
    return np.column_stack([FEATURES[name].make(candles) for name in names])


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
