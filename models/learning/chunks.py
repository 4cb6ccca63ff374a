"""Training on chunks: many networks as one batched network, forecasting at every day of a stretch.

All members, the seeds of all folds, train side by side: weights and inputs have a leading axis of
members, and the inputs of all days are projected in one matrix product. Weight for weight it is the
function of the Keras layers that models/learning/network.py builds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.config.recipe import Chunks, Recipe
from models.learning.network import INPUT_LIMIT
from models.learning.student_t import N_PARAMETERS, negative_log_likelihood, step_weights

Weights = list[NDArray[np.float32]]
OnEpoch = Callable[[int, dict[str, float]], None]

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
GRADIENT_NORM = 1.0
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


@dataclass(frozen=True)
class ChunkData:
    """What one fold's members learn from.

    `features` (n, n_features) and `targets` (n, horizon), both scaled. `train` holds the origins
    that are taught; rows before them serve as lookback alone, rows after them are never read.
    `validation` origins give the validation loss; None trains without one.
    """

    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    train: range
    validation: range | None = None


def fit_on_chunks(
    recipe: Recipe,
    folds: Sequence[ChunkData],
    on_epoch: OnEpoch = lambda epoch, losses: None,
) -> tuple[list[list[Weights]], dict[str, list[float]]]:
    """Train `recipe.members` networks for each fold, all at once.

    Returns weights by fold and member, in Keras' layout, and the losses by epoch: 'loss', and
    'val_loss' for the first fold where it has validation origins, both mean negative log
    likelihoods of the scaled targets. With `patience` the first fold's validation loss stops the
    training and every member keeps the weights of its best epoch. The members of a fold know
    nothing of the other folds; only where a fold's history is shorter than a chunk do the chunks
    of all shrink. Raises ValueError where a history is not longer than the lookback.
    """
    training = _chunks(recipe)
    batch = _Batch(recipe, folds)
    history: dict[str, list[float]] = {"loss": []}
    best, best_weights = np.inf, batch.weights()
    waited = 0
    for epoch in range(training.epochs):
        first = epoch * training.updates_per_epoch
        losses = [batch.update(first + i) for i in range(training.updates_per_epoch)]
        history["loss"].append(float(np.mean(losses)))
        if folds[0].validation is not None:
            history.setdefault("val_loss", []).append(batch.validate(folds[0].validation))
        on_epoch(epoch + 1, {name: values[-1] for name, values in history.items()})
        if not training.patience or folds[0].validation is None:
            continue
        waited += 1
        if history["val_loss"][-1] < best:
            best, best_weights, waited = history["val_loss"][-1], batch.weights(), 0
        if waited == training.patience:
            break
    return (best_weights if np.isfinite(best) else batch.weights()), history


def initial_weights(recipe: Recipe, n_features: int, seed: int) -> Weights:
    """Draw Keras' default initial weights for one member from `seed`.

    Glorot-uniform kernels, orthogonal recurrent kernels, zero biases (one for LSTM's forget gate).
    The head starts near the standard Student t that standardised returns follow.
    """
    rng = np.random.default_rng(seed)
    units, gates = recipe.units, GATES[recipe.cell]
    weights: list[NDArray[np.float64]] = []
    for depth in range(recipe.layers):
        rows = units if depth else n_features
        limit = np.sqrt(6 / (rows + gates * units))
        squares = [np.linalg.qr(rng.normal(size=(units, units)))[0] for _ in range(gates)]
        bias = np.zeros((2, gates * units) if recipe.cell == "gru" else gates * units)
        if recipe.cell == "lstm":
            bias[units : 2 * units] = 1.0
        kernel = rng.uniform(-limit, limit, (rows, gates * units))
        weights += [kernel, np.concatenate(squares, axis=1), bias]
    limit = 0.3 * np.sqrt(6 / (units + N_PARAMETERS))
    head = rng.uniform(-limit, limit, (units, recipe.horizon * N_PARAMETERS))
    weights += [head, np.tile([0.0, -0.5, 1.5], recipe.horizon)]
    return [array.astype(np.float32) for array in weights]


def run_members(
    recipe: Recipe, members: Sequence[Weights], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Outputs (n, members, horizon, 3) at the last day of windows x (n, lookback, n_features).

    `members` are their weights, in Keras' layout. What the Keras network gives, without the cost of
    its layers' calls, which is most of the time of a forecast for one day.
    """
    stacked = [tf.constant(np.stack(arrays)) for arrays in zip(*members, strict=True)]
    limited = tf.clip_by_value(tf.constant(x), -INPUT_LIMIT, INPUT_LIMIT)
    states = tf.repeat(limited[None], len(members), axis=0)
    for depth in range(recipe.layers):
        states = run_layer(recipe.cell, states, stacked[3 * depth : 3 * depth + 3])
    flat = tf.matmul(states[:, :, -1], stacked[-2]) + stacked[-1][:, None]
    outputs = tf.reshape(flat, [len(members), len(x), recipe.horizon, N_PARAMETERS])
    return np.asarray(tf.transpose(outputs, [1, 0, 2, 3]))


def run_layer(cell: str, x: tf.Tensor, weights: Sequence[tf.Tensor]) -> tf.Tensor:
    """States (members, n, days, units) of one recurrent layer on x (members, n, days, n_inputs).

    `weights` are kernel (members, n_inputs, gates), recurrent kernel (members, units, gates) and
    bias (members, gates), for a GRU (members, 2, gates). The same as Keras' SimpleRNN, LSTM, and
    GRU with `reset_after`.
    """
    kernel, recurrent, bias = weights
    members, n, days, _ = x.shape
    units = recurrent.shape[1]
    input_bias = bias[:, 0] if cell == "gru" else bias
    # Days first: the loop reads one day at a time.
    rows = tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [members, days * n, x.shape[3]])
    projected = tf.matmul(rows, kernel) + input_bias[:, None]
    by_day = tf.transpose(tf.reshape(projected, [members, days, n, -1]), [1, 0, 2, 3])
    step = {"rnn": _rnn_step, "lstm": _lstm_step, "gru": _gru_step}[cell]
    inputs = tf.TensorArray(tf.float32, days).unstack(by_day)
    states = tf.TensorArray(tf.float32, days, element_shape=[members, n, units])
    zeros = tf.zeros([members, n, units])

    def body(day, state, carry, states):  # type: ignore[no-untyped-def]
        state, carry = step(inputs.read(day), state, carry, recurrent, bias)
        return day + 1, state, carry, states.write(day, state)

    *_, states = tf.while_loop(
        lambda day, *_: day < days, body, (0, zeros, zeros, states), maximum_iterations=days
    )
    return tf.transpose(states.stack(), [1, 2, 0, 3])


def _rnn_step(x, h, c, recurrent, bias):  # type: ignore[no-untyped-def]
    return tf.tanh(x + tf.matmul(h, recurrent)), c


def _lstm_step(x, h, c, recurrent, bias):  # type: ignore[no-untyped-def]
    units = h.shape[-1]
    z = x + tf.matmul(h, recurrent)
    gates = tf.sigmoid(z)
    candidate = tf.tanh(z[..., 2 * units : 3 * units])
    c = gates[..., units : 2 * units] * c + gates[..., :units] * candidate
    return gates[..., 3 * units :] * tf.tanh(c), c


def _gru_step(x, h, c, recurrent, bias):  # type: ignore[no-untyped-def]
    units = h.shape[-1]
    inner = tf.matmul(h, recurrent) + bias[:, 1:]
    gates = tf.sigmoid(x[..., : 2 * units] + inner[..., : 2 * units])
    update, reset = gates[..., :units], gates[..., units:]
    candidate = tf.tanh(x[..., 2 * units :] + reset * inner[..., 2 * units :])
    return candidate + update * (h - candidate), c


class _Batch:
    """Weights, optimiser and data of all members; `update` is one step of Adam for all."""

    def __init__(
        self,
        recipe: Recipe,
        folds: Sequence[ChunkData],
    ) -> None:
        self.recipe = recipe
        self.training = _chunks(recipe)
        self.folds = folds
        n_features = folds[0].features.shape[1]
        seeds = [recipe.seed + member for member in range(recipe.members)]
        first = [initial_weights(recipe, n_features, seed) for _ in folds for seed in seeds]
        self.variables = [tf.Variable(np.stack(arrays)) for arrays in zip(*first, strict=True)]
        self.momenta = [tf.Variable(tf.zeros_like(v)) for v in self.variables]
        self.squares = [tf.Variable(tf.zeros_like(v)) for v in self.variables]
        offsets = np.cumsum([0, *(len(fold.features) for fold in folds)])
        features = np.concatenate([fold.features for fold in folds])
        # A row without features or target is never reached by a chunk of its origins.
        self.features = tf.constant(np.nan_to_num(np.clip(features, -INPUT_LIMIT, INPUT_LIMIT)))
        self.targets = tf.constant(np.nan_to_num(np.concatenate([fold.targets for fold in folds])))
        self.days = min([self.training.chunk_days, *(_usable_days(recipe, fold) for fold in folds)])
        if self.days <= recipe.lookback:
            raise ValueError(
                f"expected more than {recipe.lookback} days to train on, received {self.days}"
            )
        self.step_weights = step_weights(recipe.horizon)
        self.starts = self._draw_starts(seeds, offsets)
        self.dropouts = [np.random.default_rng((seed, 1)) for _ in folds for seed in seeds]
        self._step = tf.function(self._update)
        self._validate = tf.function(self._losses)

    def _draw_starts(self, seeds: list[int], offsets: NDArray[np.intp]) -> NDArray[np.int32]:
        """First rows of all chunks: (n_updates, members, chunks_per_update)."""
        training = self.training
        shape = (training.epochs * training.updates_per_epoch, training.chunks_per_update)
        columns = [
            first
            + _place(self.recipe, fold, self.days, np.random.default_rng((seed, 2)).random(shape))
            for first, fold in zip(offsets, self.folds, strict=False)
            for seed in seeds
        ]
        return np.stack(columns, axis=1).astype(np.int32)

    def update(self, number: int) -> float:
        """Take gradient step `number`, from 0; the mean loss over all members."""
        recipe, training = self.recipe, self.training
        total = training.epochs * training.updates_per_epoch
        rate = training.learning_rate * 0.5 * (1 + np.cos(np.pi * number / total))
        shape = (training.chunks_per_update, recipe.units)
        keep = 1 - recipe.dropout
        masks = np.stack([rng.random(shape) < keep for rng in self.dropouts]) / keep
        correction = np.sqrt(1 - BETA_2 ** (number + 1)) / (1 - BETA_1 ** (number + 1))
        loss = self._step(
            tf.constant(self.starts[number]),
            tf.constant(masks, tf.float32),
            tf.constant(rate * correction, tf.float32),
        )
        return float(loss)

    def _update(self, starts: tf.Tensor, masks: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = self._losses(self.variables, starts, self.days, masks)
            total = tf.reduce_sum(losses)
        gradients = tape.gradient(total, self.variables)
        # Each member is clipped by its own norm: members must not know of each other.
        squared = [tf.reduce_sum(tf.square(g), range(1, len(g.shape))) for g in gradients]
        shrink = tf.minimum(1.0, GRADIENT_NORM / (tf.sqrt(tf.add_n(squared)) + EPSILON))
        for variable, gradient, momentum, square in zip(
            self.variables, gradients, self.momenta, self.squares, strict=True
        ):
            g = gradient * tf.reshape(shrink, [-1] + [1] * (len(gradient.shape) - 1))
            momentum.assign(BETA_1 * momentum + (1 - BETA_1) * g)
            square.assign(BETA_2 * square + (1 - BETA_2) * tf.square(g))
            variable.assign_sub(rate * momentum / (tf.sqrt(square) + EPSILON))
        return tf.reduce_mean(losses)

    def _losses(
        self, variables: Sequence[tf.Variable], starts: tf.Tensor, days: int, masks: tf.Tensor
    ) -> tf.Tensor:
        """Mean negative log likelihood of each member, (members,), over all but the burn-in.

        `starts` (members, n): first rows of stretches of `days` days; `masks` (members, n, units)
        multiply the last states: variational dropout, one mask for a whole stretch.
        """
        rows = starts[..., None] + tf.range(days)
        states = tf.gather(self.features, rows)
        for depth in range(self.recipe.layers):
            states = run_layer(self.recipe.cell, states, variables[3 * depth : 3 * depth + 3])
        burn_in = self.recipe.lookback - 1
        states = states[:, :, burn_in:] * masks[:, :, None]
        kernel, bias = variables[-2:]
        members, n, days, units = states.shape
        flat = tf.matmul(tf.reshape(states, [members, n * days, units]), kernel) + bias[:, None]
        outputs = tf.reshape(flat, [members, n, days, self.recipe.horizon, N_PARAMETERS])
        targets = tf.gather(self.targets, rows[:, :, burn_in:])
        losses = negative_log_likelihood(targets, outputs)
        return tf.reduce_sum(tf.reduce_mean(losses, axis=[1, 2]) * self.step_weights, axis=-1)

    def validate(self, origins: range) -> float:
        """Mean loss of the first fold's members over `origins`, taken as one stretch."""
        first = origins.start - self.recipe.lookback + 1
        members = self.recipe.members
        losses = self._validate(
            [variable[:members] for variable in self.variables],
            tf.fill([members, 1], first),
            origins.stop - first,
            tf.ones([members, 1, self.recipe.units]),
        )
        return float(tf.reduce_mean(losses))

    def weights(self) -> list[list[Weights]]:
        """Weights by fold and member, in Keras' layout."""
        arrays = [variable.numpy() for variable in self.variables]
        members = [[array[i] for array in arrays] for i in range(len(arrays[0]))]
        n = self.recipe.members
        return [members[i * n : (i + 1) * n] for i in range(len(self.folds))]


def _chunks(recipe: Recipe) -> Chunks:
    if not isinstance(recipe.training, Chunks):
        raise ValueError(f"expected training on chunks, received {recipe.training.kind!r}")
    return recipe.training


def _usable_days(recipe: Recipe, data: ChunkData) -> int:
    """Days from the first lookback to the last training origin."""
    return len(data.train) + recipe.lookback - 1


def _place(
    recipe: Recipe, data: ChunkData, days: int, place: NDArray[np.float64]
) -> NDArray[np.float64]:
    """First rows of chunks of `days` days, from numbers `place` that are even on [0, 1)."""
    first = data.train.start - recipe.lookback + 1
    return first + np.floor(place * (_usable_days(recipe, data) - days + 1))
