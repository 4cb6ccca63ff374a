"""GARCH, GJR and EGARCH with Student-t errors: fit, filter, and quantiles of the days ahead.

Returns are in percent here, which is what the likelihood's optimiser copes with best.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Kind = Literal["garch", "gjr", "egarch"]

PERCENT = 100.0
N_PATHS = 2000
BACKCAST_DAYS = 75
MEAN_ABS_NORMAL = float(np.sqrt(2 / np.pi))
# Bounds of a log variance of percent returns that no market reaches; beyond them exp overflows.
LEAST_LOG_VARIANCE, LARGEST_LOG_VARIANCE = -20.0, 12.0


@dataclass(frozen=True)
class Garch:
    """One fitted model: mean `mu`, variance parameters (zero where it has none), tail `nu`."""

    kind: Kind
    mu: float
    omega: float
    alpha: float
    gamma: float
    beta: float
    nu: float

    def to_dict(self) -> dict[str, Any]:
        """Give the parameters as JSON types."""
        return asdict(self)


def fit_garch(log_returns: Floats, kind: Kind) -> Garch:
    """Fit by maximum likelihood with `arch` on log returns (n,), none of them missing.

    Sources: Bollerslev (1987), doi 10.2307/1925546; Glosten, Jagannathan and Runkle (1993);
    Nelson (1991), doi 10.2307/2938260.
    """
    from arch import arch_model  # takes a second to import; most commands never need it

    model = arch_model(
        PERCENT * log_returns,
        mean="Constant",
        vol="EGARCH" if kind == "egarch" else "GARCH",
        p=1,
        o=0 if kind == "garch" else 1,
        q=1,
        dist="t",
        rescale=False,
    )
    with warnings.catch_warnings():
        # The optimiser warns on the way; what counts is how the result forecasts.
        warnings.simplefilter("ignore")
        fitted: Any = model.fit(disp="off", show_warning=False).params
    return Garch(
        kind=kind,
        mu=float(fitted["mu"]),
        omega=float(fitted["omega"]),
        alpha=float(fitted["alpha[1]"]),
        gamma=float(fitted.get("gamma[1]", 0.0)),
        beta=float(fitted["beta[1]"]),
        nu=float(fitted["nu"]),
    )


def next_variance(model: Garch, variance: Floats, shock: Floats) -> Floats:
    """Variance of the day after one with `variance` and residual `shock`, of one shape."""
    if model.kind == "egarch":
        z = shock / np.sqrt(variance)
        log_next = model.omega + model.alpha * (np.abs(z) - MEAN_ABS_NORMAL) + model.gamma * z
        log_next = log_next + model.beta * np.log(variance)
        return np.exp(np.clip(log_next, LEAST_LOG_VARIANCE, LARGEST_LOG_VARIANCE))
    squared = np.square(shock)
    down = model.gamma * squared * (shock < 0)
    return np.asarray(model.omega + model.alpha * squared + down + model.beta * variance)


def filter_variance(model: Garch, log_returns: Floats) -> Floats:
    """Variance (percent squared) of each of n days and of the day after the last: (n + 1,).

    Element i depends on the first i returns, and through the starting value on the first 75.
    """
    shocks = PERCENT * log_returns - model.mu
    weights = 0.94 ** np.arange(min(BACKCAST_DAYS, len(shocks)))
    start = np.sum(weights * np.square(shocks[: len(weights)])) / np.sum(weights)
    variance = np.empty(len(shocks) + 1)
    variance[0] = next_variance(model, np.asarray(start), np.asarray(0.0))
    if model.kind != "egarch":
        variance[0] += (model.alpha + 0.5 * model.gamma) * start
    state = variance[0]
    for day, shock in enumerate(shocks):
        state = next_variance(model, state, shock)
        variance[day + 1] = state
    return variance


def predict_garch(
    model: Garch,
    log_returns: Floats,
    origins: NDArray[np.intp],
    scales: Floats,
    *,
    levels: tuple[float, ...],
    seed: int,
) -> Floats:
    """Quantiles (n, horizon, n_levels) of cumulative log returns from `origins`.

    `log_returns` (n_rows,): row t is ln(close_t / close_{t-1}), row 0 is not read. Step 1 is exact;
    later steps come from simulated paths whose shocks are stratified, the same equally likely
    points permuted anew each day, so that few paths do. `scales` (n, horizon): what the return of
    each day ahead is multiplied by; ones, but for a model of returns divided by such scales.
    """
    variance = filter_variance(model, log_returns[1 : int(np.max(origins)) + 1])[origins]
    unit = np.sqrt((model.nu - 2) / model.nu)
    horizon = scales.shape[1]
    quantiles = np.empty((len(origins), horizon, len(levels)))
    quantiles[:, 0] = model.mu + np.sqrt(variance)[:, None] * stdtrit(model.nu, levels) * unit
    quantiles[:, 0] *= scales[:, :1]
    if horizon > 1:
        shocks = stdtrit(model.nu, (np.arange(N_PATHS) + 0.5) / N_PATHS) * unit
        for i, start in enumerate(variance):
            rng = np.random.default_rng((seed, int(origins[i])))
            paths = _simulate(model, start, shocks, scales[i], rng)
            quantiles[i, 1:] = np.quantile(paths[1:], levels, axis=1).T
    return quantiles / PERCENT


def _simulate(
    model: Garch, variance: float, shocks: Floats, scales: Floats, rng: np.random.Generator
) -> Floats:
    """Cumulative percent returns (horizon, n_paths), each day's multiplied by its scale."""
    state = np.full(len(shocks), variance)
    daily = np.empty((len(scales), len(shocks)))
    for step, scale in enumerate(scales):
        shock = np.sqrt(state) * rng.permutation(shocks)
        daily[step] = scale * (model.mu + shock)
        state = next_variance(model, state, shock)
    return np.cumsum(daily, axis=0)
