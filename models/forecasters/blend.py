"""The econometric half of a blended forecast: EGARCH, which fades into naive's quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.forecasters.baselines import naive_quantiles
from models.forecasters.garch import Garch, predict_garch

FADE = 0.7
"""Share of EGARCH at step h is 0.7^(h-1): what it knows about today's volatility fades, and the
plain empirical quantiles of the last 250 days forecast a week better than it does."""


def econometric_quantiles(
    model: Garch,
    close: NDArray[np.float64],
    origins: range,
    *,
    horizon: int,
    levels: tuple[float, ...],
    seed: int,
) -> NDArray[np.float64]:
    """Quantiles (n, horizon, n_levels): EGARCH's averaged with naive's, see `FADE`.

    `close` (n_rows,) are the closes of all rows up to the last origin at least. Raises ValueError
    when the first origin comes before `naive_first_origin`.
    """
    log_returns = np.diff(np.log(close), prepend=np.nan)
    rows = np.asarray(origins)
    near = predict_garch(model, log_returns, rows, horizon=horizon, levels=levels, seed=seed)
    far = naive_quantiles(close, origins, horizon, levels)
    share = FADE ** np.arange(horizon)[:, None]
    return np.asarray(share * near + (1 - share) * far)
