"""The recurrent network, from built-in Keras layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, pairwise
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from models.config.recipe import Recipe
from models.learning.cells import CELLS
from models.learning.student_t import N_PARAMETERS

# Inputs are clipped to as many standard deviations around the training mean.
INPUT_LIMIT = 5.0


def build_network(recipe: Recipe, n_features: int) -> keras.Model:
    """Build the untrained network: (batch, lookback, n_features) to its outputs.

    Outputs are (batch, horizon) with the head 'point', and (batch, members, horizon, 3) with
    'student_t', see models/learning/student_t.py. Members share the input and nothing else.
    """
    seeds = _draw_seeds(recipe.seed)
    inputs = keras.Input((recipe.lookback, n_features))
    if recipe.head == "point":
        last = _recurrent(recipe, inputs, 0, seeds)
        outputs = _dense(recipe.horizon, seeds, activation=recipe.output_activation)(last)
        return keras.Model(inputs, outputs, name=recipe.cell)
    limited = keras.ops.clip(inputs, -INPUT_LIMIT, INPUT_LIMIT)
    heads = []
    for member in range(recipe.members):
        last = _recurrent(recipe, limited, member, seeds)
        head = _dense(recipe.horizon * N_PARAMETERS, seeds, name=f"head_{member}")(last)
        heads.append(keras.layers.Reshape((1, recipe.horizon, N_PARAMETERS))(head))
    outputs = keras.layers.Concatenate(axis=1)(heads) if len(heads) > 1 else heads[0]
    return keras.Model(inputs, outputs, name=recipe.cell)


class MemberNetwork:
    """Weights of the networks of a recipe that trains on chunks, without Keras' layers.

    Building those takes longer than a forecast. The weights are listed as by the network that
    `build_network` gives, layer by layer and in each by member, which is how files keep them.
    """

    def __init__(self, recipe: Recipe, n_features: int) -> None:
        cell, units = CELLS[recipe.cell], recipe.units
        columns, outputs = cell.gates * units, recipe.horizon * N_PARAMETERS
        layers: list[list[tuple[int, ...]]] = [
            [(units if depth else n_features, columns), (units, columns), cell.bias_shape(units)]
            for depth in range(recipe.layers)
        ]
        layers.append([(units, outputs), (outputs,)])
        self.n_members = recipe.members
        # Arrays of a member, layer by layer, the head last.
        self.sizes = [len(shapes) for shapes in layers]
        self.shapes = [
            shape for shapes in layers for _ in range(self.n_members) for shape in shapes
        ]
        self.arrays: list[NDArray[np.float32]] = []

    def get_weights(self) -> list[NDArray[np.float32]]:
        """All arrays, as Keras lists them."""
        return list(self.arrays)

    def set_weights(self, arrays: Sequence[NDArray[np.float32]]) -> None:
        """Take all arrays, as Keras lists them; raises ValueError for those of another network."""
        shapes = [array.shape for array in arrays]
        if shapes != self.shapes:
            raise ValueError(f"expected weights of shapes {self.shapes}, received {shapes}")
        self.arrays = [np.asarray(array, np.float32) for array in arrays]

    def set_members(self, members: Sequence[Sequence[NDArray[np.float32]]]) -> None:
        """Take the arrays by member, each in the order of chunks.py."""
        ends = [0, *accumulate(self.sizes)]
        self.set_weights(
            [array for a, b in pairwise(ends) for member in members for array in member[a:b]]
        )

    def get_members(self) -> list[list[NDArray[np.float32]]]:
        """The arrays by member, as `set_members` takes them."""
        members: list[list[NDArray[np.float32]]] = [[] for _ in range(self.n_members)]
        left = iter(self.arrays)
        for size in self.sizes:
            for member in members:
                member += islice(left, size)
        return members


def _recurrent(
    recipe: Recipe, x: keras.KerasTensor, member: int, seeds: Iterator[int]
) -> keras.KerasTensor:
    """Give the last state of one member, (batch, units), with dropout and the dense layer."""
    for depth in range(recipe.layers):
        sequences = depth < recipe.layers - 1
        name = _layer_name(recipe, depth, member)
        layer = _layer(recipe, seeds, return_sequences=sequences, name=name)
        if CELLS[recipe.cell].both_ways:
            # Given, since Keras' own copy of the layer would have the same seeds.
            back = _layer(
                recipe, seeds, return_sequences=sequences, name=f"{name}_back", go_backwards=True
            )
            layer = keras.layers.Bidirectional(layer, backward_layer=back)
        x = layer(x)
    x = keras.layers.Dropout(recipe.dropout, seed=next(seeds))(x)
    return _dense(recipe.dense_units, seeds)(x) if recipe.dense_units else x


def _layer(recipe: Recipe, seeds: Iterator[int], **more: Any) -> keras.layers.Layer:
    return CELLS[recipe.cell].layer(
        recipe.units,
        kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
        recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
        seed=next(seeds),
        **more,
    )


def _dense(units: int, seeds: Iterator[int], **more: Any) -> keras.layers.Layer:
    initializer = keras.initializers.GlorotUniform(next(seeds))
    return keras.layers.Dense(units, kernel_initializer=initializer, **more)


def _draw_seeds(seed: int) -> Iterator[int]:
    """Seeds for everything random in a network.

    Keras draws those that are not given from Python's `random`, which other threads use too.
    """
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(2**31))


def _layer_name(recipe: Recipe, depth: int, member: int) -> str:
    return f"{recipe.cell}_{member}_{depth}"
