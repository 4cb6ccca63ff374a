"""Training companions: other symbols' candles that share the network while one is forecast."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from models.chunks import ChunkData
from models.features import make_features, needed_columns
from models.recipe import Recipe
from models.scaler import Scalers
from models.windows import first_usable_row, make_targets


def make_companions(
    recipe: Recipe,
    feature_names: tuple[str, ...],
    companions: Iterable[pd.DataFrame],
    scalers: Scalers,
    last_day: pd.Timestamp,
) -> tuple[ChunkData, ...]:
    """Make the training data of those companions that have enough to teach, see `make_companion`.

    A recipe that does not train on chunks has none.
    """
    if recipe.training != "chunks":
        return ()
    made = (make_companion(recipe, feature_names, c, scalers, last_day) for c in companions)
    return tuple(data for data in made if data is not None)


def make_companion(
    recipe: Recipe,
    feature_names: tuple[str, ...],
    candles: pd.DataFrame,
    scalers: Scalers,
    last_day: pd.Timestamp,
) -> ChunkData | None:
    """Make the training data of a companion from its candles up to `last_day`, that included.

    Features and targets are scaled as the forecast symbol's own. None where the companion's candles
    lack a feature or are fewer than a chunk up to that day.
    """
    known = candles[candles["open_time"] <= last_day].reset_index(drop=True)
    if len(known) < recipe.chunk_days or not needed_columns(feature_names) <= set(known.columns):
        return None
    values = make_features(known, feature_names)
    close = known["close"].to_numpy(dtype=np.float64)
    targets = make_targets(close, recipe.horizon, recipe.target)
    first = first_usable_row(values, recipe.target) + recipe.lookback - 1
    train = range(first, len(known) - recipe.horizon)
    if len(train) + recipe.lookback - 1 < recipe.chunk_days:
        return None
    return ChunkData(
        features=np.asarray(scalers.features.scale(values)),
        targets=scalers.targets.scale(targets),
        train=train,
    )
