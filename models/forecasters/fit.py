"""Fitting: a recipe's network trained on a fold, and what the recipe asks for beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.config.recipe import Chunks, Recipe, Windows
from models.forecasters.forecaster import BATCH, Forecaster, log_returns, predict_log_returns
from models.forecasters.garch import fit_garch
from models.learning.chunks import ChunkData, fit_on_chunks
from models.learning.network import MemberNetwork, build_network
from models.learning.prepare import Prepared
from models.learning.scale_regression import fit_scale_regression
from models.learning.student_t import student_t_loss
from models.learning.windows import WindowSet

EGARCH_DAYS = 7300
"""Returns that EGARCH is fitted on at most, twenty years of them."""

OnEpoch = Callable[[int, dict[str, float]], None]
Losses = dict[str, list[float]]


def fit_forecaster(
    prepared: Prepared, on_epoch: OnEpoch = lambda epoch, losses: None
) -> tuple[Forecaster, Losses]:
    """Train the recipe on a fold's training part; with `patience` stop by its validation part.

    `on_epoch(epoch, losses)` is called after every epoch, counted from 1. Returns the forecaster
    and the losses by epoch ('loss', 'val_loss': of the scaled targets, mean squared error with the
    head 'point', else negative log likelihood). The same arguments give the same weights, bit for
    bit, on a CPU.
    """
    forecasters, losses = fit_forecasters([prepared], on_epoch)
    return forecasters[0], losses


def fit_forecasters(
    folds: Sequence[Prepared], on_epoch: OnEpoch = lambda epoch, losses: None
) -> tuple[list[Forecaster], Losses]:
    """Train one recipe on several folds, see `fit_forecaster`; the losses are the first fold's.

    A recipe that trains on chunks trains all folds as one batched network, see learning/chunks.py.
    """
    recipe = folds[0].recipe
    if isinstance(recipe.training, Chunks):
        networks, losses = _fit_on_chunks(folds, on_epoch)
    else:
        fits = [_fit_on_windows(fold, on_epoch) for fold in folds]
        networks, losses = [network for network, _ in fits], fits[0][1]
    return [
        complete_forecaster(fold, network) for fold, network in zip(folds, networks, strict=True)
    ], losses


def complete_forecaster(prepared: Prepared, network: keras.Model | MemberNetwork) -> Forecaster:
    """Fit what a recipe asks for beside its trained `network`: errors, the econometric half."""
    recipe, history = prepared.recipe, prepared.fold.history
    garch, regression = None, prepared.regression
    candles = prepared.candles.iloc[history.start : history.stop]
    if recipe.blend and recipe.econometric == "egarch":
        close = candles["close"].to_numpy(dtype=np.float64)
        garch = fit_garch(np.diff(np.log(close))[-EGARCH_DAYS:], "egarch")
    elif recipe.blend and regression is None:
        regression = fit_scale_regression(candles, recipe.horizon)
    return Forecaster(
        recipe=recipe,
        feature_names=prepared.feature_names,
        scalers=prepared.scalers,
        network=network,
        errors=_validation_errors(prepared, network) if recipe.head == "point" else None,
        garch=garch,
        regression=regression,
    )


def _fit_on_chunks(
    folds: Sequence[Prepared], on_epoch: OnEpoch
) -> tuple[list[MemberNetwork], Losses]:
    recipe = folds[0].recipe
    data = [
        ChunkData(
            features=fold.features,
            targets=fold.targets,
            train=fold.fold.train,
            validation=fold.fold.validation or None,
        )
        for fold in folds
    ]
    weights, losses = fit_on_chunks(recipe, data, on_epoch)
    networks = []
    for members in weights:
        network = MemberNetwork(recipe, folds[0].features.shape[1])
        network.set_members(members)
        networks.append(network)
    return networks, losses


def _fit_on_windows(prepared: Prepared, on_epoch: OnEpoch) -> tuple[keras.Model, Losses]:
    recipe, windows = prepared.recipe, prepared.windows
    training = recipe.training
    if not isinstance(training, Windows):
        raise ValueError(f"expected training on windows, received {training.kind!r}")
    tf.random.set_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()
    network = build_network(recipe, len(prepared.feature_names))
    loss = "mse" if recipe.head == "point" else student_t_loss
    network.compile(keras.optimizers.Adam(training.learning_rate), loss)
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: on_epoch(e + 1, logs))]
    if training.patience:
        callbacks.append(
            keras.callbacks.EarlyStopping(patience=training.patience, restore_best_weights=True)
        )
    fold = windows.fold
    history = network.fit(
        _batches(windows, fold.train, recipe, shuffle=training.shuffle),
        validation_data=_batches(windows, fold.validation, recipe, shuffle=False),
        epochs=training.epochs,
        callbacks=callbacks,
        shuffle=False,  # the dataset has its own order
        verbose=0,
    )
    return network, {name: [float(v) for v in values] for name, values in history.history.items()}


def _validation_errors(
    prepared: Prepared, network: keras.Model | MemberNetwork
) -> NDArray[np.float64]:
    """Quantiles (horizon, n_levels) of the validation errors in log returns, median zero."""
    recipe, windows, scalers = prepared.recipe, prepared.windows, prepared.scalers
    part = windows.fold.validation
    origin_close = prepared.close[part.start : part.stop]
    predicted = predict_log_returns(network, recipe, scalers, windows.x(part), origin_close)
    errors = log_returns(windows.y(part), recipe, scalers, origin_close) - predicted
    quantiles = np.quantile(errors, recipe.quantile_levels, axis=0).T
    return quantiles - quantiles[:, [recipe.quantile_levels.index(0.5)]]


def _batches(windows: WindowSet, part: range, recipe: Recipe, *, shuffle: bool) -> tf.data.Dataset:
    """Gather each batch from the array when it is needed, so that windows are never all copied."""
    features, targets = tf.constant(windows.features), tf.constant(windows.targets)
    back = tf.range(1 - recipe.lookback, 1)

    def gather(origins: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.gather(features, origins[:, None] + back[None, :])
        return x, tf.gather(targets, origins)

    origins = tf.data.Dataset.range(part.start, part.stop, output_type=tf.int32)
    if shuffle:
        origins = origins.shuffle(len(part), seed=recipe.seed, reshuffle_each_iteration=True)
    batch_size = getattr(recipe.training, "batch_size", BATCH)
    return origins.batch(batch_size).map(gather).prefetch(2)
