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


def compare_scores(ours: pd.DataFrame, theirs: pd.DataFrame, naive: pd.DataFrame) -> dict[str, Any]:
    """Scores of two models on the origins and steps that both have, and the DM p-value.

    A model's score is the mean over steps of its CRPS divided by naive's mean at that step, so that
    every horizon counts alike; in basis points the last days would be most of it. `naive`: naive's
    own scores, which the divisors are the means of. Gives `n_shared` origins, `challenger_score`,
    `score` (theirs), `dm_t`, negative where the challenger is better, and the two-sided `dm_p`; the
    scores are None without a shared origin, the test where there are too few or they never differ.
    It counts the overlap of the longest step. A forecast that was not finite has no score and is
    left out for both.
    """
    both = ours.merge(theirs, on=["origin", "step"], suffixes=("_ours", "_theirs"))
    divisors = both["step"].map(naive.groupby("step")["crps_bp"].mean())
    columns = ["crps_bp_ours", "crps_bp_theirs"]
    both[columns] = both[columns].div(divisors.where(divisors > 0), axis=0)
    both = both.dropna(subset=columns)
    found: dict[str, Any] = {"n_shared": 0, "challenger_score": None, "score": None}
    found |= {"dm_t": None, "dm_p": None}
    if both.empty:
        return found
    losses = both.groupby("origin")[columns].mean()
    a, b = (losses[name].to_numpy(np.float64) for name in columns)
    found |= {"n_shared": len(a), "challenger_score": float(a.mean()), "score": float(b.mean())}
    steps = int(both["step"].max())
    if len(losses) > 2 * steps:
        test = diebold_mariano(a, b, step=steps)
        if not np.isnan(test.p):
            found |= {"dm_t": test.t, "dm_p": test.p}
    return found
