"""Walk-forward: a recipe fitted again along the way; each fold forecasts the days after its fit.

The holdout of a retrain is one such fold.
"""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.config.judging import Judging
from models.config.recipe import Chunks, Recipe
from models.errors import InputError
from models.forecasters.fit import fit_forecaster, fit_forecasters
from models.forecasters.forecaster import Forecaster
from models.forecasters.frame import make_predictions
from models.learning.prepare import prepare
from models.learning.scale_regression import ScaleRegression, fit_scale_regression
from models.learning.splits import MIN_SPAN, Span, holdout_split, span_split

FOLDS_A_GROUP = 4
DEFAULT_DAYS = 730


def find_origins(days: list[dt.date], start: dt.date | None) -> range:
    """Rows of the origins of a backtest: the day before `start`, or two years back, and all after.

    `days`: the candles' days, without a gap; the last of them has nothing to forecast. Raises
    InputError for a start outside of them.
    """
    first_day = start or days[-1] - dt.timedelta(days=DEFAULT_DAYS - 1)
    first = sum(day < first_day for day in days) - 1
    if first < 0 or first_day > days[-1]:
        raise InputError(
            f"start: expected a day from {days[1]} to {days[-1]} (the candles given), "
            f"received {first_day}"
        )
    return range(first, len(days) - 1)


def make_spans(origins: range, *, refit_days: int, rolling_days: int | None) -> list[Span]:
    """Split the origins into folds of `refit_days`; training expands, or rolls over so many rows.

    Raises InputError where a fold has fewer rows to learn from than `MIN_SPAN`.
    """
    starts = [*range(origins.start, origins.stop, refit_days), origins.stop]
    spans = []
    for start, stop in pairwise(starts):
        first = 0 if rolling_days is None else max(0, start + 1 - rolling_days)
        spans.append(Span(range(first, start + 1), range(start, stop)))
    if len(spans[0].known) < MIN_SPAN:
        raise InputError(
            f"backtest: expected at least {MIN_SPAN} candles before the first origin, "
            f"received {len(spans[0].known)}; start later or give a longer history"
        )
    return spans


def group_spans(recipe: Recipe, spans: list[Span]) -> list[list[Span]]:
    """Folds that are fitted together: what a group holds does not depend on how many run at once.

    Recipes that train on chunks take up to four folds as one batched network, others one.
    """
    size = FOLDS_A_GROUP if isinstance(recipe.training, Chunks) else 1
    return [spans[i : i + size] for i in range(0, len(spans), size)]


def predict_group(
    recipe: Recipe, candles: pd.DataFrame, group: list[Span], regression_days: int = 30
) -> NDArray[np.float64]:
    """Fit a recipe on every fold of a group and forecast its origins.

    Returns quantiles (n_origins, horizon, n_levels) of cumulative log returns. What a fold's
    network learns from, scalers included, is known at its first origin. Its scale regression, which
    every retrain fits anew in a second, is fitted again after every `regression_days`.
    """
    candles = candles.iloc[: group[-1].origins.stop]
    folds = [prepare(recipe, candles, span_split(recipe, span)) for span in group]
    forecasters, _ = fit_forecasters(folds)
    parts = [
        _predict_span(forecaster, candles, span, regression_days)
        for forecaster, span in zip(forecasters, group, strict=True)
    ]
    return np.concatenate(parts)


def _predict_span(
    forecaster: Forecaster, candles: pd.DataFrame, span: Span, regression_days: int
) -> NDArray[np.float64]:
    regression = forecaster.regression
    refits: dict[int, ScaleRegression] = {}
    if regression is not None:
        for first in range(span.origins.start, span.origins.stop, regression_days)[1:]:
            known = candles.iloc[span.known.start : first + 1]
            regression = fit_scale_regression(known, forecaster.recipe.horizon, regression)
            refits[first] = regression
    return forecaster.predict(candles, span.origins, refits).quantiles


def predict_holdout(recipe: Recipe, candles: pd.DataFrame, judging: Judging) -> pd.DataFrame:
    """Fit the holdout model of a recipe and forecast the test origins: its predictions frame."""
    prepared = prepare(recipe, candles, holdout_split(recipe, judging))
    forecaster, _ = fit_forecaster(prepared)
    test = prepared.fold.test
    forecast = forecaster.predict(candles, test)
    return make_predictions(recipe.name, candles, test, forecast.quantiles, forecast.levels)
