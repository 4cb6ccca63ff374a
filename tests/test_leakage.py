"""Change everything after a day: nothing that is known on that day changes, to the last bit."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest

from models.config.data import Exogenous
from models.config.recipe import DEFAULT_LEVELS, READS_BOTH_WAYS, Target
from models.data.exogenous import join_series
from models.forecasters.baselines import naive_quantiles
from models.learning.features import FEATURES, make_features
from models.learning.scaler import fit_scalers
from models.learning.windows import make_targets

CELLS, TARGETS = tuple(READS_BOTH_WAYS), get_args(Target)
every_recipe = pytest.mark.parametrize(
    ("cell", "target"), [(cell, target) for cell in CELLS for target in TARGETS]
)


def change_after(candles: pd.DataFrame, row: int) -> pd.DataFrame:
    """Put other values in every column of the rows after `row`."""
    columns = candles.columns.drop("open_time")
    noise = np.random.default_rng(3).uniform(1.5, 9, (len(candles), len(columns)))
    noise[: row + 1] = 1
    changed = candles.assign(
        **{name: candles[name] * noise[:, i] for i, name in enumerate(columns)}
    )
    assert (changed[columns][row + 1 :] != candles[columns][row + 1 :]).all(axis=None)
    assert changed[: row + 1].equals(candles[: row + 1])
    return changed


def same(left, right):
    return np.asarray(left).tobytes() == np.asarray(right).tobytes()


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("origin", [0, 1, 29, 30, 200, 398])
def test_a_feature_knows_no_later_candle(candles, name, origin):
    before = make_features(candles, (name,))
    after = make_features(change_after(candles, origin), (name,))
    assert same(before[: origin + 1], after[: origin + 1])
    # The calendar alone is no secret.
    assert same(before, after) == name.startswith("next_is_")


@pytest.mark.parametrize("origins", [range(260, 300), range(300, 301)])
def test_naive_quantiles_know_no_later_candle(candles, origins):
    last = origins.stop - 1
    quantiles = [
        naive_quantiles(frame["close"].to_numpy(), origins, 3, DEFAULT_LEVELS)
        for frame in (candles, change_after(candles, last), change_after(candles, last - 1))
    ]
    assert same(quantiles[0], quantiles[1])
    # The origin's own close is known to it.
    assert same(quantiles[0][:-1], quantiles[2][:-1])
    assert not same(quantiles[0][-1], quantiles[2][-1])


@pytest.mark.parametrize("target", TARGETS)
def test_scalers_and_training_windows_know_training_rows_alone(
    candles, run_stages, tiny_recipe, target
):
    recipe = tiny_recipe("lstm", target)
    stages = run_stages(candles, recipe)
    fold = stages.prepared.fold
    last = fold.train_rows.stop - 1
    changed = run_stages(change_after(candles, last), recipe)
    assert changed.prepared.fold == fold
    assert changed.prepared.scalers.to_dict() == stages.prepared.scalers.to_dict()
    for part in ("x", "y"):
        ours, theirs = getattr(stages.windows, part), getattr(changed.windows, part)
        assert same(ours(fold.train), theirs(fold.train))
        assert not same(ours(fold.validation), theirs(fold.validation))
    # The last training row itself is used: one row earlier and all is different.
    earlier = run_stages(change_after(candles, last - 1), recipe)
    assert earlier.prepared.scalers.to_dict() != stages.prepared.scalers.to_dict()
    assert not same(earlier.windows.y(fold.train), stages.windows.y(fold.train))


@pytest.mark.slow
@every_recipe
def test_training_and_forecasts_know_no_later_candle(
    candles, run_stages, tiny_recipe, fitted, cell, target
):
    """Weights and errors end with the last validation target, forecasts with the origin."""
    stages, forecaster = fitted(cell, target)
    fold = stages.prepared.fold
    last_target = fold.validation.stop - 1 + stages.config.recipe.horizon
    assert last_target <= fold.test.start
    altered = change_after(candles, last_target)
    again = run_stages(altered, tiny_recipe(cell, target)).fit()[0]
    for ours, theirs in zip(
        forecaster.network.get_weights(), again.network.get_weights(), strict=True
    ):
        assert same(ours, theirs)
    assert same(forecaster.errors, again.errors)

    origins = range(300, last_target + 1)
    assert same(
        forecaster.predict(candles, origins).quantiles, again.predict(altered, origins).quantiles
    )
    # And the origin itself is used.
    nearer = forecaster.predict(change_after(candles, last_target - 1), origins).quantiles
    assert same(nearer[:-1], forecaster.predict(candles, origins).quantiles[:-1])
    assert not same(nearer[-1], forecaster.predict(candles, origins).quantiles[-1])


@pytest.mark.slow
def test_forecasts_know_no_later_value_of_an_exogenous_series(candles, run_stages, tiny_recipe):
    """The series after origin - lag may be anything; that of origin - lag itself is used."""
    asked = Exogenous(name="mood", path="mood.csv", lag_days=2)
    series = candles[["open_time"]].assign(value=np.sin(np.arange(len(candles))))
    recipe = tiny_recipe(features=("log_return", asked.feature))
    joined, _ = join_series(candles, series, asked)
    forecaster = run_stages(joined, recipe).fit()[0]
    row = 350
    for last, expected in ((row - 2, True), (row - 3, False)):
        changed = series.assign(value=series["value"].where(series.index <= last, 99.0))
        altered, _ = join_series(candles, changed, asked)
        origin = range(row, row + 1)
        ours, theirs = (forecaster.predict(f, origin).quantiles for f in (joined, altered))
        assert same(ours, theirs) == expected


@pytest.mark.slow
def test_weights_know_training_rows_alone_without_early_stopping(candles, run_stages, tiny_recipe):
    recipe = tiny_recipe(training={"patience": 0})
    stages = run_stages(candles, recipe)
    last = stages.prepared.fold.train_rows.stop - 1
    weights = [
        run_stages(frame, recipe).fit()[0].network.get_weights()
        for frame in (candles, change_after(candles, last), change_after(candles, last - 1))
    ]
    assert all(map(same, weights[0], weights[1]))
    assert not any(map(same, weights[0], weights[2]))


def test_the_classroom_recipe_does_leak(candles, run_stages, tiny_recipe):
    """The same question to the recipe that is kept to show the mistake: this is how it is seen."""
    recipe = tiny_recipe(preset="assignment", target="price")
    assert recipe.reproduction
    stages = run_stages(candles, recipe)
    fold = stages.prepared.fold
    changed = change_after(candles, fold.train_rows.stop - 1)
    scalers = []
    for frame in (candles, changed):
        features = make_features(frame, ("close",))
        targets = make_targets(frame["close"].to_numpy(), recipe.horizon, recipe.target)
        scalers.append(fit_scalers(recipe, features, targets, fold).to_dict())
    assert scalers[0] != scalers[1]
    assert not same(stages.windows.x(fold.train), run_stages(changed, recipe).windows.x(fold.train))
