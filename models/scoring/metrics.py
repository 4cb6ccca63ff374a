"""Scores in plain NumPy: point errors, direction, quantiles, and skill with its interval.

`actual` and `predicted` are arrays of one shape, finite and not empty; a ValueError says otherwise.
The Wilson interval is our own, since importing scipy.stats for it takes as long as pandas does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import nan, sqrt
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from models.forecasters.frame import read_quantiles

Floats = NDArray[np.float64]

PERCENTILES = tuple(round(0.01 * i, 2) for i in range(1, 100))
"""Levels that CRPS is taken over, whatever levels a forecast has."""

# Two-sided 95 % point of the standard normal distribution.
Z_95 = 1.959963984540054


class Interval(NamedTuple):
    """An estimate with its 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float


class Share(NamedTuple):
    """A share as a fraction, its 95 % interval, and the number of cases that it counts."""

    value: float
    low: float
    high: float
    n: int


def rmse(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Root mean squared error, in the unit of its arguments."""
    a, p = _pair(actual, predicted)
    return float(np.sqrt(np.mean((a - p) ** 2)))


def mae(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute error, in the unit of its arguments."""
    a, p = _pair(actual, predicted)
    return float(np.mean(np.abs(a - p)))


def mape(actual: ArrayLike, predicted: ArrayLike) -> float:
    """Mean absolute error relative to the actual value, as a fraction; ValueError at a zero."""
    a, p = _pair(actual, predicted)
    if np.any(a == 0):
        raise ValueError("mape: expected actual values other than zero, received a zero")
    return float(np.mean(np.abs((a - p) / a)))


def naive_scale(values: ArrayLike, step: int = 1) -> float:
    """Mean absolute error of naive persistence `step` days ahead over `values` (n,).

    The denominator of MASE: pass the training fold's prices or log prices.
    Raises ValueError for fewer than step + 1 values.
    Source: Hyndman and Koehler (2006), "Another look at measures of forecast accuracy", eq. in 3.4.
    """
    v = _finite("values", values)
    if step < 1 or v.ndim != 1 or len(v) <= step:
        raise ValueError(
            f"naive_scale: expected a step of 1 or more and more values than steps, "
            f"received step {step} and shape {v.shape}"
        )
    return float(np.mean(np.abs(v[step:] - v[:-step])))


def mase(actual: ArrayLike, predicted: ArrayLike, scale: float) -> float:
    """Mean absolute error over `scale`, the naive error of the training fold; no unit.

    Raises ValueError where the scale is not above zero (a training fold that never moves).
    Source: Hyndman and Koehler (2006); see `naive_scale`.
    """
    if not scale > 0:
        raise ValueError(f"mase: expected a naive training error above zero, received {scale}")
    return mae(actual, predicted) / scale


def directional_accuracy(actual_move: ArrayLike, predicted_move: ArrayLike) -> Share:
    """Share of days on which both moves have the same sign, with its Wilson 95 % interval.

    Days on which either move is exactly zero have no direction and do not count; where none is
    left, as for naive persistence, the share is NaN and n is 0.
    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    a, p = _pair(actual_move, predicted_move)
    counted = (a != 0) & (p != 0)
    n = int(counted.sum())
    hits = int((np.sign(a) == np.sign(p))[counted].sum())
    return Share(hits / n if n else nan, *wilson_interval(hits, n), n)


def wilson_interval(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `hits` in `n`; NaN where n is 0."""
    if not 0 <= hits <= n:
        raise ValueError(f"wilson_interval: expected 0 <= hits <= n, received {hits} of {n}")
    if n == 0:
        return nan, nan
    share, z2 = hits / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # The exact ends are 0 and 1 there; rounding must not leave the range of a share.
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == n else centre + half)


def pinball_loss(actual: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> Floats:
    """Pinball loss of each quantile, in the unit of `actual`.

    actual (...), quantiles (..., n_levels), levels sorted in (0, 1); returns (..., n_levels).
    Source: Koenker and Bassett (1978), "Regression quantiles".
    """
    tau = _levels(levels)
    a, q = _quantiles(actual, quantiles, tau)
    error = a[..., None] - q
    return np.maximum(tau * error, (tau - 1) * error)


def crps_from_quantiles(actual: ArrayLike, quantiles: ArrayLike, levels: Sequence[float]) -> Floats:
    """CRPS of a forecast given as quantiles, in the unit of `actual`.

    actual (...), quantiles (..., n_levels), levels sorted in (0, 1); returns (...). Twice the mean
    pinball loss of the 99 percentiles. Percentiles that are not among the levels are read off the
    others, linearly in the normal score of the level, also beyond the outermost: exact for a normal
    distribution. So forecasts of different levels have scores that can be compared.

    Of calibrated normal or Student-t forecasts the mean lies 0.9 to 1.0 % above the exact integral,
    since 99 losses stand for 100 hundredths; that is so for every model, and cancels in a skill.
    With the 15 levels of the default recipe in place of the percentiles it is the same to 0.01 %
    for those distributions, and to 0.1 % for forecasts of real prices, whose tails are heavier. A
    point mass scores its absolute error.
    Source: Gneiting and Ranjan (2011), "Comparing density forecasts using threshold- and
    quantile-weighted scoring rules": CRPS is twice the integral of the pinball loss over levels.
    """
    tau = _levels(levels)
    a, q = _quantiles(actual, quantiles, tau)
    percentiles = q @ _percentile_weights(tuple(tau.tolist()))  # (..., 99)
    return np.asarray(2 * pinball_loss(a, percentiles, PERCENTILES).mean(axis=-1))


@lru_cache(maxsize=32)
def _percentile_weights(levels: tuple[float, ...]) -> Floats:
    """Weights (n_levels, 99) of the quantiles in each percentile, see `crps_from_quantiles`."""
    if len(levels) == 1:
        return np.ones((1, len(PERCENTILES)))
    known, wanted = ndtri(levels), ndtri(PERCENTILES)
    left = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, len(levels) - 2)
    share = (wanted - known[left]) / (known[left + 1] - known[left])  # beyond 0…1 outside
    weights = np.zeros((len(levels), len(PERCENTILES)))
    columns = np.arange(len(PERCENTILES))
    weights[left, columns] = 1 - share
    weights[left + 1, columns] = share
    return weights


def with_crps(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the CRPS of every row to a frame of forecasts, see forecasters/frame.py.

    `crps_bp` in basis points of log return, `crps_usd` in USD; NaN for a forecast not finite.
    """
    quantiles, levels = read_quantiles(frame)
    finite = np.isfinite(quantiles).all(axis=1)
    usd = frame["close_origin"].to_numpy(np.float64)[:, None] * np.exp(quantiles)
    scored = frame.copy()
    for name, actual, values, unit in (
        ("crps_bp", "actual", quantiles, 1e4),
        ("crps_usd", "actual_usd", usd, 1.0),
    ):
        crps = np.full(len(frame), np.nan)
        if finite.any():
            came = frame[actual].to_numpy(np.float64)[finite]
            crps[finite] = unit * crps_from_quantiles(came, values[finite], levels)
        scored[name] = crps
    return scored


def coverage(actual: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """Share of actual values inside the band [low, high], ends included, as a fraction."""
    a, lo = _pair(actual, low)
    _, hi = _pair(actual, high)
    return float(np.mean((lo <= a) & (a <= hi)))


def block_bootstrap_skill(
    losses: ArrayLike,
    reference_losses: ArrayLike,
    *,
    block_days: int,
    samples: int,
    seed: int,
    root: bool = False,
) -> Interval:
    """Skill 1 - score / reference score with a paired circular block bootstrap 95 % interval.

    Both losses (n,) are daily, in order of time, on the same days; a score is their mean, or with
    `root` its square root (squared errors in, skill of the RMSE out). Every resample draws blocks
    of whole days, wrapped at the end, for both at once; resamples with a zero reference are left
    out. Raises ValueError where the reference scores zero or `block_days` is not in 1…n.
    Source: Politis and Romano (1992), "A circular block-resampling procedure for stationary data";
    percentile interval after Efron (1979).
    """
    loss, reference = _pair(losses, reference_losses)
    n = len(loss)
    if not 1 <= block_days <= n:
        raise ValueError(f"block_days: expected 1 to {n} (days given), received {block_days}")
    if not reference.mean() > 0:
        raise ValueError("skill: expected a reference score above zero, received 0")
    blocks, rest = divmod(n, block_days)
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, n, (samples, blocks))
    rest_starts = generator.integers(0, n, samples)

    def resampled(values: Floats) -> Floats:
        total = _circular_sums(values, block_days)[starts].sum(axis=1)
        return np.asarray(total + _circular_sums(values, rest)[rest_starts])

    ours, theirs = resampled(loss), resampled(reference)
    ratios = ours[theirs > 0] / theirs[theirs > 0]
    power = 0.5 if root else 1.0
    low, high = np.quantile(1 - ratios**power, [0.025, 0.975])
    return Interval(float(1 - (loss.mean() / reference.mean()) ** power), float(low), float(high))


def _circular_sums(values: Floats, length: int) -> Floats:
    """Sums of `length` values from every start, (n,), wrapped at the end."""
    if length == 0:
        return np.zeros_like(values)
    wrapped = np.concatenate([values, values[: length - 1]])
    return np.lib.stride_tricks.sliding_window_view(wrapped, length).sum(axis=1)


def _pair(actual: ArrayLike, predicted: ArrayLike) -> tuple[Floats, Floats]:
    a, p = _finite("actual", actual), _finite("predicted", predicted)
    if a.shape != p.shape:
        raise ValueError(f"expected two arrays of one shape, received {a.shape} and {p.shape}")
    return a, p


def _finite(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 or not np.all(np.isfinite(array)):
        what = "an empty array" if array.size == 0 else "NaN or infinity"
        raise ValueError(f"{name}: expected finite numbers, received {what}")
    return array


def _quantiles(actual: ArrayLike, quantiles: ArrayLike, tau: Floats) -> tuple[Floats, Floats]:
    a, q = _finite("actual", actual), _finite("quantiles", quantiles)
    if q.shape != (*a.shape, len(tau)):
        raise ValueError(f"quantiles: expected shape {(*a.shape, len(tau))}, received {q.shape}")
    return a, q


def _levels(levels: Sequence[float]) -> Floats:
    tau = _finite("levels", levels)
    if tau.ndim != 1 or np.any(np.diff(tau) <= 0) or tau[0] <= 0 or tau[-1] >= 1:
        raise ValueError(f"levels: expected sorted levels in (0, 1), received {list(levels)}")
    return tau
