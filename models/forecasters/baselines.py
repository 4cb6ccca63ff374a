"""Baselines: forecasters without a network, all called in the same way.

Each takes the candles and origins (rows of the candle frame) and gives the quantiles of the
cumulative log return of steps 1 to horizon. An origin's forecast depends on no candle after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.config.base import nearest
from models.errors import InputError
from models.forecasters.garch import Kind, fit_garch, predict_garch
from models.learning.features import garman_klass_variance, volatility_of_closes
from models.learning.scale_regression import (
    fit_scale_regression,
    predict_scale_regression,
    scale_columns,
    scale_inputs,
)
from models.learning.splits import NAIVE_WINDOW
from models.learning.windows import make_targets

Floats = NDArray[np.float64]

RESIDUAL_WINDOW = 500
SEASON_DAYS = 7
MONTH_DAYS = 30
HAR_RESIDUALS = 1000
WEEKDAY_DAYS = 730
MIN_WEEKS = 26


@dataclass(frozen=True)
class Question:
    """What a baseline is called with.

    `origins` are rows of `candles`; asked for are the steps 1 to `horizon` and the quantile
    `levels`. Baselines with parameters fit them again every `refit_days` origins.
    """

    candles: pd.DataFrame
    origins: range
    horizon: int
    levels: tuple[float, ...]
    refit_days: int = 30
    seed: int = 0

    @cached_property
    def known(self) -> pd.DataFrame:
        """The candles up to the last origin, n_known of them."""
        return self.candles.iloc[: self.origins.stop]

    @cached_property
    def close(self) -> Floats:
        """Closes (n_known,), USD."""
        return self.known["close"].to_numpy(dtype=np.float64)

    @cached_property
    def log_returns(self) -> Floats:
        """ln(close_t / close_{t-1}), (n_known,); NaN for the first."""
        return np.diff(np.log(self.close), prepend=np.nan)

    def blocks(self) -> Iterator[range]:
        """Origins that share one fit: `refit_days` of them, counted from the first."""
        for start in range(self.origins.start, self.origins.stop, self.refit_days):
            yield range(start, min(start + self.refit_days, self.origins.stop))


def predict_baseline(name: str, question: Question) -> Floats:
    """Quantiles (n_origins, horizon, n_levels) of the baseline `name`.

    A fit reads the candles up to the first origin of its block. Raises InputError for an unknown
    name and where the first origin has too short a past.
    """
    if name not in BASELINES:
        raise InputError(f"baselines: unknown baseline {name!r}{nearest(name, BASELINES)}")
    needed = least_history(question.horizon)
    if question.origins.start < needed:
        raise InputError(
            f"baselines: expected at least {needed} candles before the first origin, "
            f"received {question.origins.start}; start later or give a longer history"
        )
    return np.sort(BASELINES[name](question), axis=-1)


def least_history(horizon: int) -> int:
    """Candles that a baseline needs before its first origin."""
    return RESIDUAL_WINDOW + horizon + MONTH_DAYS


def naive_quantiles(
    close: Floats, origins: range, horizon: int, levels: tuple[float, ...]
) -> Floats:
    """Naive persistence with rolling empirical quantiles: (n, horizon, n_levels) log returns.

    The median is zero, tomorrow's price is today's. Around it stand the empirical quantiles of the
    last 250 returns over as many days that were complete at the origin, less their median.
    Raises ValueError when the first origin has a shorter past.
    """
    returns = make_targets(close, horizon, "log_return")
    quantiles = _rolling_quantiles(returns, origins, levels, NAIVE_WINDOW)
    return quantiles - quantiles[:, :, [levels.index(0.5)]]


def ewma_quantiles(
    close: Floats, origins: range, horizon: int, levels: tuple[float, ...]
) -> Floats:
    """EWMA volatility times rolling quantiles of standardised returns: (n, horizon, n_levels).

    The volatility is RiskMetrics' (1996), times the root of the step; the quantiles are those of
    the last 500 returns over as many days that were complete at the origin, each in units of its
    own origin's volatility. Raises ValueError when the first origin has a shorter past.
    """
    scale = volatility_of_closes(close)[:, None] * np.sqrt(np.arange(1, horizon + 1))
    errors = make_targets(close, horizon, "log_return") / scale
    spread = _rolling_quantiles(errors, origins, levels, RESIDUAL_WINDOW)
    return scale[origins.start : origins.stop, :, None] * spread


def _rolling_quantiles(
    errors: Floats, origins: range, levels: tuple[float, ...], window: int
) -> Floats:
    """Quantiles (n, horizon, n_levels) of the last `window` errors known at each origin.

    `errors` (n_rows, horizon): element (t, step - 1) is that of a forecast made at row t, which is
    known at row t + step.
    """
    horizon = errors.shape[1]
    if origins.start < window + horizon - 1:
        raise ValueError(
            f"expected {window + horizon - 1} rows before the first origin, received "
            f"{origins.start}"
        )
    steps = []
    for step in range(1, horizon + 1):
        windows = np.lib.stride_tricks.sliding_window_view(errors[:, step - 1], window)
        start = origins.start - step - window + 1
        # NumPy sorts with vector instructions, four times as fast as quantile's own partition.
        ordered = np.sort(windows[start : start + len(origins)], axis=1)
        steps.append(np.quantile(ordered, levels, axis=1, overwrite_input=True).T)
    return np.stack(steps, axis=1)


def _naive(q: Question) -> Floats:
    return naive_quantiles(q.close, q.origins, q.horizon, q.levels)


def _mean_return(q: Question) -> Floats:
    """Mean log return of all days so far, with naive's quantiles around it."""
    rows = np.asarray(q.origins)
    mean = np.log(q.close[rows] / q.close[0]) / rows
    steps = np.arange(1, q.horizon + 1)
    return _naive(q) + (mean[:, None] * steps)[:, :, None]


def _seasonal_naive(q: Question) -> Floats:
    """Log returns of the same weekdays a week ago, and the rolling quantiles of their errors."""
    season = np.full((len(q.close), q.horizon), np.nan)
    for step in range(1, q.horizon + 1):
        # Step 8 falls on the weekday of step 1, whose last known day is a week before that.
        back = SEASON_DAYS - 1 - (step - 1) % SEASON_DAYS
        season[back:, step - 1] = q.log_returns[: len(q.close) - back]
    location = np.nan_to_num(np.cumsum(season, axis=1))
    errors = make_targets(q.close, q.horizon, "log_return") - location
    spread = _rolling_quantiles(errors, q.origins, q.levels, NAIVE_WINDOW)
    return location[q.origins.start : q.origins.stop, :, None] + spread


def _ewma(q: Question) -> Floats:
    return ewma_quantiles(q.close, q.origins, q.horizon, q.levels)


def _har(q: Question) -> Floats:
    """HAR regression of the log range variance, direct for each step, with empirical residuals.

    Corsi (2009), doi 10.1093/jjfinec/nbp001, on Garman-Klass variances: their daily, weekly and
    monthly mean logarithms explain the log of the mean variance of the next `step` days.
    """
    variance = garman_klass_variance(q.known)
    logs = pd.Series(np.log(variance))
    means = [logs.rolling(days).mean().to_numpy() for days in (1, SEASON_DAYS, MONTH_DAYS)]
    design = np.column_stack([np.ones(len(logs)), *means])
    future = np.cumsum(variance)
    returns = make_targets(q.close, q.horizon, "log_return")
    quantiles = np.empty((len(q.origins), q.horizon, len(q.levels)))
    for step in range(1, q.horizon + 1):
        target = np.log((future[step:] - future[:-step]) / step)
        for block in q.blocks():
            rows = slice(MONTH_DAYS - 1, block.start - step + 1)
            weights = np.linalg.lstsq(design[rows], target[rows], rcond=None)[0]
            scale = np.exp(design @ weights / 2) * np.sqrt(step)
            residuals = returns[rows, step - 1] / scale[rows]
            spread = np.quantile(residuals[-HAR_RESIDUALS:], q.levels)
            at = slice(block.start - q.origins.start, block.stop - q.origins.start)
            quantiles[at, step - 1] = scale[block.start : block.stop, None] * spread
    return quantiles


def _garch(q: Question, kind: Kind) -> Floats:
    parts = []
    for block in q.blocks():
        model = fit_garch(q.log_returns[1 : block.start + 1], kind)
        rows = np.asarray(block)
        parts.append(
            predict_garch(
                model,
                q.log_returns,
                rows,
                np.ones((len(rows), q.horizon)),
                levels=q.levels,
                seed=q.seed,
            )
        )
    return np.concatenate(parts)


def weekday_scales(log_returns: Floats, weekdays: NDArray[np.integer]) -> Floats:
    """How far each weekday moves against all days, as known at each row: (n, 7), Monday first.

    Mean absolute return of a weekday over that of all days, both over the last two years up to the
    row; 1 where a weekday has been seen fewer than 26 times. `log_returns` and `weekdays` are (n,).
    """
    moves = pd.Series(np.abs(log_returns))
    overall = moves.rolling(WEEKDAY_DAYS, min_periods=1).mean().to_numpy()
    scales = np.ones((len(moves), SEASON_DAYS))
    for day in range(SEASON_DAYS):
        own = moves.where(weekdays == day).rolling(WEEKDAY_DAYS, min_periods=MIN_WEEKS).mean()
        ratio = own.to_numpy() / overall
        scales[:, day] = np.where(np.isfinite(ratio) & (ratio > 0), ratio, 1.0)
    return scales


def _garch_weekday(q: Question, kind: Kind) -> Floats:
    """GARCH or EGARCH on returns that are divided by the scale of their weekday."""
    weekdays = q.known["open_time"].dt.dayofweek.to_numpy()
    scales = weekday_scales(q.log_returns, weekdays)
    # A day is divided by the scale that was known the day before.
    own = np.append(1.0, scales[np.arange(len(weekdays) - 1), weekdays[1:]])
    divided = q.log_returns / own
    parts = []
    for block in q.blocks():
        model = fit_garch(divided[1 : block.start + 1], kind)
        rows = np.asarray(block)
        ahead = (weekdays[rows][:, None] + np.arange(1, q.horizon + 1)) % SEASON_DAYS
        parts.append(
            predict_garch(
                model,
                divided,
                rows,
                scales[rows[:, None], ahead],
                levels=q.levels,
                seed=q.seed,
            )
        )
    return np.concatenate(parts)


def _scale_regression(q: Question) -> Floats:
    inputs = scale_inputs(q.known, scale_columns(q.known))
    model, parts = None, []
    for block in q.blocks():
        model = fit_scale_regression(q.known.iloc[: block.start + 1], q.horizon, model)
        rows = slice(block.start, block.stop)
        parts.append(predict_scale_regression(model, inputs[rows], q.levels))
    return np.concatenate(parts)


BASELINES: dict[str, Callable[[Question], Floats]] = {
    "naive": _naive,
    "seasonal_naive": _seasonal_naive,
    "mean_return": _mean_return,
    "ewma": _ewma,
    "garch": partial(_garch, kind="garch"),
    "gjr": partial(_garch, kind="gjr"),
    "egarch": partial(_garch, kind="egarch"),
    "har": _har,
    "garch_weekday": partial(_garch_weekday, kind="garch"),
    "egarch_weekday": partial(_garch_weekday, kind="egarch"),
    "scale_regression": _scale_regression,
}
