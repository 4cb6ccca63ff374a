"""Training on chunks: many networks as one batched network, forecasting at every day of a stretch.

All members, the seeds of all folds, train side by side: weights and inputs have a leading axis of
members, and the inputs of all days are projected in one matrix product. Weight for weight it is the
function of the Keras layers that models/learning/network.py builds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.config.recipe import Chunks, Recipe
from models.learning.cells import CELLS, run_layer
from models.learning.network import INPUT_LIMIT
from models.learning.student_t import N_PARAMETERS, negative_log_likelihood, step_weights

Weights = list[NDArray[np.float32]]
OnEpoch = Callable[[int, dict[str, float]], None]

StepKey = tuple[str, int, int]

GRADIENT_NORM = 1.0
EPSILON = 1e-7
KEPT_STEPS = 4
_idle: dict[StepKey, _Step] = {}
"""Steps that are traced and not in use."""


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
    weights = best_weights if np.isfinite(best) else batch.weights()
    batch.end()
    return weights, history


def initial_weights(recipe: Recipe, n_features: int, seed: int) -> Weights:
    """Draw Keras' default initial weights for one member from `seed`.

    Glorot-uniform kernels, orthogonal recurrent kernels, zero biases (one for LSTM's forget gate).
    The head starts near the standard Student t that standardised returns follow.
    """
    rng = np.random.default_rng(seed)
    cell, units = CELLS[recipe.cell], recipe.units
    columns = cell.gates * units
    weights: list[NDArray[np.float64]] = []
    for depth in range(recipe.layers):
        rows = units if depth else n_features
        limit = np.sqrt(6 / (rows + columns))
        squares = [np.linalg.qr(rng.normal(size=(units, units)))[0] for _ in range(cell.gates)]
        bias = np.zeros(cell.bias_shape(units))
        if cell.open_gate is not None:
            bias[..., cell.open_gate * units : (cell.open_gate + 1) * units] = 1.0
        kernel = rng.uniform(-limit, limit, (rows, columns))  # (n_inputs, gates * units)
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
    # One array a layer's weight, (members, …).
    stacked = [tf.constant(np.stack(arrays)) for arrays in zip(*members, strict=True)]
    limited = tf.clip_by_value(tf.constant(x), -INPUT_LIMIT, INPUT_LIMIT)
    states = tf.repeat(limited[None], len(members), axis=0)  # (members, n, lookback, n_features)
    for depth in range(recipe.layers):
        # (members, n, lookback, units)
        states = run_layer(CELLS[recipe.cell], states, stacked[3 * depth : 3 * depth + 3])
    flat = tf.matmul(states[:, :, -1], stacked[-2]) + stacked[-1][:, None]
    outputs = tf.reshape(flat, [len(members), len(x), recipe.horizon, N_PARAMETERS])
    return np.asarray(tf.transpose(outputs, [1, 0, 2, 3]))  # (n, members, horizon, 3)


class _Batch:
    """Data of all members, and the step that trains them, which is traced once for many fits."""

    def __init__(self, recipe: Recipe, folds: Sequence[ChunkData]) -> None:
        self.recipe = recipe
        self.training = _chunks(recipe)
        self.folds = folds
        n_features = folds[0].features.shape[1]
        seeds = [recipe.seed + member for member in range(recipe.members)]
        offsets = np.cumsum([0, *(len(fold.features) for fold in folds)])
        features = np.concatenate([fold.features for fold in folds])
        # No chunk reaches a row without features or targets.
        limited = np.clip(features, -INPUT_LIMIT, INPUT_LIMIT)
        # (days of all folds, n_features) and (days of all folds, horizon)
        self.features = tf.constant(np.nan_to_num(limited))
        self.targets = tf.constant(np.nan_to_num(np.concatenate([fold.targets for fold in folds])))
        self.days = min([self.training.chunk_days, *(_usable_days(recipe, fold) for fold in folds)])
        if self.days <= recipe.lookback:
            raise ValueError(
                f"expected more than {recipe.lookback} days to train on, received {self.days}"
            )
        self.starts = self._draw_starts(seeds, offsets)
        self.dropouts = [np.random.default_rng((seed, 1)) for _ in folds for seed in seeds]
        self.step = _take_step(recipe, len(folds), n_features, self.days)
        self.step.begin(
            [initial_weights(recipe, n_features, seed) for _ in folds for seed in seeds]
        )

    def _draw_starts(self, seeds: list[int], offsets: NDArray[np.intp]) -> NDArray[np.int32]:
        """First rows of all chunks: (n_updates, members, chunks_per_update)."""
        training = self.training
        shape = (training.epochs * training.updates_per_epoch, training.chunks_per_update)
        columns = [
            first
            + _place(self.recipe, fold, self.days, np.random.default_rng((seed, 2)).random(shape))
            for first, fold in zip(offsets[:-1], self.folds, strict=True)
            for seed in seeds
        ]
        return np.stack(columns, axis=1).astype(np.int32)

    def update(self, number: int) -> float:
        """Take gradient step `number`, from 0; the mean loss over all members."""
        shape = (self.training.chunks_per_update, self.recipe.units)
        keep = 1 - self.recipe.dropout
        # (members, chunks_per_update, units)
        masks = np.stack([rng.random(shape) < keep for rng in self.dropouts]) / keep
        masks = tf.constant(masks, tf.float32)
        return float(self.step.update(self._data(), tf.constant(self.starts[number]), masks))

    def validate(self, origins: range) -> float:
        """Mean loss of the first fold's members over `origins`, taken as one stretch."""
        first = origins.start - self.recipe.lookback + 1
        members = self.recipe.members
        return float(self.step.validate(self._data(), members, first, origins.stop - first))

    def _data(self) -> tuple[tf.Tensor, tf.Tensor]:
        return self.features, self.targets

    def weights(self) -> list[list[Weights]]:
        """Weights by fold and member, in Keras' layout."""
        arrays = [variable.numpy() for variable in self.step.variables]
        members = [[array[i] for array in arrays] for i in range(len(arrays[0]))]
        n = self.recipe.members
        return [members[i * n : (i + 1) * n] for i in range(len(self.folds))]

    def end(self) -> None:
        """Leave the step to the next fit of the same shape."""
        _give_back(self.step)


class _Step:
    """Weights and optimiser of all members; `update` is one step of Adam for all.

    TensorFlow traces it at its first call, for a second: the data are arguments, so that fits of
    other candles use the same trace. The optimiser is Keras' own, whose step is one for each number
    and so knows no members; only the clipping is by member, and done here.
    """

    def __init__(self, recipe: Recipe, key: StepKey, n_features: int) -> None:
        self.recipe, self.key = recipe, key
        _, n_folds, days = key
        training = _chunks(recipe)
        self.step_weights = step_weights(recipe.horizon)
        shapes = [array.shape for array in initial_weights(recipe, n_features, 0)]
        n = n_folds * recipe.members
        self.variables = [tf.Variable(tf.zeros([n, *shape])) for shape in shapes]
        rate = keras.optimizers.schedules.CosineDecay(
            training.learning_rate, training.epochs * training.updates_per_epoch
        )
        self.optimizer = keras.optimizers.Adam(rate)
        self.optimizer.build(self.variables)
        self.days = days
        self.data = (
            tf.TensorSpec([None, n_features], tf.float32),
            tf.TensorSpec([None, recipe.horizon], tf.float32),
        )
        starts = tf.TensorSpec([n, training.chunks_per_update], tf.int32)
        masks = tf.TensorSpec([n, training.chunks_per_update, recipe.units], tf.float32)
        self.update = tf.function(self._update, input_signature=[self.data, starts, masks])
        self.validations: dict[int, Callable[..., tf.Tensor]] = {}

    def begin(self, members: Sequence[Weights]) -> None:
        """Put the first weights in place, and forget what an earlier fit left."""
        for variable, arrays in zip(self.variables, zip(*members, strict=True), strict=True):
            variable.assign(np.stack(arrays))
        for state in self.optimizer.variables:
            state.assign(np.zeros(state.shape, state.dtype))

    def _update(
        self, data: tuple[tf.Tensor, tf.Tensor], starts: tf.Tensor, masks: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = self._losses(data, self.variables, starts, self.days, masks)
            total = tf.reduce_sum(losses)
        gradients = tape.gradient(total, self.variables)
        # Each member is clipped by its own norm: members must not know of each other.
        squared = [tf.reduce_sum(tf.square(g), range(1, len(g.shape))) for g in gradients]
        norms = tf.sqrt(tf.add_n(squared))  # (members,)
        shrink = tf.minimum(1.0, GRADIENT_NORM / (norms + EPSILON))
        clipped = [g * tf.reshape(shrink, [-1] + [1] * (len(g.shape) - 1)) for g in gradients]
        self.optimizer.apply(clipped, self.variables)
        return tf.reduce_mean(losses)

    def validate(
        self, data: tuple[tf.Tensor, tf.Tensor], members: int, first: int, days: int
    ) -> tf.Tensor:
        """Mean loss of the first `members` over the stretch of `days` days from row `first`."""
        if days not in self.validations:
            if len(self.validations) >= KEPT_STEPS:  # of many symbols, each of another length
                self.validations.clear()
            ones = tf.ones([members, 1, self.recipe.units])

            def losses(data: tuple[tf.Tensor, tf.Tensor], starts: tf.Tensor) -> tf.Tensor:
                own = [variable[:members] for variable in self.variables]
                return tf.reduce_mean(self._losses(data, own, starts, days, ones))

            signature = [self.data, tf.TensorSpec([members, 1], tf.int32)]
            self.validations[days] = tf.function(losses, input_signature=signature)
        return self.validations[days](data, tf.fill([members, 1], first))

    def _losses(
        self,
        data: tuple[tf.Tensor, tf.Tensor],
        variables: Sequence[tf.Variable],
        starts: tf.Tensor,
        days: int,
        masks: tf.Tensor,
    ) -> tf.Tensor:
        """Mean negative log likelihood of each member, (members,), over all but the burn-in.

        `starts` (members, n): first rows of stretches of `days` days; `masks` (members, n, units)
        multiply the last states: variational dropout, one mask for a whole stretch.
        """
        features, targets = data
        cell, horizon = CELLS[self.recipe.cell], self.recipe.horizon
        rows = starts[..., None] + tf.range(days)  # (members, n, days)
        states = tf.gather(features, rows)  # (members, n, days, n_features)
        for depth in range(self.recipe.layers):
            # (members, n, days, units)
            states = run_layer(cell, states, variables[3 * depth : 3 * depth + 3])
        burn_in = self.recipe.lookback - 1
        # From here on `days` counts those that carry a loss.
        states = states[:, :, burn_in:] * masks[:, :, None]
        kernel, bias = variables[-2:]  # (members, units, horizon * 3), (members, horizon * 3)
        members, n, days, units = states.shape
        flat = tf.matmul(tf.reshape(states, [members, n * days, units]), kernel) + bias[:, None]
        outputs = tf.reshape(flat, [members, n, days, horizon, N_PARAMETERS])
        wanted = tf.gather(targets, rows[:, :, burn_in:])  # (members, n, days, horizon)
        losses = negative_log_likelihood(wanted, outputs)  # (members, n, days, horizon)
        by_step = tf.reduce_mean(losses, axis=[1, 2])  # (members, horizon)
        return tf.reduce_sum(by_step * self.step_weights, axis=-1)


def _take_step(recipe: Recipe, n_folds: int, n_features: int, days: int) -> _Step:
    """The step of an earlier fit of the same recipe and shapes, else a new one.

    Taken out while it is in use: another thread that fits at the same time makes one of its own.
    """
    shape = recipe.model_copy(update={"seed": 0})
    key = (f"{shape.digest()} {n_features}", n_folds, days)
    return _idle.pop(key, None) or _Step(recipe, key, n_features)


def _give_back(step: _Step) -> None:
    while len(_idle) >= KEPT_STEPS:
        _idle.pop(next(iter(_idle)), None)
    _idle[step.key] = step


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
