"""Scores that a promotion is decided by: challenger and champion on the same origins.

The serving model is trained on every candle, and no candle is left to score it on. What is scored
is the holdout model: the same recipe, trained on the days before the first test origin's target.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from models.forecasters.frame import central_band, levels_of
from models.scoring.metrics import with_crps
from models.scoring.significance import diebold_mariano


def score_origins(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """Score every origin and step of one model: origin, step, crps_bp, inside_90 (0 or 1).

    `predictions` as in forecasters/frame.py. A forecast that is not finite scores NaN. Raises
    ValueError where the levels have no 90 % band.
    """
    rows = predictions[predictions["model"] == model].sort_values(["origin", "step"])
    band = central_band(0.9, levels_of(rows))
    if band is None:
        raise ValueError(f"expected the levels 0.05 and 0.95, received {levels_of(rows)}")
    scored = with_crps(rows)[["origin", "step", "crps_bp"]].reset_index(drop=True)
    low, high = (rows[name].to_numpy(np.float64) for name in band)
    actual = rows["actual"].to_numpy(np.float64)
    return scored.assign(inside_90=((low <= actual) & (actual <= high)).astype("int64"))


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
