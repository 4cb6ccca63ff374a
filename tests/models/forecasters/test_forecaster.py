"""The forecaster: what it says is the network's word, kept on disk and repeated to the last bit."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from models.config.recipe import READS_BOTH_WAYS, Recipe, Target
from models.data.sample import make_sample
from models.errors import InputError
from models.forecasters.forecaster import BLEND_DAYS, fit_blend, load_forecaster
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
from models.forecasters.forecaster import fit_forecaster
from models.learning.prepare import prepare
from models.learning.splits import holdout_split
candles = make_sample(dt.date(2024, 12, 31), n_days=400)
for cell in sys.argv[1:]:
    recipe = Recipe(cell=cell, units=4, lookback=8, horizon=3, training={"epochs": 1})
    forecaster, _ = fit_forecaster(prepare(recipe, candles, holdout_split(recipe, Judging())))
    quantiles = forecaster.predict(candles, range(260, 400)).quantiles
    print("DIGEST", cell, hashlib.sha256(quantiles.tobytes()).hexdigest())
"""


@pytest.mark.slow
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


def test_egarch_is_fitted_on_the_newest_twenty_years_at_most(monkeypatch):
    fitted = []
    monkeypatch.setattr(
        "models.forecasters.forecaster.fit_garch", lambda returns, kind: fitted.append(returns)
    )
    for n in (BLEND_DAYS + 1, BLEND_DAYS + 100):
        close = np.exp(np.sin(np.arange(n)))
        fit_blend(Recipe(), close)
        expected = np.diff(np.log(close[-BLEND_DAYS - 1 :]))
        assert fitted.pop().tobytes() == expected.tobytes()
