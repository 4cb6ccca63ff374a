"""From candles to the arrays that a network learns from: the one way, for every fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.config.recipe import Recipe
from models.learning.features import make_features, usable_features
from models.learning.scale_regression import (
    ScaleRegression,
    fit_scale_regression,
    predict_scale,
    scale_inputs,
)
from models.learning.scaler import Scalers, fit_scalers
from models.learning.splits import Fold
from models.learning.windows import WindowSet, first_usable_row, make_targets

Split = Callable[[int, int], Fold]
"""Gives the fold of so many candle rows, whose features are complete from a row on."""


@dataclass(frozen=True)
class Prepared:
    """Candles in the network's units, split into the parts of a fold.

    `features` (n, n_features) and `targets` (n, horizon) are scaled, a row a candle, NaN where a
    row has none. `candles` are the n candles, `first_row` is the first with complete features;
    `regression` is that whose scale the targets are divided by, None for other targets.
    """

    recipe: Recipe
    candles: pd.DataFrame
    feature_names: tuple[str, ...]
    left_out: tuple[str, ...]
    first_row: int
    fold: Fold
    scalers: Scalers
    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    regression: ScaleRegression | None = None

    @property
    def close(self) -> NDArray[np.float64]:
        """Closes (n,), USD."""
        return self.candles["close"].to_numpy(dtype=np.float64)

    @property
    def windows(self) -> WindowSet:
        """The windows of the past, views on `features`, and their targets."""
        return WindowSet(self.features, self.targets, self.recipe.lookback, self.fold)


def prepare(recipe: Recipe, candles: pd.DataFrame, split: Split) -> Prepared:
    """Make features and targets, split them, and scale them by the fold's training rows.

    Raises InputError where the candles give none of the features or are too few for the split.
    """
    names, left_out = usable_features(recipe.features, tuple(candles.columns))
    features = make_features(candles, names)
    close = candles["close"].to_numpy(dtype=np.float64)
    first_row = first_usable_row(features, recipe.target)
    fold = split(len(candles), first_row)
    regression = None
    if recipe.target == "rescaled_return":
        known = candles.iloc[fold.history.start : fold.history.stop]
        regression = fit_scale_regression(known, recipe.horizon)
        scale = predict_scale(regression, scale_inputs(candles, regression.columns))
        targets = make_targets(close, recipe.horizon, "log_return") / scale
    else:
        targets = make_targets(close, recipe.horizon, recipe.target)
    scalers = fit_scalers(recipe, features, targets, fold)
    return Prepared(
        recipe=recipe,
        candles=candles,
        feature_names=names,
        left_out=left_out,
        first_row=first_row,
        fold=fold,
        scalers=scalers,
        features=scalers.features.scale(features),
        targets=scalers.targets.scale(targets),
        regression=regression,
    )
