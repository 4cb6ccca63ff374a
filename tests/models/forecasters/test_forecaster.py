"""The forecaster: what it says is the network's word, kept on disk and repeated to the last bit."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from models.config.recipe import READS_BOTH_WAYS, Target
from models.data.sample import make_sample
from models.errors import InputError
from models.forecasters.baselines import naive_quantiles
from models.forecasters.fit import complete_forecaster
from models.forecasters.forecaster import load_forecaster
from models.learning.scale_regression import predict_scale_regression, scale_inputs
from models.learning.windows import make_windows

CELLS, TARGETS = tuple(READS_BOTH_WAYS), get_args(Target)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("target", TARGETS)
def test_saving_keeps_every_bit(fitted, tmp_path, cell, target):
    stages, forecaster = fitted(cell, target)
    forecaster.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"recipe.json", "weights.npz"}
    again = load_forecaster(tmp_path)
    assert again.recipe == forecaster.recipe
    assert again.feature_names == forecaster.feature_names
    ours, theirs = (
        f.predict(stages.prepared.candles, range(260, 400)) for f in (forecaster, again)
    )
    assert ours.quantiles.tobytes() == theirs.quantiles.tobytes()
    # Whether loaded or trained, the weights are those that training left.
    assert not np.array_equal(ours.quantiles, np.zeros_like(ours.quantiles))


@pytest.mark.parametrize("target", ["log_return", "price"])
def test_the_median_is_the_network_s_output(fitted, target):
    stages, forecaster = fitted("gru", target)
    origins = range(300, 400)
    forecast = forecaster.predict(stages.prepared.candles, origins)
    levels = forecaster.recipe.quantile_levels
    assert forecast.quantiles.shape == (100, 3, len(levels))
    x = make_windows(np.asarray(stages.windows.features), 8)[293:393]
    output = forecaster.scalers.targets.unscale(np.asarray(forecaster.network(x)))
    close = stages.prepared.candles["close"].to_numpy()[300:400]
    expected = output if target == "log_return" else np.log(output / close[:, None])
    np.testing.assert_allclose(forecast.quantiles[:, :, levels.index(0.5)], expected, atol=1e-6)


@pytest.mark.parametrize("target", TARGETS)
def test_quantiles_are_sorted_and_in_usd_are_the_close_times_exp(fitted, target):
    stages, forecaster = fitted("lstm", target)
    forecast = forecaster.predict(stages.prepared.candles, range(390, 400))
    assert (np.diff(forecast.quantiles, axis=2) >= 0).all()
    close = stages.prepared.candles["close"].to_numpy()[390:]
    np.testing.assert_array_equal(forecast.close, close)
    for i in range(10):
        np.testing.assert_allclose(
            forecast.quantiles_usd[i], close[i] * np.exp(forecast.quantiles[i]), rtol=1e-15
        )
    assert forecast.origins.equals(pd.DatetimeIndex(stages.prepared.candles["open_time"][390:]))


def test_errors_are_the_quantiles_of_the_validation_errors_less_their_median(fitted):
    stages, forecaster = fitted("lstm", "log_return")
    part = stages.prepared.fold.validation
    middle = forecaster.recipe.quantile_levels.index(0.5)
    medians = forecaster.predict(stages.prepared.candles, part).quantiles[:, :, middle]
    log_close = np.log(stages.prepared.candles["close"].to_numpy())
    for step in (1, 2, 3):
        moves = np.array([log_close[t + step] - log_close[t] for t in part])
        errors = moves - medians[:, step - 1]
        expected = np.quantile(errors, forecaster.recipe.quantile_levels) - np.median(errors)
        np.testing.assert_allclose(forecaster.errors[step - 1], expected, atol=1e-6)


def test_the_last_candle_is_the_origin_if_none_is_given(fitted):
    stages, forecaster = fitted()
    before = stages.prepared.candles.copy(deep=True)
    forecast = forecaster.predict(stages.prepared.candles)
    pd.testing.assert_frame_equal(stages.prepared.candles, before)
    assert forecast.quantiles.shape[0] == 1
    last = forecaster.predict(stages.prepared.candles, range(399, 400))
    assert forecast.quantiles.tobytes() == last.quantiles.tobytes()
    frame = forecast.to_frame()
    assert list(frame["step"]) == [1, 2, 3]
    assert list(frame["target_date"].dt.strftime("%d %b")) == ["01 Jan", "02 Jan", "03 Jan"]
    assert (frame["origin"] == stages.prepared.candles["open_time"].iloc[-1]).all()


def test_too_few_candles_are_refused_and_just_enough_are_not(fitted):
    stages, forecaster = fitted()
    # 29 days until the volume ratio is known, then eight days of lookback.
    assert forecaster.predict(stages.prepared.candles.tail(37)).quantiles.shape[0] == 1
    with pytest.raises(InputError, match="too few candles"):
        forecaster.predict(stages.prepared.candles.tail(36))
    with pytest.raises(InputError, match="row 35 has not the 36 rows before it"):
        forecaster.predict(stages.prepared.candles, range(35, 50))
    forecaster.predict(stages.prepared.candles, range(36, 50))


def test_a_short_lookback_waits_for_the_volatility_of_its_target(run_stages, tiny_recipe):
    """One feature that is there from the second day, and targets that need twenty."""
    recipe = tiny_recipe("gru", "standardized_return", features=("log_return",))
    frame = make_sample(dt.date(2024, 12, 31), n_days=400)
    stages = run_stages(frame, recipe)
    assert stages.prepared.fold.train.start == 20 + recipe.lookback - 1
    forecaster = stages.fit()[0]
    with pytest.raises(InputError, match="too few candles"):
        forecaster.predict(frame[:20])
    assert np.isfinite(forecaster.predict(frame).quantiles).all()


def test_a_price_below_zero_is_no_error(fitted):
    """A network that learns prices may go below zero; the floor keeps log returns finite."""
    stages, forecaster = fitted("lstm", "price")
    weights = forecaster.network.get_weights()
    network = type(forecaster.network).from_config(forecaster.network.get_config())
    network.set_weights([*weights[:-1], weights[-1] - 1e6])
    forecast = replace(forecaster, network=network).predict(stages.prepared.candles)
    assert np.isfinite(forecast.quantiles).all()


def test_losses_are_counted_from_the_first_epoch_and_training_stops_early(
    candles, run_stages, tiny_recipe
):
    eager = {"epochs": 40, "patience": 1, "learning_rate": 1.0}
    stages = run_stages(candles, tiny_recipe("rnn", training=eager))
    forecaster, losses = stages.fit()
    n = len(losses["val_loss"])
    assert set(losses) == {"loss", "val_loss"} and len(losses["loss"]) == n < 40
    assert int(np.argmin(losses["val_loss"])) == n - 2
    # The weights are those of the best epoch, not of the last.
    fold, windows = stages.prepared.fold, stages.windows
    x, y = (np.asarray(part(fold.validation)) for part in (windows.x, windows.y))
    loss = np.mean((np.asarray(forecaster.network(x)) - y) ** 2)
    assert loss == pytest.approx(min(losses["val_loss"]), rel=1e-4)


SCRIPT = """
import datetime as dt, hashlib, sys
from models.config.judging import Judging
from models.config.recipe import Recipe
from models.data.sample import make_sample
from models.forecasters.fit import fit_forecaster
from models.learning.prepare import prepare
from models.learning.splits import holdout_split
candles = make_sample(dt.date(2024, 12, 31), n_days=400)
for cell in sys.argv[1:]:
    recipe = Recipe(cell=cell, units=4, lookback=8, horizon=3, training={"epochs": 1})
    forecaster, _ = fit_forecaster(prepare(recipe, candles, holdout_split(recipe, Judging())))
    quantiles = forecaster.predict(candles, range(260, 400)).quantiles
    print("DIGEST", cell, hashlib.sha256(quantiles.tobytes()).hexdigest())
"""


@pytest.mark.soak
def test_two_processes_predict_the_same_to_the_last_bit():
    """Also when other cells were trained before in one of them, in another order."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *cells],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, cells in enumerate([CELLS, CELLS[::-1]])
    ]
    digests = []
    for process in processes:
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        lines = [line.split() for line in out.splitlines() if line.startswith("DIGEST")]
        digests.append({cell: digest for _, cell, digest in lines})
    assert digests[0] == digests[1]
    assert len(set(digests[0].values())) == len(CELLS)


def test_egarch_is_fitted_on_the_newest_twenty_years_at_most(fitted, tiny_recipe, monkeypatch):
    stages, _ = fitted("gru", "standardized_return")
    seen = []
    module = "models.forecasters.fit"
    monkeypatch.setattr(f"{module}.EGARCH_DAYS", 100)
    monkeypatch.setattr(f"{module}.fit_garch", lambda returns, kind: seen.append(len(returns)))
    network = fitted("gru", "standardized_return")[1].network
    recipe = tiny_recipe("gru", "standardized_return", econometric="egarch")
    complete_forecaster(replace(stages.prepared, recipe=recipe), network)
    assert seen == [100]


def test_a_version_that_blends_with_egarch_still_loads_and_forecasts(
    run_stages, tiny_recipe, tmp_path
):
    candles = make_sample(dt.date(2024, 12, 31), n_days=500)
    recipe = tiny_recipe("gru", "standardized_return", econometric="egarch")
    forecaster, _ = run_stages(candles, recipe).fit()
    assert forecaster.garch is not None and forecaster.regression is None
    forecaster.save(tmp_path)
    # As earlier releases wrote it: no word of a regression, the training beside the rest.
    path = tmp_path / "recipe.json"
    state = json.loads(path.read_text())
    del state["regression"], state["recipe"]["econometric"]
    training = state["recipe"].pop("training")
    state["recipe"] |= {"training": training.pop("kind"), "warm_start": "", "batch_size": 128}
    state["recipe"] |= training
    path.write_text(json.dumps(state))
    again = load_forecaster(tmp_path)
    assert again.recipe == recipe
    ours, theirs = (f.predict(candles).quantiles for f in (forecaster, again))
    assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("target", ["rescaled_return", "standardized_return"])
def test_the_blend_is_the_average_of_its_parts(run_stages, tiny_recipe, target):
    candles = make_sample(dt.date(2024, 12, 31), n_days=500)
    forecaster, _ = run_stages(candles, tiny_recipe("gru", target)).fit()
    origins = range(400, 420)
    both = forecaster.predict(candles, origins).quantiles
    alone = forecaster.recipe.model_copy(update={"blend": 0.0})
    network = replace(forecaster, recipe=alone).predict(candles, origins).quantiles
    levels = forecaster.recipe.quantile_levels
    inputs = scale_inputs(candles, forecaster.regression.columns)[400:420]
    regression = predict_scale_regression(forecaster.regression, inputs, levels)
    naive = naive_quantiles(candles["close"].to_numpy(), origins, 3, levels)
    for step, share in ((1, 0.0), (2, 0.1), (3, 0.17)):
        at = slice(None), step - 1
        expected = share * naive[at] + (1 - share) / 2 * (regression[at] + network[at])
        np.testing.assert_allclose(both[at], expected, atol=1e-15)
