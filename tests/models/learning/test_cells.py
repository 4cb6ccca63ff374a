"""One table says all that is known about a cell, and an entry in it is enough to add one."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.config.recipe import PRESETS, READS_BOTH_WAYS, Chunks, Recipe
from models.forecasters.fit import fit_forecaster
from models.forecasters.forecaster import load_forecaster
from models.learning.cells import CELLS, Cell, run_layer
from models.learning.prepare import prepare
from models.learning.splits import serving_split

UNITS = 5


def test_the_configuration_knows_the_same_cells():
    assert {name: cell.both_ways for name, cell in CELLS.items()} == READS_BOTH_WAYS


@pytest.mark.parametrize("name", CELLS)
def test_the_table_says_what_the_keras_layer_has(name):
    """Gates and biases of a layer that is built, also the one that starts at one."""
    cell = CELLS[name]
    layer = cell.layer(UNITS)
    layer.build((None, 7, 3))
    kernel, recurrent, bias = layer.get_weights()
    assert kernel.shape == (3, cell.gates * UNITS)
    assert recurrent.shape == (UNITS, cell.gates * UNITS)
    assert bias.shape == cell.bias_shape(UNITS)
    opened = np.zeros((cell.gates, UNITS))
    if cell.open_gate is not None:
        opened[cell.open_gate] = 1
    np.testing.assert_array_equal(bias if bias.ndim == 1 else bias[0], opened.ravel())


def test_only_a_cell_that_reads_both_ways_has_no_step():
    assert {name for name, cell in CELLS.items() if cell.step is None} == {
        name for name, both_ways in READS_BOTH_WAYS.items() if both_ways
    }
    with pytest.raises(ValueError, match="reads both ways"):
        run_layer(CELLS["bigru"], tf.zeros([1, 1, 2, 3]), [])


def relu_step(x, h, c, recurrent, bias):
    return tf.nn.relu(x + tf.matmul(h, recurrent)), c


def test_a_cell_is_added_by_the_guide_alone(monkeypatch, tmp_path, candles):
    """docs/extending.md, "A cell": its name, its entry in the table, and a preset."""
    monkeypatch.setitem(READS_BOTH_WAYS, "relu", False)
    layer = partial(keras.layers.SimpleRNN, activation="relu")
    monkeypatch.setitem(CELLS, "relu", Cell(layer, gates=1, step=relu_step))
    monkeypatch.setitem(PRESETS, "relu", {"cell": "relu", "blend": 0.0})

    recipe = Recipe(
        preset="relu",
        units=UNITS,
        lookback=8,
        horizon=2,
        members=2,
        training=Chunks(epochs=2, chunk_days=40, updates_per_epoch=3),
    )
    assert recipe.name == recipe.cell == "relu"
    forecaster, losses = fit_forecaster(prepare(recipe, candles, serving_split(recipe)))
    assert len(losses["loss"]) == 2 and np.isfinite(losses["loss"]).all()
    forecast = forecaster.predict(candles)
    assert np.isfinite(forecast.quantiles).all()

    # What is saved is the Keras layer; it says the same as the batched step.
    x = np.random.default_rng(0).normal(size=(3, 8, len(recipe.features))).astype(np.float32)
    windows = Recipe.model_validate(recipe.model_dump() | {"training": {"kind": "windows"}})
    on_windows = type(forecaster)(
        windows, forecaster.feature_names, forecaster.scalers, forecaster.network
    )
    ours, theirs = (f._mean_quantiles(x) for f in (forecaster, on_windows))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    forecaster.save(tmp_path)
    again = load_forecaster(tmp_path).predict(candles)
    assert again.quantiles.tobytes() == forecast.quantiles.tobytes()

    # And it trains on windows too.
    fitted, _ = fit_forecaster(prepare(windows, candles, serving_split(windows)))
    assert np.isfinite(fitted.predict(candles).quantiles).all()
