"""The search for a better recipe: its days, its folds, and the score of one trial.

Every trial is scored by walk-forward on days that end before the first test origin of the holdout,
so that the test days stay unseen by whatever wins.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.config.flows import Search
from models.config.judging import Judging
from models.config.recipe import Recipe
from models.errors import InputError
from models.forecasters.baselines import naive_quantiles
from models.forecasters.frame import make_predictions
from models.learning.features import make_features, usable_features
from models.learning.splits import MIN_SPAN, Span, holdout_split, naive_first_origin
from models.learning.windows import first_usable_row
from models.scoring.metrics import with_crps


def find_first_test_row(
    base: Recipe, candles: pd.DataFrame, judging: Judging, lookbacks: tuple[int, int]
) -> int:
    """First row that a retrain is tested from, of any recipe with `lookbacks` from to."""
    names, _ = usable_features(base.features, tuple(candles.columns))
    first_row = first_usable_row(make_features(candles, names), base.target)
    return min(
        holdout_split(base.model_copy(update={"lookback": length}), judging)(
            len(candles), first_row
        ).test.start
        for length in lookbacks
    )


def make_folds(n_rows: int, horizon: int, search: Search) -> list[Span]:
    """Folds whose every outcome lies in the `n_rows` rows before the first test origin.

    Raises InputError where they leave too few rows to learn from.
    """
    from models.forecasters.walk_forward import make_spans  # loads TensorFlow

    stop = n_rows - horizon
    start = stop - search.folds * search.fold_days
    least = max(MIN_SPAN, naive_first_origin(horizon))
    if start < least:
        raise InputError(
            f"search: {search.folds} folds of {search.fold_days} days leave "
            f"{max(start, 0)} of the {n_rows} candles before the first test day to learn from, "
            f"expected {least}; ask for fewer folds or days a fold, or give a longer history"
        )
    return make_spans(range(start, stop), refit_days=search.fold_days, rolling_days=None)


def score_fold(recipe: Recipe, candles: pd.DataFrame, span: Span) -> float:
    """Fit a recipe on a fold and score it: its CRPS over naive's, every step counted alike.

    Infinite where a forecast is not finite, as of a network that diverged.
    """
    from models.forecasters.walk_forward import predict_group  # loads TensorFlow

    levels, close = recipe.quantile_levels, candles["close"].to_numpy(dtype=np.float64)
    ours = predict_group(recipe, candles, [span], regression_days=len(span.origins))
    naive = naive_quantiles(close, span.origins, recipe.horizon, levels)
    mean, divisor = (
        with_crps(make_predictions(name, candles, span.origins, quantiles, levels))
        .groupby("step")["crps_bp"]
        .agg(lambda crps: crps.mean(skipna=False))
        for name, quantiles in (("ours", ours), ("naive", naive))
    )
    score = float((mean / divisor).mean(skipna=False))
    return score if np.isfinite(score) else float("inf")
