"""Scores of forecasts whose days have come, beside naive's and EWMA's for the same days."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models import metrics
from models.baselines import (
    MONTH_DAYS,
    NAIVE_WINDOW,
    RESIDUAL_WINDOW,
    ewma_quantiles,
    naive_quantiles,
)
from models.distribution import BANDS, probability_below

Floats = NDArray[np.float64]


def score_forecasts(forecasts: pd.DataFrame, candles: pd.DataFrame) -> pd.DataFrame:
    """Score ledger rows, one row each, in their order.

    forecasts: as_of and target_date (days), step, close_origin (USD), levels and quantiles (JSON
    lists; log returns). candles: a candle frame that has all those days. Gives actual_usd, actual
    (log return), crps_bp, pinball_bp (JSON list by level), pit, inside_50, …, inside_95, and
    naive_crps_bp and ewma_crps_bp, NaN where a reference has too short a past. A band that the
    levels do not have is None. Raises ValueError for a day without a candle.
    """
    days = candles["open_time"].dt.tz_localize(None).to_numpy("datetime64[D]")
    close = candles["close"].to_numpy(dtype=np.float64)
    parts = []
    for text, rows in forecasts.groupby("levels", sort=False):
        levels = tuple(float(level) for level in json.loads(str(text)))
        parts.append(_score_group(rows, levels, days, close))
    return pd.concat(parts).loc[forecasts.index]


def _score_group(
    rows: pd.DataFrame, levels: tuple[float, ...], days: NDArray[np.datetime64], close: Floats
) -> pd.DataFrame:
    quantiles = np.sort(parse_lists(rows["quantiles"]), axis=1)
    actual_usd = close[_find_rows(days, rows["target_date"])]
    actual = np.log(actual_usd / rows["close_origin"].to_numpy(np.float64))
    pinball = metrics.pinball_loss(actual, quantiles, levels)
    scores = {
        "actual_usd": actual_usd,
        "actual": actual,
        "crps_bp": 2e4 * (pinball @ metrics.level_weights(levels)),
        "pinball_bp": format_lists((1e4 * pinball).round(4)),
        "pit": probability_below(actual, quantiles, levels),
    }
    for band in BANDS:
        ends = [
            [i for i, level in enumerate(levels) if abs(level - end) < 1e-9]
            for end in ((1 - band) / 2, (1 + band) / 2)
        ]
        inside = None
        if all(ends):
            low, high = (quantiles[:, at[0]] for at in ends)
            inside = (low <= actual) & (actual <= high)
        scores[f"inside_{band * 100:.0f}"] = inside
    origins = _find_rows(days, rows["as_of"])
    steps = rows["step"].to_numpy(np.int64)
    for name, (make, warm_up) in _REFERENCES.items():
        scores[f"{name}_crps_bp"] = _score_reference(
            make, warm_up, close, origins, steps, actual, levels
        )
    return pd.DataFrame(scores, index=rows.index)


def parse_lists(texts: Sequence[str] | pd.Series) -> Floats:
    """Parse JSON lists of numbers of one length: (n, length)."""
    return np.asarray(json.loads(f"[{','.join(texts)}]"), dtype=np.float64)


def format_lists(values: Floats) -> list[str]:
    """JSON lists of the rows of `values` (n, length): what `parse_lists` reads."""
    return [f"[{row}]" for row in json.dumps(values.tolist())[2:-2].split("], [")]


def _score_reference(
    make: Callable[[Floats, range, int, tuple[float, ...]], Floats],
    warm_up: int,
    close: Floats,
    origins: NDArray[np.int64],
    steps: NDArray[np.int64],
    actual: Floats,
    levels: tuple[float, ...],
) -> Floats:
    """CRPS in basis points of a reference at the same origins and steps; NaN where it has none."""
    horizon = int(steps.max())
    scores = np.full(len(origins), np.nan)
    able = origins >= warm_up + horizon
    if able.any():
        asked = range(int(origins[able].min()), int(origins.max()) + 1)
        quantiles = make(close, asked, horizon, levels)
        chosen = quantiles[origins[able] - asked.start, steps[able] - 1]
        scores[able] = 1e4 * metrics.crps_from_quantiles(actual[able], chosen, levels)
    return scores


_REFERENCES: dict[str, tuple[Callable[[Floats, range, int, tuple[float, ...]], Floats], int]] = {
    "naive": (naive_quantiles, NAIVE_WINDOW),
    "ewma": (ewma_quantiles, RESIDUAL_WINDOW + MONTH_DAYS),
}


def _find_rows(days: NDArray[np.datetime64], wanted: pd.Series) -> NDArray[np.int64]:
    asked = pd.to_datetime(wanted).to_numpy("datetime64[D]")
    at = np.minimum(np.searchsorted(days, asked), len(days) - 1)
    if not (days[at] == asked).all():
        missing = asked[days[at] != asked]
        raise ValueError(f"score_forecasts: no candle of {missing[0]} among {len(days)} candles")
    return np.asarray(at, dtype=np.int64)
