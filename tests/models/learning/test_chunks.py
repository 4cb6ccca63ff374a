"""The batched network is the Keras network, weight for weight, and its members do not mix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.config.recipe import Recipe
from models.learning.cells import CELLS, run_layer
from models.learning.chunks import ChunkData, fit_on_chunks, initial_weights, run_members
from models.learning.network import MemberNetwork, build_network

CAUSAL = [name for name, cell in CELLS.items() if not cell.both_ways]


def make_recipe(cell="gru", training=(), **more):
    small = {"units": 4, "lookback": 8, "horizon": 3, "members": 2, "blend": 0.0}
    short = {"chunk_days": 30, "epochs": 2, "updates_per_epoch": 3, "chunks_per_update": 4}
    return Recipe.model_validate({"cell": cell, "training": short | dict(training)} | small | more)


def make_data(seed=0, n=200):
    rng = np.random.default_rng(seed)
    features, targets = rng.normal(size=(n, 5)), rng.standard_t(4, (n, 3))
    return ChunkData(
        features.astype(np.float32), targets.astype(np.float32), range(20, n - 40), None
    )


@pytest.mark.parametrize("cell", CAUSAL)
@pytest.mark.parametrize("layers", [1, 2])
def test_weight_for_weight_the_keras_network(cell, layers):
    recipe = make_recipe(cell, layers=layers)
    rng = np.random.default_rng(1)
    drawn = [
        [array + rng.normal(0, 0.5, array.shape) for array in initial_weights(recipe, 5, seed)]
        for seed in range(2)
    ]
    members: list[Any] = [[array.astype(np.float32) for array in arrays] for arrays in drawn]
    network = build_network(recipe, 5)
    listed = MemberNetwork(recipe, 5)
    listed.set_members(members)
    network.set_weights(listed.get_weights())
    # Inputs beyond the limit too.
    x = rng.normal(0, 4, (6, 8, 5)).astype(np.float32)
    for taken, arrays in zip(listed.get_members(), members, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(taken, arrays, strict=True))

    ours = run_members(recipe, members, x)
    theirs = np.asarray(network(x, training=False))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert np.abs(theirs[:, 0] - theirs[:, 1]).max() > 0.01


@pytest.mark.parametrize("cell", CAUSAL)
def test_gradients_are_keras_gradients(cell):
    """One window and one step: backpropagation through our loop is that through Keras' layer."""
    recipe = make_recipe(cell, members=1)
    weights = initial_weights(recipe, 5, 3)
    network = build_network(recipe, 5)
    network.set_weights(weights)
    x = np.random.default_rng(2).normal(size=(4, 8, 5)).astype(np.float32)
    variables = [tf.Variable(array[None]) for array in weights]
    with tf.GradientTape() as tape:
        last = run_layer(CELLS[cell], tf.constant(x[None]), variables[:3])[:, :, -1]
        ours = tf.reduce_sum(tf.square(tf.matmul(last, variables[-2]) + variables[-1][:, None]))
    with tf.GradientTape() as keras_tape:
        theirs = tf.reduce_sum(tf.square(network(x)))
    left = tape.gradient(ours, variables)
    right = keras_tape.gradient(theirs, [v.value for v in network.trainable_variables])
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a[0], b, rtol=1e-3, atol=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    recipe, data = make_recipe(), make_data()
    first, again = (fit_on_chunks(recipe, [data])[0] for _ in range(2))
    other = fit_on_chunks(make_recipe(seed=99), [data])[0]
    assert all(np.array_equal(a, b) for a, b in zip(first[0][0], again[0][0], strict=True))
    assert not np.array_equal(first[0][0][0], other[0][0][0])
    assert not np.array_equal(first[0][0][0], first[0][1][0])


def test_folds_train_side_by_side_as_they_do_alone():
    recipe, folds = make_recipe(), [make_data(0), make_data(1)]
    together, _ = fit_on_chunks(recipe, folds)
    for fold, weights in zip(folds, together, strict=True):
        alone, _ = fit_on_chunks(recipe, [fold])
        for ours, theirs in zip(weights, alone[0], strict=True):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(a, b, atol=2e-5)


def test_nothing_but_training_days_is_read():
    recipe, data = make_recipe(), make_data()
    before = fit_on_chunks(recipe, [data])[0][0][0]
    features, targets = data.features.copy(), data.targets.copy()
    features[data.train.stop :] = 7
    targets[data.train.stop :] = 7
    features[: data.train.start - recipe.lookback + 1] = 7
    targets[: data.train.start] = 7
    after = fit_on_chunks(recipe, [replace(data, features=features, targets=targets)])[0][0][0]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    targets[data.train.stop - 1] = 7
    changed = fit_on_chunks(recipe, [replace(data, features=features, targets=targets)])[0][0][0]
    assert not np.array_equal(before[0], changed[0])


def test_early_stopping_keeps_the_weights_of_the_best_epoch():
    data = replace(make_data(), validation=range(170, 197))
    recipe = make_recipe(training={"epochs": 30, "patience": 2, "learning_rate": 0.5})
    weights, losses = fit_on_chunks(recipe, [data])
    n = len(losses["val_loss"])
    assert n < 30 and int(np.argmin(losses["val_loss"])) == n - 3
    until_best = make_recipe(training={"epochs": 30, "patience": 30, "learning_rate": 0.5})
    assert min(fit_on_chunks(until_best, [data])[1]["val_loss"]) <= min(losses["val_loss"])
    assert all(np.isfinite(array).all() for array in weights[0][0])


def test_too_short_a_history_is_refused():
    data = replace(make_data(), train=range(20, 21))
    with pytest.raises(ValueError, match="expected more than 8 days to train on, received 8"):
        fit_on_chunks(make_recipe(), [data])


def test_weights_of_another_network_are_refused():
    network = MemberNetwork(make_recipe(), 5)
    with pytest.raises(ValueError, match="expected weights of shapes"):
        network.set_weights([np.zeros((2, 2), np.float32)])
