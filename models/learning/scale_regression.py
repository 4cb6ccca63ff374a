"""Scale regression: a log-linear conditional scale with Student-t errors, fitted by likelihood.

What tomorrow's return is likely to be spread like, from how far prices went over the last day, week
and month, and from the weekday. The cascade of three spans is that of HAR (Corsi 2009, doi
10.1093/jjfinec/nbp001); it is fitted here by maximum likelihood on returns, directly for each step,
and not by least squares on variances. At the close of day t, for step h,

    r(t→t+h) / √h  ~  Student t(location 0, scale exp(b0 + b'x_t), degrees of freedom nu),

x_t: the means of ln v over 1, 7 and 30 days, v the variance of a day, and six dummies for the
weekday of t+1, Monday left out. Inputs are standardised on the training rows and clipped to ±5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import digamma, expit, gammaln, stdtrit
from threadpoolctl import threadpool_limits

from models.errors import InputError
from models.learning.features import (
    LEAST_VARIANCE,
    garman_klass_variance,
    volatility_of_closes,
)
from models.learning.windows import REGRESSION_START, make_targets

Floats = NDArray[np.float64]

RANGE_COLUMNS = ("open", "high", "low", "close", "volume")
SPANS = (1, 7, 30)
N_WEEKDAYS = 6
MAX_DAYS = 7300
"""Candles that a fit reads at most, twenty years: its few numbers gain nothing from more, and
without a limit it would come to cost more than the networks."""
MIN_ROWS = 100
HALF_LIFE_DAYS = 730.0
RIDGE = 1e-4
LEAST_DEGREES = 2.1
INPUT_LIMIT = 5.0


@dataclass(frozen=True)
class ScaleRegression:
    """The fitted numbers: inputs' `mean` and `std` (n_inputs,), and by step their coefficients.

    `columns`: the candle columns that the inputs are made from. `coefficients` (horizon,
    2 + n_inputs): intercept, slopes, and c with nu = 2.1 + softplus(c).
    """

    columns: tuple[str, ...]
    mean: Floats
    std: Floats
    coefficients: Floats

    def to_dict(self) -> dict[str, Any]:
        """Give the numbers as JSON types."""
        numbers = {name: getattr(self, name).tolist() for name in ("mean", "std", "coefficients")}
        return {"columns": list(self.columns), **numbers}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Self:
        """Rebuild what `to_dict` gave."""
        numbers = {name: np.asarray(state[name]) for name in ("mean", "std", "coefficients")}
        return cls(columns=tuple(state["columns"]), **numbers)


def scale_columns(candles: pd.DataFrame) -> tuple[str, ...]:
    """Columns of the candles that a regression on them reads: of each candle, or closes alone."""
    if not {"open", "high", "low"} <= set(candles.columns):
        return ("close",)
    return tuple(name for name in RANGE_COLUMNS if name in candles.columns)


def scale_inputs(candles: pd.DataFrame, columns: tuple[str, ...]) -> Floats:
    """Inputs (n, 9) of every row, NaN where the past is too short; row t reads rows 0…t alone.

    The variance of a day is Garman and Klass's; the EWMA of squared returns stands for it on days
    without movement or volume, and on all days where `columns` are closes alone.
    """
    close = candles["close"].to_numpy(dtype=np.float64)
    smooth = np.square(volatility_of_closes(close))
    if "high" in columns:
        still = candles["high"].to_numpy() <= candles["low"].to_numpy()
        if "volume" in columns:
            still |= candles["volume"].to_numpy(dtype=np.float64) == 0
        variance = np.where(still, smooth, garman_klass_variance(candles))
    else:
        variance = smooth
    logs = pd.Series(np.log(np.maximum(variance, LEAST_VARIANCE)))
    means = [logs.rolling(span).mean().to_numpy() for span in SPANS]
    following = (candles["open_time"].dt.dayofweek.to_numpy() + 1) % 7
    dummies = [(following == day).astype(np.float64) for day in range(1, 1 + N_WEEKDAYS)]
    return np.column_stack([*means, *dummies])


def fit_scale_regression(
    candles: pd.DataFrame, horizon: int, start: ScaleRegression | None = None
) -> ScaleRegression:
    """Fit on `candles`, the last 7,300 of them, for steps 1 to horizon.

    Row t teaches step h where t + h is among the rows. A row's weight halves with every 730 days of
    age; slopes carry a ridge of 1e-4. `start`: an earlier fit, whose coefficients the optimiser
    begins from. Raises InputError where fewer than 100 rows are left to learn from.
    """
    candles = candles.tail(MAX_DAYS)
    n = len(candles)
    rows = n - REGRESSION_START - horizon
    if rows < MIN_ROWS:
        raise InputError(
            f"scale regression: {n} candles leave {max(rows, 0)} to learn from, expected "
            f"{MIN_ROWS}; give a longer history"
        )
    columns = scale_columns(candles)
    inputs = scale_inputs(candles, columns)
    close = candles["close"].to_numpy(dtype=np.float64)
    targets = make_targets(close, horizon, "log_return") / np.sqrt(np.arange(1, horizon + 1))
    known = inputs[REGRESSION_START:]
    mean, std = known.mean(axis=0), known.std(axis=0)
    std = np.where(std > 0, std, 1.0)
    x = _standardize(inputs, mean, std)
    weights = 0.5 ** (np.arange(n)[::-1] / HALF_LIFE_DAYS)
    coefficients: list[Floats] = []
    for step in range(1, horizon + 1):
        taught = slice(REGRESSION_START, n - step)
        y = targets[taught, step - 1]
        # Steps are much alike: the one before is the best place to start from.
        first = _first_guess(y, x.shape[1]) if not coefficients else coefficients[-1]
        if start is not None and len(start.coefficients) >= step:
            first = start.coefficients[step - 1]
        coefficients.append(_maximize(first, x[taught], y, weights[taught]))
    return ScaleRegression(columns, mean, std, np.stack(coefficients))


def predict_scale(model: ScaleRegression, inputs: Floats) -> Floats:
    """Scale (n, horizon) of the cumulative log returns from `scale_inputs` (n, 9)."""
    x = _standardize(inputs, model.mean, model.std)
    intercept, slopes = model.coefficients[:, 0], model.coefficients[:, 1:-1]
    steps = np.arange(1, len(intercept) + 1)
    return np.asarray(np.exp(intercept + x @ slopes.T) * np.sqrt(steps))


def predict_scale_regression(
    model: ScaleRegression, inputs: Floats, levels: tuple[float, ...]
) -> Floats:
    """Quantiles (n, horizon, n_levels) of cumulative log returns from `scale_inputs` (n, 9)."""
    scale = predict_scale(model, inputs)
    degrees = LEAST_DEGREES + np.logaddexp(0.0, model.coefficients[:, -1])
    points = stdtrit(degrees[:, None], np.asarray(levels))
    return np.asarray(scale[:, :, None] * points)


def negative_log_likelihood(
    parameters: Floats, x: Floats, y: Floats, weights: Floats
) -> tuple[float, Floats]:
    """Weighted mean of minus the log density of y (n,) given x (n, k), and its gradient.

    With the ridge on the slopes. `parameters` (k + 2,): intercept, slopes, c; `weights` (n,) need
    not sum to one.
    """
    share = weights / weights.sum()
    slopes, raw = parameters[1:-1], parameters[-1]
    log_scale = parameters[0] + x @ slopes
    degrees = LEAST_DEGREES + np.logaddexp(0.0, raw)
    # A day without any return would let the scale go to zero; see LEAST_VARIANCE.
    z2 = (np.square(y) + LEAST_VARIANCE) * np.exp(-2 * log_scale)
    tail = np.log1p(z2 / degrees)
    constant = gammaln(degrees / 2) - gammaln((degrees + 1) / 2) + np.log(degrees * np.pi) / 2
    value = share @ (log_scale + (degrees + 1) / 2 * tail) + constant + RIDGE * slopes @ slopes
    by_log_scale = share * (1 - (degrees + 1) * z2 / (degrees + z2))
    by_degrees = (digamma(degrees / 2) - digamma((degrees + 1) / 2) + 1 / degrees) / 2 + share @ (
        tail - (degrees + 1) * z2 / (degrees * (degrees + z2))
    ) / 2
    gradient = np.concatenate(
        [
            [by_log_scale.sum()],
            by_log_scale @ x + 2 * RIDGE * slopes,
            [by_degrees * expit(raw)],
        ]
    )
    return float(value), gradient


def _maximize(first: Floats, x: Floats, y: Floats, weights: Floats) -> Floats:
    # Takes half a second to import; before the limit, which holds for what is loaded by then.
    from scipy.optimize import minimize

    # For a few numbers a step, handing them around between threads costs ten times the work.
    with threadpool_limits(1, user_api="blas"):
        found = minimize(
            negative_log_likelihood, first, (x, y, weights), method="L-BFGS-B", jac=True,
            options={"maxiter": 500, "ftol": 1e-10, "gtol": 1e-6},
        )  # fmt: skip
    return np.asarray(found.x)


def _first_guess(y: Floats, n_inputs: int) -> Floats:
    """A scale that does not depend on the inputs, with four or so degrees of freedom."""
    guess = np.zeros(n_inputs + 2)
    guess[0] = np.log(max(float(np.median(np.abs(y))) / 0.74, 1e-6))
    guess[-1] = 1.5
    return guess


def _standardize(inputs: Floats, mean: Floats, std: Floats) -> Floats:
    return np.clip((inputs - mean) / std, -INPUT_LIMIT, INPUT_LIMIT)
