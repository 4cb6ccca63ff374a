"""Is one forecaster better than another: Diebold-Mariano tests and the model confidence set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

MCS_SIZE = 0.10
MCS_SAMPLES = 1000


class DieboldMariano(NamedTuple):
    """Statistic and two-sided p-value; `t` is negative where the first loss is the smaller one."""

    t: float
    p: float


def diebold_mariano(losses: ArrayLike, reference: ArrayLike, *, step: int) -> DieboldMariano:
    """Test that two forecasts `step` days ahead have the same expected loss.

    Both losses (n,) are daily, in order of time, on the same days. The variance of the mean
    difference counts autocovariances up to lag step - 1 (rectangular kernel; Bartlett's where that
    is not positive), corrected for small samples and compared with a t distribution of n - 1
    degrees of freedom. Raises ValueError for different lengths, too few days, or values that are
    not finite. NaN where the losses never differ.
    Sources: Diebold and Mariano (1995), doi 10.1080/07350015.1995.10524599; Harvey, Leybourne and
    Newbold (1997), doi 10.1016/S0169-2070(96)00719-4, eq. 9.
    """
    a, b = np.asarray(losses, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2 * step:
        raise ValueError(
            f"diebold_mariano: expected two series of one length, {2 * step} at least, received "
            f"{a.shape} and {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("diebold_mariano: expected finite losses, received NaN or infinity")
    difference = a - b
    n = len(difference)
    variance = _long_run_variance(difference, step - 1) / n
    if not variance > 0:
        return DieboldMariano(np.nan, np.nan)
    correction = np.sqrt((n + 1 - 2 * step + step * (step - 1) / n) / n)
    t = float(difference.mean() / np.sqrt(variance) * correction)
    return DieboldMariano(t, float(2 * stdtr(n - 1, -abs(t))))


def _long_run_variance(values: NDArray[np.float64], lags: int) -> float:
    centred = values - values.mean()
    n = len(values)
    autocovariances = [float(centred[k:] @ centred[: n - k]) / n for k in range(lags + 1)]
    variance = autocovariances[0] + 2 * sum(autocovariances[1:])
    if variance > 0:
        return variance
    bartlett = [1 - k / (lags + 1) for k in range(1, lags + 1)]
    return autocovariances[0] + 2 * float(np.dot(bartlett, autocovariances[1:]))


def model_confidence_set(
    losses: Mapping[str, NDArray[np.float64]], *, block_days: int, seed: int
) -> dict[str, float]:
    """MCS p-value of every model; those at 0.10 and above form the 90 % confidence set.

    `losses`: daily losses (n,) of each model on the same days. Range statistic, stationary
    bootstrap with mean block `block_days`, 1,000 resamples. A single model has p-value 1.
    Source: Hansen, Lunde and Nason (2011), doi 10.3982/ECTA5771, as in `arch.bootstrap.MCS`.
    """
    if len(losses) < 2:
        return dict.fromkeys(losses, 1.0)
    import pandas as pd
    from arch.bootstrap import MCS

    test = MCS(
        pd.DataFrame(dict(losses)),
        size=MCS_SIZE,
        reps=MCS_SAMPLES,
        block_size=block_days,
        method="R",
        bootstrap="stationary",
        seed=seed,
    )
    test.compute()
    return {str(name): float(p) for name, p in test.pvalues["Pvalue"].items()}
