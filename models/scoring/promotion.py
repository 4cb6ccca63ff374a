"""Scores that a promotion is decided by: challenger and champion on the same origins.

What serves is trained on every candle, and cannot be judged on any of them. What is scored is the
holdout model: the same recipe, trained on the days before the first test origin's target.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from models.forecasters.frame import central_band, levels_of, quantile_column
from models.scoring import metrics
from models.scoring.significance import diebold_mariano


def score_origins(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """Score every origin and step of one model: origin, step, crps_bp, inside_90 (0 or 1).

    `predictions` as in models/scoring/holdout.py. A forecast that is not finite scores NaN.
    """
    rows = predictions[predictions["model"] == model].sort_values(["origin", "step"])
    levels = levels_of(rows)
    quantiles = rows[[quantile_column(level) for level in levels]].to_numpy(np.float64)
    actual = rows["actual"].to_numpy(np.float64)
    finite = np.isfinite(quantiles).all(axis=1)
    crps = np.full(len(rows), np.nan)
    if finite.any():
        crps[finite] = metrics.crps_from_quantiles(actual[finite], quantiles[finite], levels)
    band = central_band(0.9, levels)
    if band is None:
        raise ValueError(f"quantile_levels: expected 0.05 and 0.95 among them, received {levels}")
    low, high = (rows[name].to_numpy(np.float64) for name in band)
    return pd.DataFrame(
        {
            "origin": rows["origin"].to_numpy(),
            "step": rows["step"].to_numpy(),
            "crps_bp": 1e4 * crps,
            "inside_90": ((low <= actual) & (actual <= high)).astype("int64"),
        }
    )


def last_origins(scores: pd.DataFrame, n: int) -> pd.DataFrame:
    """Keep the scores of the last `n` origins."""
    kept = np.sort(scores["origin"].unique())[-n:]
    return scores[scores["origin"].isin(kept)].reset_index(drop=True)


def compare_scores(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Any]:
    """Mean CRPS of two models on the origins and steps that both have, and the DM p-value.

    Gives `n_shared` origins, `challenger_crps_bp`, `crps_bp` (theirs) and `dm_p`; the means are
    None without a shared origin, the p-value where there are too few or they never differ. An
    origin's loss is the mean over its steps; the test counts the overlap of the longest. A forecast
    that was not finite has no score and is left out for both.
    """
    both = ours.merge(theirs, on=["origin", "step"], suffixes=("_ours", "_theirs"))
    both = both.dropna(subset=["crps_bp_ours", "crps_bp_theirs"])
    if both.empty:
        return {"n_shared": 0, "challenger_crps_bp": None, "crps_bp": None, "dm_p": None}
    losses = both.groupby("origin")[["crps_bp_ours", "crps_bp_theirs"]].mean()
    a, b = (losses[name].to_numpy(np.float64) for name in losses)
    steps = int(both["step"].max())
    p: float | None = None
    if len(losses) > 2 * steps:
        value = diebold_mariano(a, b, step=steps).p
        p = None if np.isnan(value) else value
    return {
        "n_shared": len(losses),
        "challenger_crps_bp": float(a.mean()),
        "crps_bp": float(b.mean()),
        "dm_p": p,
    }
