"""The twin of a serving model: the same recipe, judged on days that it was not trained on.

The serving model is the recipe refitted on every candle up to `as_of`. Its twin is the recipe
fitted on the training fold, whose targets all end before the first test origin's. Decisions look
at the last of the test origins, the same ones for challenger and champion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from models import metrics
from models.companions import make_companions
from models.compare import diebold_mariano
from models.config import Judging
from models.evaluation import central_band, levels_of, quantile_column
from models.features import make_features, usable_features
from models.forecast import make_predictions
from models.forecaster import Forecaster, OnEpoch, fit_forecaster
from models.judge import judged_fold
from models.recipe import Recipe
from models.scaler import fit_scalers
from models.splits import Fold, make_serving_fold
from models.windows import WindowSet, first_usable_row, make_future, make_targets


def fit_serving(
    recipe: Recipe,
    candles: pd.DataFrame,
    on_epoch: OnEpoch,
    *,
    companions: Sequence[pd.DataFrame] = (),
    start: keras.Model | None = None,
) -> tuple[Forecaster, dict[str, list[float]]]:
    """Refit a recipe on all candles, and on its `companions`' up to the last training day.

    A recipe that stops early, or whose head takes its error quantiles from the validation part,
    keeps that part out of the weights; any other learns from all but the last ten origins.
    `start`: the network whose weights it goes on from, or None. Returns the forecaster and the
    losses by epoch.
    """

    validated = recipe.patience > 0 or recipe.head == "point"

    def split(n_rows: int, first_row: int) -> Fold:
        return make_serving_fold(
            n_rows,
            first_row=first_row,
            lookback=recipe.lookback,
            horizon=recipe.horizon,
            validation_share=recipe.validation_share if validated else 0.0,
        )

    forecaster, losses, _ = _fit(recipe, candles, split, on_epoch, companions, start)
    return forecaster, losses


def predict_twin(
    recipe: Recipe,
    candles: pd.DataFrame,
    judging: Judging,
    *,
    companions: Sequence[pd.DataFrame] = (),
    start: keras.Model | None = None,
) -> pd.DataFrame:
    """Fit the twin of a recipe and forecast the test origins: its long predictions frame.

    `companions` teach up to its last training day. `start`: for a recipe that starts warm, a
    network that knows none of the test days.
    """

    def split(n_rows: int, first_row: int) -> Fold:
        return judged_fold(recipe, judging, n_rows, first_row)

    twin, _, fold = _fit(recipe, candles, split, lambda epoch, losses: None, companions, start)
    close = candles["close"].to_numpy(dtype=np.float64)
    future = make_future(close, recipe.horizon)[fold.test.start : fold.test.stop]
    return make_predictions(recipe.name, twin.predict(candles, fold.test), future)


def score_origins(predictions: pd.DataFrame, model: str) -> pd.DataFrame:
    """Score every origin and step of one model: origin, step, crps_bp, inside_90 (0 or 1).

    `predictions` as in models/evaluation.py. A forecast that is not finite scores NaN.
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
    origin's loss is the mean over its steps; the test counts the overlap of the longest.
    """
    both = ours.merge(theirs, on=["origin", "step"], suffixes=("_ours", "_theirs"))
    if both.empty:
        return {"n_shared": 0, "challenger_crps_bp": None, "crps_bp": None, "dm_p": None}
    losses = both.groupby("origin")[["crps_bp_ours", "crps_bp_theirs"]].mean()
    a, b = (losses[name].to_numpy(np.float64) for name in losses)
    steps = int(both["step"].max())
    p: float | None = None
    if len(losses) > 2 * steps and np.isfinite([a, b]).all():
        value = diebold_mariano(a, b, step=steps).p
        p = None if np.isnan(value) else value
    return {
        "n_shared": len(losses),
        "challenger_crps_bp": float(a.mean()),
        "crps_bp": float(b.mean()),
        "dm_p": p,
    }


def _fit(
    recipe: Recipe,
    candles: pd.DataFrame,
    split: Callable[[int, int], Fold],
    on_epoch: OnEpoch,
    companions: Sequence[pd.DataFrame],
    start: keras.Model | None,
) -> tuple[Forecaster, dict[str, list[float]], Fold]:
    names, _ = usable_features(recipe.features, tuple(candles.columns))
    features = make_features(candles, names)
    close = candles["close"].to_numpy(dtype=np.float64)
    targets = make_targets(close, recipe.horizon, recipe.target)
    fold = split(len(candles), first_usable_row(features, recipe.target))
    scalers = fit_scalers(recipe, features, targets, fold)
    windows = WindowSet(
        scalers.features.scale(features), scalers.targets.scale(targets), recipe.lookback, fold
    )
    last_day = candles["open_time"].iloc[fold.train_rows[-1]]
    others = make_companions(recipe, names, companions, scalers, last_day)
    forecaster, losses = fit_forecaster(
        recipe, names, windows, scalers, close, on_epoch, companions=others, start=start
    )
    return forecaster, losses, fold
