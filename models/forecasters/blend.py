"""The blend: a network's quantiles averaged with econometric and naive ones, step by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.forecasters.baselines import naive_quantiles
from models.forecasters.garch import Garch, predict_garch

Floats = NDArray[np.float64]

FADE = 0.7
"""What is known today about volatility fades by this factor a day; docs/experiments.md."""


def with_naive(both: Floats, naive: Floats) -> Floats:
    """Average what network and regression say with naive's, (n, horizon, n_levels) each.

    Step h has naive's share n = (1 - 0.7^(h-1)) / 3.
    """
    share = (1 - FADE ** np.arange(both.shape[1])[:, None]) / 3
    return np.asarray(share * naive + (1 - share) * both)


def egarch_quantiles(
    model: Garch,
    close: Floats,
    origins: range,
    *,
    horizon: int,
    levels: tuple[float, ...],
    seed: int,
) -> Floats:
    """Quantiles (n, horizon, n_levels) of EGARCH, whose share 0.7^(h-1) fades into naive's.

    The econometric half of versions made before the scale regression. `close` (n_rows,) are the
    closes of all rows up to the last origin at least. Raises ValueError when the first origin comes
    before `naive_first_origin`.
    """
    log_returns = np.diff(np.log(close), prepend=np.nan)
    rows = np.asarray(origins)
    ones = np.ones((len(rows), horizon))
    near = predict_garch(model, log_returns, rows, ones, levels=levels, seed=seed)
    far = naive_quantiles(close, origins, horizon, levels)
    share = FADE ** np.arange(horizon)[:, None]
    return np.asarray(share * near + (1 - share) * far)
