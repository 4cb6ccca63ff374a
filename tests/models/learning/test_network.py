"""The network is what its name says: against plain NumPy, with other weights in every gate."""

from __future__ import annotations

import random

import numpy as np
import pytest

from models.config.recipe import READS_BOTH_WAYS, Recipe
from models.learning.network import build_network

CELLS = tuple(READS_BOTH_WAYS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run_rnn(x, kernel, recurrent, bias):
    """h_t = tanh(W x_t + U h_{t-1} + b); x (lookback, n_features) to states (lookback, units)."""
    h, states = np.zeros(recurrent.shape[0]), []
    for row in x:
        h = np.tanh(row @ kernel + h @ recurrent + bias)
        states.append(h)
    return np.array(states)


def run_lstm(x, kernel, recurrent, bias):
    """Hochreiter and Schmidhuber 1997 with a forget gate (Gers 2000); gates i, f, c, o."""
    units = recurrent.shape[0]
    h, c, states = np.zeros(units), np.zeros(units), []
    for row in x:
        i, f, g, o = np.split(row @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.array(states)


def run_gru(x, kernel, recurrent, bias):
    """Cho 2014, reset after the product as in cuDNN; gates z, r, h; bias (2, 3 units)."""
    h, states = np.zeros(recurrent.shape[0]), []
    for row in x:
        from_x = np.split(row @ kernel + bias[0], 3)
        from_h = np.split(h @ recurrent + bias[1], 3)
        z, r = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
        h = z * h + (1 - z) * np.tanh(from_x[2] + r * from_h[2])
        states.append(h)
    return np.array(states)


RUN = {"rnn": run_rnn, "lstm": run_lstm, "gru": run_gru, "bilstm": run_lstm, "bigru": run_gru}


def predict_slowly(recipe, weights, x):
    """One window (lookback, n_features) to (horizon,)."""
    weights, run = list(weights), RUN[recipe.cell]
    states = x.astype(np.float64)
    for depth in range(recipe.layers):
        last = depth == recipe.layers - 1
        forward = run(states, *[weights.pop(0) for _ in range(3)])
        outputs = [forward[-1] if last else forward]
        if READS_BOTH_WAYS[recipe.cell]:
            backward = run(states[::-1], *[weights.pop(0) for _ in range(3)])
            outputs.append(backward[-1] if last else backward[::-1])
        states = np.concatenate(outputs, axis=-1)
    while weights:
        states = states @ weights.pop(0) + weights.pop(0)
    return sigmoid(states) if recipe.output_activation == "sigmoid" else states


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "more",
    [{}, {"layers": 2}, {"dense_units": 5, "output_activation": "sigmoid"}],
    ids=["plain", "two layers", "dense and sigmoid"],
)
def test_forward_pass_against_plain_numpy(tiny_recipe, cell, more):
    recipe = tiny_recipe(cell, dropout=0.5, **more)
    network = build_network(recipe, 2)
    rng = np.random.default_rng(1)
    weights = [rng.normal(0, 0.6, array.shape) for array in network.get_weights()]
    network.set_weights(weights)
    x = rng.normal(size=(3, recipe.lookback, 2)).astype(np.float32)
    expected = [predict_slowly(recipe, weights, window) for window in x]
    np.testing.assert_allclose(network(x, training=False), expected, rtol=1e-4, atol=1e-5)


def test_the_oracle_tells_gates_apart(tiny_recipe):
    """With two gates swapped the oracle says something else, or it would prove nothing."""
    for cell, n_gates in (("lstm", 4), ("gru", 3)):
        recipe = tiny_recipe(cell)
        rng = np.random.default_rng(1)
        network = build_network(recipe, 2)
        weights = [rng.normal(0, 0.6, array.shape) for array in network.get_weights()]
        x = rng.normal(size=(recipe.lookback, 2))
        expected = predict_slowly(recipe, weights, x)
        for first in range(n_gates - 1):
            order = list(range(n_gates))
            order[first], order[first + 1] = order[first + 1], order[first]
            swapped = [
                np.concatenate([np.split(array, n_gates, axis=-1)[gate] for gate in order], axis=-1)
                for array in weights[:3]
            ]
            other = predict_slowly(recipe, swapped + weights[3:], x)
            assert np.abs(other - expected).max() > 1e-3


@pytest.mark.parametrize("cell", CELLS)
def test_shapes_and_the_order_of_the_layers(tiny_recipe, cell):
    network = build_network(tiny_recipe(cell, dense_units=6), 3)
    assert network.input_shape == (None, 8, 3)
    assert network.output_shape == (None, 3)
    kinds = [type(layer).__name__ for layer in network.layers]
    recurrent = {"rnn": "SimpleRNN", "lstm": "LSTM", "gru": "GRU"}.get(cell, "Bidirectional")
    assert kinds == ["InputLayer", recurrent, "Dropout", "Dense", "Dense"]


@pytest.mark.parametrize("cell", CELLS)
def test_weights_hang_on_the_recipe_s_seed_alone_and_no_two_kernels_are_alike(tiny_recipe, cell):
    """Python's own random numbers are everybody's: another thread may draw in between."""
    built = []
    for noise, seed in ((1, 7), (2, 7), (1, 8)):
        random.seed(noise)
        recipe = tiny_recipe(cell, layers=2, dense_units=3, seed=seed)
        weights = build_network(recipe, 5).get_weights()
        # Biases are zeros and ones.
        built.append([array.tobytes() for array in weights if not set(array.flat) <= {0, 1}])
    first, again, other = built
    assert first == again
    assert len({*first, *other}) == 2 * len(first) >= 12


def test_the_assignment_has_as_many_weights_as_in_class():
    network = build_network(Recipe(preset="assignment"), 1)
    # LSTM 4 (200 (200 + 1) + 200), dense 200 x 100 + 100, output 100 + 1.
    assert network.count_params() == 161_600 + 20_100 + 101
    assert network.layers[2].rate == 0.2
