"""The walk: folds, purge, one forecast an origin, nothing from the future, and honest outcomes."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from models.config.recipe import READS_BOTH_WAYS, Recipe
from models.data.sample import make_sample
from models.errors import InputError
from models.forecasters.baselines import Question, predict_baseline
from models.forecasters.fit import fit_forecaster
from models.forecasters.frame import make_predictions
from models.forecasters.walk_forward import (
    FOLDS_A_GROUP,
    group_spans,
    make_spans,
    predict_group,
)
from models.learning.prepare import prepare
from models.learning.scale_regression import fit_scale_regression
from models.learning.splits import span_split
from models.scoring.backtest import LEVELS
from models.scoring.metrics import with_crps
from models.scoring.significance import diebold_mariano

LAST_DAY = dt.date(2024, 12, 31)


def tiny(cell="gru", epochs=2):
    chunks = {"epochs": epochs, "chunk_days": 40, "updates_per_epoch": 3}
    windows = {"epochs": epochs, "patience": 0}
    return Recipe(
        cell=cell,
        units=4,
        lookback=8,
        horizon=3,
        members=2,
        quantile_levels=(0.05, 0.25, 0.5, 0.75, 0.95),
        training=windows if READS_BOTH_WAYS[cell] else chunks,
    )


def test_folds_cover_every_origin_once_and_know_nothing_later():
    spans = make_spans(range(300, 1000), refit_days=90, rolling_days=None)
    asked = [origin for span in spans for origin in span.origins]
    assert asked == list(range(300, 1000))
    assert all(span.known == range(span.origins.start + 1) for span in spans)
    rolling = make_spans(range(300, 1000), refit_days=90, rolling_days=250)
    assert all(len(span.known) == 250 for span in rolling)
    assert [span.known.stop for span in rolling] == [span.known.stop for span in spans]
    assert all(a.origins.stop == b.origins.start for a, b in pairwise(spans))


def test_too_short_a_past_is_refused():
    with pytest.raises(InputError, match="expected at least 200 candles"):
        make_spans(range(100, 200), refit_days=50, rolling_days=None)


def test_groups_hold_four_folds_or_one():
    spans = make_spans(range(300, 1000), refit_days=100, rolling_days=None)
    groups = group_spans(tiny(), spans)
    assert [len(group) for group in groups] == [FOLDS_A_GROUP, 3]
    assert [len(group) for group in group_spans(tiny("bigru"), spans)] == [1] * 7
    assert [span for group in groups for span in group] == spans


def test_a_regression_fitted_again_forecasts_as_a_forecaster_that_holds_it(candles):
    recipe = tiny(epochs=1)
    (span,) = make_spans(range(330, 342), refit_days=12, rolling_days=None)
    forecaster, _ = fit_forecaster(prepare(recipe, candles[:342], span_split(recipe, span)))
    first, again = 336, fit_scale_regression(candles[:337], 3, forecaster.regression)
    together = predict_group(recipe, candles, [span], 6)
    holds = replace(forecaster, regression=again)
    apart = [
        forecaster.predict(candles[:first], range(330, first)).quantiles,
        holds.predict(candles[:342], range(first, 342)).quantiles,
    ]
    np.testing.assert_allclose(together, np.concatenate(apart), rtol=0, atol=1e-7)
    assert np.abs(holds.predict(candles[:336]).quantiles - apart[0][-1]).max() > 1e-6


@pytest.mark.soak
@pytest.mark.parametrize("cell", tuple(READS_BOTH_WAYS))
def test_no_recipe_knows_a_later_candle(candles, cell):
    """The first origin is 330; what comes after a day changes no forecast up to that day."""
    recipe = tiny(cell, epochs=1)
    spans = make_spans(range(330, 350), refit_days=10, rolling_days=None)
    prices = ["open", "high", "low", "close"]
    for cut in (335,) if READS_BOTH_WAYS[cell] else (330, 335, 344):
        changed = candles.copy()
        factors = np.linspace(2, 9, len(candles) - cut - 1)[:, None]
        changed.loc[cut + 1 :, prices] = changed.loc[cut + 1 :, prices].to_numpy() * factors
        before, after = (
            np.concatenate([predict_group(recipe, frame, g, 4) for g in group_spans(recipe, spans)])
            for frame in (candles, changed)
        )
        assert before.shape == (20, 3, 5)
        known = cut - 330 + 1
        assert before[:known].tobytes() == after[:known].tobytes()
        assert not np.array_equal(before[known:], after[known:])


def quick(**more):
    """The default recipe for one step, small enough for many fits."""
    return Recipe(horizon=1, members=1, units=16, blend=0.0, quantile_levels=LEVELS, **more)


def forecast_last(candles, n, recipe):
    origins = range(len(candles) - n - 1, len(candles) - 1)
    (group,) = group_spans(recipe, make_spans(origins, refit_days=n, rolling_days=None))
    quantiles = predict_group(recipe, candles, group)
    frame = with_crps(make_predictions("net", candles, origins, quantiles, LEVELS))
    return origins, frame


@pytest.mark.slow
def test_on_a_random_walk_no_median_beats_naive_more_often_than_chance():
    significant = 0
    for seed in range(20):
        candles = make_sample(LAST_DAY, n_days=900, seed=100 + seed, variant="random-walk")
        _, frame = forecast_last(candles, 300, quick(training={"epochs": 3}, seed=seed))
        ours = np.square(frame["actual"] - frame["q0.5"])
        test = diebold_mariano(ours, np.square(frame["actual"]), step=1)
        significant += test.t < 0 and test.p < 0.05
    assert significant <= 2


@pytest.mark.slow
def test_the_planted_signal_is_found():
    candles = make_sample(LAST_DAY, n_days=1500, variant="planted")
    _, frame = forecast_last(candles, 300, quick())
    ours = np.square(frame["actual"] - frame["q0.5"])
    test = diebold_mariano(ours, np.square(frame["actual"]), step=1)
    assert test.t < -4
    assert ours.mean() < 0.8 * np.mean(np.square(frame["actual"]))


def make_garch_candles(n, seed):
    """A GARCH(1,1) process with Student-t errors, as candles that have closes alone."""
    rng = np.random.default_rng(seed)
    state, returns = 9.0, []
    for z in rng.standard_t(5, n) * np.sqrt(3 / 5):
        returns.append(np.sqrt(state) * z)
        state = 0.3 + 0.1 * returns[-1] ** 2 + 0.87 * state
    days = pd.date_range("2012-01-01", periods=n, tz="UTC", unit="us")
    return pd.DataFrame({"open_time": days, "close": 1e4 * np.exp(np.cumsum(returns) / 100)})


@pytest.mark.slow
def test_where_garch_is_the_truth_the_network_does_not_win_and_is_calibrated():
    candles = make_garch_candles(3000, 5)
    origins, net = forecast_last(candles, 1200, Recipe(horizon=1, quantile_levels=LEVELS))
    quantiles = predict_baseline("garch", Question(candles, origins, 1, LEVELS))
    garch = with_crps(make_predictions("garch", candles, origins, quantiles, LEVELS))
    test = diebold_mariano(net["crps_bp"], garch["crps_bp"], step=1)
    assert test.t > -2
    assert net["crps_bp"].mean() < 1.02 * garch["crps_bp"].mean()
    inside = net["actual"].between(net["q0.05"], net["q0.95"])
    assert 0.88 <= inside.mean() <= 0.92
