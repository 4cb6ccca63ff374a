"""Walk-forward backtest: recipes and baselines refitted along the way, each origin scored once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.chunks import ChunkData
from models.companions import make_companions
from models.errors import InputError
from models.evaluation import quantile_column
from models.features import make_features, usable_features
from models.forecast import Forecast
from models.forecaster import Forecaster, fit_forecaster, fit_forecasters
from models.metrics import crps_from_quantiles
from models.recipe import Recipe
from models.scaler import Scalers, fit_scalers
from models.splits import MAX_VALIDATION, Fold
from models.windows import WindowSet, first_usable_row, make_future, make_targets

EVEN_LEVELS = tuple(round(0.01 * i, 2) for i in range(1, 100))
LEVELS = tuple(sorted({*EVEN_LEVELS, 0.025, 0.975}))
"""The percentiles, and the ends of the 95 % band; CRPS is taken over the percentiles."""

FOLDS_A_GROUP = 4
MIN_TRAIN_ORIGINS = 200


@dataclass(frozen=True)
class Span:
    """One fold of the walk: rows that may be known when it is fitted, and origins it is asked.

    `known` ends with the first origin itself, whose close is known then.
    """

    known: range
    origins: range


def make_spans(origins: range, *, refit_days: int, rolling_days: int | None) -> list[Span]:
    """Split the origins into folds of `refit_days`; training expands, or rolls over so many rows.

    Raises InputError where a fold has fewer rows to learn from than `MIN_TRAIN_ORIGINS`.
    """
    starts = [*range(origins.start, origins.stop, refit_days), origins.stop]
    spans = []
    for start, stop in pairwise(starts):
        first = 0 if rolling_days is None else max(0, start + 1 - rolling_days)
        spans.append(Span(range(first, start + 1), range(start, stop)))
    if len(spans[0].known) < MIN_TRAIN_ORIGINS:
        raise InputError(
            f"backtest: expected at least {MIN_TRAIN_ORIGINS} candles before the first origin, "
            f"received {len(spans[0].known)}; start later or give a longer history"
        )
    return spans


def group_spans(recipe: Recipe, spans: list[Span]) -> list[list[Span]]:
    """Folds that are fitted together: what a group holds does not depend on how many run at once.

    Recipes that train on chunks take up to four folds as one batched network, others one.
    """
    size = FOLDS_A_GROUP if recipe.training == "chunks" else 1
    return [spans[i : i + size] for i in range(0, len(spans), size)]


def predict_group(
    recipe: Recipe,
    candles: pd.DataFrame,
    group: list[Span],
    companions: Mapping[str, pd.DataFrame],
) -> NDArray[np.float64]:
    """Fit a recipe on every fold of a group and forecast its origins.

    Returns quantiles (n_origins, horizon, n_levels) of cumulative log returns. What a fold learns
    from, scalers and companions included, is known at its first origin.
    """
    candles = candles.iloc[: group[-1].origins.stop]
    names, _ = usable_features(recipe.features, tuple(candles.columns))
    values = make_features(candles, names)
    close = candles["close"].to_numpy(dtype=np.float64)
    targets = make_targets(close, recipe.horizon, recipe.target)
    folds = [_make_fold(recipe, span, first_usable_row(values, recipe.target)) for span in group]
    scalers = [fit_scalers(recipe, values, targets, fold) for fold in folds]
    if recipe.training == "windows":
        forecasters = [
            _fit_on_windows(recipe, names, values, targets, close, fold, scaler)
            for fold, scaler in zip(folds, scalers, strict=True)
        ]
    else:
        data = []
        for span, fold, scaler in zip(group, folds, scalers, strict=True):
            last_day = candles["open_time"].iloc[span.known[-1]]
            data.append(
                ChunkData(
                    features=scaler.features.scale(values),
                    targets=scaler.targets.scale(targets),
                    train=fold.train,
                    validation=fold.validation if recipe.patience else None,
                    companions=make_companions(
                        recipe, names, companions.values(), scaler, last_day
                    ),
                )
            )
        closes = [close[span.known.start : span.known.stop] for span in group]
        forecasters = fit_forecasters(recipe, names, data, scalers, closes)
    parts = [
        forecaster.predict(candles, span.origins).quantiles
        for forecaster, span in zip(forecasters, group, strict=True)
    ]
    return np.concatenate(parts)


def _make_fold(recipe: Recipe, span: Span, first_row: int) -> Fold:
    """Train and validate on the known rows; the last target is the first origin's own close.

    Without `patience` and with a distribution for output nothing needs a validation part, and all
    known rows train.
    """
    first = max(span.known.start, first_row) + recipe.lookback - 1
    known_stop = span.known.stop - recipe.horizon
    if known_stop - first < MIN_TRAIN_ORIGINS // 2:
        raise InputError(
            f"backtest: {len(span.known)} candles before origin {span.origins.start} are too few "
            f"for lookback {recipe.lookback} and horizon {recipe.horizon}; start later"
        )
    validates = recipe.patience > 0 or recipe.head == "point"
    share = int(recipe.validation_share * (known_stop - first))
    length = min(share, MAX_VALIDATION) if validates else 0
    train_stop = known_stop - length - (recipe.horizon - 1 if validates else 0)
    return Fold(
        train=range(first, train_stop),
        validation=range(known_stop - length, known_stop),
        test=span.origins,
        train_rows=range(max(span.known.start, first_row), train_stop + recipe.horizon),
    )


def _fit_on_windows(
    recipe: Recipe,
    names: tuple[str, ...],
    values: NDArray[np.float64],
    targets: NDArray[np.float64],
    close: NDArray[np.float64],
    fold: Fold,
    scalers: Scalers,
) -> Forecaster:
    features, scaled = scalers.features.scale(values), scalers.targets.scale(targets)
    windows = WindowSet(features, scaled, recipe.lookback, fold)
    forecaster, _ = fit_forecaster(
        recipe, names, windows, scalers, close, lambda epoch, losses: None
    )
    return forecaster


def make_scored(
    name: str,
    candles: pd.DataFrame,
    origins: range,
    quantiles: NDArray[np.float64],
    levels: tuple[float, ...] = LEVELS,
) -> pd.DataFrame:
    """One row an origin and step whose outcome the candles hold, with its CRPS.

    Columns: recipe, origin, target_date, step, close_origin, actual, actual_usd, crps, crps_usd and
    a column a quantile level. `actual`, `crps` and the quantiles are cumulative log returns.
    """
    rows = slice(origins.start, origins.stop)
    close = candles["close"].to_numpy(dtype=np.float64)
    horizon = quantiles.shape[1]
    forecast = Forecast(
        origins=pd.DatetimeIndex(candles["open_time"].iloc[rows]),
        close=close[rows],
        quantiles=quantiles,
        levels=levels,
    )
    frame = forecast.to_frame()
    actual_usd = make_future(close, horizon)[rows].reshape(-1)
    frame.insert(0, "recipe", name)
    frame.insert(5, "actual", np.log(actual_usd / frame["close_origin"].to_numpy()))
    frame.insert(6, "actual_usd", actual_usd)
    frame = frame[np.isfinite(frame["actual"])].reset_index(drop=True)
    even = tuple(level for level in levels if level in EVEN_LEVELS)
    columns = [quantile_column(level) for level in even]
    matrix = frame[columns].to_numpy(dtype=np.float64)
    usd = frame["close_origin"].to_numpy()[:, None] * np.exp(matrix)
    frame.insert(7, "crps", crps_from_quantiles(frame["actual"], matrix, even))
    frame.insert(8, "crps_usd", crps_from_quantiles(frame["actual_usd"], usd, even))
    return frame
