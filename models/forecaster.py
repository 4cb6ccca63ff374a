"""The forecaster: scalers, network and error quantiles as one object."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from models.config import Recipe
from models.errors import InputError
from models.features import first_complete_row, make_features
from models.forecast import Forecast
from models.network import build_network
from models.scaler import Scalers, scalers_from_dict
from models.windows import WindowSet, make_windows

# A log return needs a positive price; a network that learns prices may go below.
LEAST_PRICE_USD = 0.01

OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Forecaster:
    """A fitted recipe.

    `errors` (horizon, n_levels): empirical quantiles of the validation errors in log returns, less
    their median, so that the network's output is the median of the forecast.
    """

    recipe: Recipe
    feature_names: tuple[str, ...]
    scalers: Scalers
    network: keras.Model
    errors: NDArray[np.float64]

    def predict(self, candles: pd.DataFrame, origins: range | None = None) -> Forecast:
        """Forecast from `origins`, rows of the candle frame; the last row alone if not given.

        Gives quantiles (n, horizon, n_levels) of cumulative log returns, and in USD. An origin's
        forecast depends on no candle after it. Raises InputError when the history is too short.
        """
        origins = range(len(candles) - 1, len(candles)) if origins is None else origins
        values = make_features(candles, self.feature_names)
        first = first_complete_row(values) + self.recipe.lookback - 1
        if len(candles) <= first or origins.start < first:
            raise InputError(
                f"too few candles: row {origins.start} has not the {first} rows before it that "
                f"lookback {self.recipe.lookback} and the warm-up of the features need"
            )
        scaled = self.scalers.features.scale(values)
        start = origins.start - self.recipe.lookback + 1
        x = make_windows(scaled, self.recipe.lookback)[start : start + len(origins)]
        close = candles["close"].to_numpy(dtype=np.float64)[origins.start : origins.stop]
        median = _predict_log_returns(self.network, self.recipe, self.scalers, x, close)
        open_time = candles["open_time"].iloc[origins.start : origins.stop]
        return Forecast(
            origins=pd.DatetimeIndex(open_time),
            close=close,
            quantiles=median[:, :, None] + self.errors,
            levels=self.recipe.quantile_levels,
        )

    def save(self, folder: Path) -> None:
        """Write recipe.json and weights.npz into `folder`, which exists; no pickle."""
        state = {
            "recipe": self.recipe.model_dump(mode="json"),
            "feature_names": self.feature_names,
            "scalers": self.scalers.to_dict(),
            "errors": self.errors.tolist(),
        }
        (folder / "recipe.json").write_text(json.dumps(state, indent=2))
        weights = {f"w{i:02d}": array for i, array in enumerate(self.network.get_weights())}
        np.savez(folder / "weights.npz", **weights)


def load_forecaster(folder: Path) -> Forecaster:
    """Rebuild the forecaster that `Forecaster.save` wrote into `folder`."""
    state: dict[str, Any] = json.loads((folder / "recipe.json").read_text())
    recipe = Recipe.model_validate(state["recipe"])
    names = tuple(state["feature_names"])
    network = build_network(recipe, len(names))
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        network.set_weights([weights[name] for name in sorted(weights.files)])
    scalers = scalers_from_dict(state["scalers"])
    return Forecaster(recipe, names, scalers, network, np.asarray(state["errors"]))


def fit_forecaster(
    recipe: Recipe,
    feature_names: tuple[str, ...],
    windows: WindowSet,
    scalers: Scalers,
    close: NDArray[np.float64],
    on_epoch: OnEpoch,
) -> tuple[Forecaster, dict[str, list[float]]]:
    """Train on the fold's training windows, stop by its validation windows.

    `close` (n,), in USD, are the closes of the rows of `windows`. `on_epoch(epoch, losses)` is
    called after every epoch, counted from 1. Returns the forecaster and the losses by epoch
    ('loss', 'val_loss': mean squared error of the scaled targets). The same arguments give the
    same weights, bit for bit, on a CPU.
    """
    keras.utils.set_random_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()
    network = build_network(recipe, len(feature_names))
    network.compile(keras.optimizers.Adam(recipe.learning_rate), "mse")
    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: on_epoch(e + 1, logs))]
    if recipe.patience:
        callbacks.append(
            keras.callbacks.EarlyStopping(patience=recipe.patience, restore_best_weights=True)
        )
    fold = windows.fold
    history = network.fit(
        _batches(windows, fold.train, recipe, shuffle=recipe.shuffle),
        validation_data=_batches(windows, fold.validation, recipe, shuffle=False),
        epochs=recipe.epochs,
        callbacks=callbacks,
        shuffle=False,  # the dataset has its own order
        verbose=0,
    )
    part = fold.validation
    origin_close = close[part.start : part.stop]
    predicted = _predict_log_returns(network, recipe, scalers, windows.x(part), origin_close)
    errors = _log_returns(windows.y(part), recipe, scalers, origin_close) - predicted
    quantiles = np.quantile(errors, recipe.quantile_levels, axis=0).T
    centred = quantiles - quantiles[:, [recipe.quantile_levels.index(0.5)]]
    losses = {name: [float(v) for v in values] for name, values in history.history.items()}
    return Forecaster(recipe, feature_names, scalers, network, centred), losses


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
    return origins.batch(recipe.batch_size).map(gather).prefetch(2)


def _predict_log_returns(
    network: keras.Model,
    recipe: Recipe,
    scalers: Scalers,
    x: NDArray[np.float32],
    close: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Run the network on windows (n, lookback, n_features): log returns (n, horizon)."""
    outputs = [network(chunk, training=False) for chunk in _chunks(x, 512)]
    return _log_returns(np.concatenate(outputs), recipe, scalers, close)


def _chunks(x: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(x), size):
        yield np.ascontiguousarray(x[start : start + size])


def _log_returns(
    scaled: NDArray[np.floating], recipe: Recipe, scalers: Scalers, close: NDArray[np.float64]
) -> NDArray[np.float64]:
    """From scaled targets (n, horizon) to cumulative log returns from `close` (n,)."""
    values = scalers.targets.unscale(scaled)
    if recipe.target == "log_return":
        return values
    return np.log(np.maximum(values, LEAST_PRICE_USD) / close[:, None])
