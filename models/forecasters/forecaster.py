"""The forecaster: scalers, network and what turns its output into quantiles, as one object."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from models.config.recipe import Chunks, Recipe, Windows
from models.errors import InputError
from models.forecasters.baselines import naive_quantiles
from models.forecasters.blend import blend_quantiles, egarch_quantiles
from models.forecasters.frame import Forecast
from models.forecasters.garch import Garch, fit_garch
from models.learning.chunks import ChunkData, fit_on_chunks, run_members
from models.learning.features import make_features, needed_columns
from models.learning.network import build_network, get_member_weights, set_member_weights
from models.learning.prepare import Prepared
from models.learning.scale_regression import (
    ScaleRegression,
    fit_scale_regression,
    predict_scale,
    predict_scale_regression,
    scale_inputs,
)
from models.learning.scaler import Scalers, scalers_from_dict
from models.learning.splits import naive_first_origin
from models.learning.student_t import split_outputs, student_t_loss, student_t_quantiles
from models.learning.windows import WindowSet, first_usable_row, make_windows, return_scale

# A log return needs a positive price; a network that learns prices may go below.
LEAST_PRICE_USD = 0.01
BATCH = 512
EGARCH_DAYS = 7300
"""Returns that EGARCH is fitted on at most, twenty years of them."""

OnEpoch = Callable[[int, dict[str, float]], None]
Losses = dict[str, list[float]]


@dataclass(frozen=True)
class Forecaster:
    """A fitted recipe.

    `errors` (horizon, n_levels), for the head 'point': empirical quantiles of the validation errors
    in log returns, less their median, so that the network's output is the median of the forecast.
    `regression`: the scale regression, whose scale the network's output is multiplied by with the
    target 'rescaled_return', and that the network is averaged with in a blended recipe;
    `garch`, in versions made before it: the EGARCH in its place.
    """

    recipe: Recipe
    feature_names: tuple[str, ...]
    scalers: Scalers
    network: keras.Model
    errors: NDArray[np.float64] | None = None
    garch: Garch | None = None
    regression: ScaleRegression | None = None

    @property
    def columns(self) -> set[str]:
        """Candle columns that a forecast reads."""
        own = self.regression.columns if self.regression else ()
        return {"open_time", "close", *own} | needed_columns(self.feature_names)

    def predict(self, candles: pd.DataFrame, origins: range | None = None) -> Forecast:
        """Forecast from `origins`, rows of the candle frame; the last row alone if not given.

        Gives quantiles (n, horizon, n_levels) of cumulative log returns, and in USD. An origin's
        forecast depends on no candle after it. Raises InputError when the history is too short.
        """
        origins = range(len(candles) - 1, len(candles)) if origins is None else origins
        candles = candles.iloc[: origins.stop]
        values = make_features(candles, self.feature_names)
        first = self.first_origin(first_usable_row(values, self.recipe.target))
        if len(candles) <= first or origins.start < first:
            raise InputError(
                f"too few candles: row {origins.start} has not the {first} rows before it that "
                f"lookback {self.recipe.lookback} and the warm-up of the features need"
            )
        scaled = self.scalers.features.scale(values)
        start = origins.start - self.recipe.lookback + 1
        x = make_windows(scaled, self.recipe.lookback)[start : start + len(origins)]
        close = candles["close"].to_numpy(dtype=np.float64)
        return Forecast(
            origins=pd.DatetimeIndex(candles["open_time"].iloc[origins.start :]),
            close=close[origins.start :],
            quantiles=self._quantiles(x, candles, origins),
            levels=self.recipe.quantile_levels,
        )

    def first_origin(self, first_row: int) -> int:
        """First row that can be forecast from, where features are complete from `first_row` on."""
        first = first_row + self.recipe.lookback - 1
        return (
            max(first, naive_first_origin(self.recipe.horizon))
            if self.garch or self.regression
            else first
        )

    def _quantiles(
        self, x: NDArray[np.float32], candles: pd.DataFrame, origins: range
    ) -> NDArray[np.float64]:
        """Quantiles (n, horizon, n_levels) from windows x; `candles` are all rows to the last."""
        recipe = self.recipe
        close = candles["close"].to_numpy(dtype=np.float64)
        if self.errors is not None:
            median = _predict_log_returns(
                self.network, recipe, self.scalers, x, close[origins.start :]
            )
            return median[:, :, None] + self.errors
        scale = np.ones((len(origins), recipe.horizon))
        if recipe.target == "standardized_return":
            scale = return_scale(close, recipe.horizon)[origins.start :]
        inputs = np.empty((0, 0))
        if self.regression is not None:
            inputs = scale_inputs(candles, self.regression.columns)[origins.start :]
            if recipe.target == "rescaled_return":
                scale = predict_scale(self.regression, inputs)
        parts = [self._mean_quantiles(chunk) for chunk in _chunks(x, BATCH)]
        quantiles = np.concatenate(parts) * scale[:, :, None]
        horizon, levels = recipe.horizon, recipe.quantile_levels
        if not recipe.blend:
            return quantiles
        if self.garch is not None:
            egarch = egarch_quantiles(
                self.garch, close, origins, horizon=horizon, levels=levels, seed=recipe.seed
            )
            return recipe.blend * egarch + (1 - recipe.blend) * quantiles
        if self.regression is None:
            raise ValueError("expected a blended forecaster with a regression or EGARCH, got none")
        regression = predict_scale_regression(self.regression, inputs, levels)
        naive = naive_quantiles(close, origins, horizon, levels)
        return blend_quantiles(quantiles, regression, naive, recipe.blend)

    def _mean_quantiles(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Quantiles (n, horizon, n_levels) of the unscaled target, averaged over members."""
        if isinstance(self.recipe.training, Chunks):
            members = [
                get_member_weights(self.network, self.recipe, member)
                for member in range(self.recipe.members)
            ]
            outputs = run_members(self.recipe, members, x)
        else:
            outputs = np.asarray(self.network(x, training=False))
        location, scale, degrees = split_outputs(outputs)
        flat = (-1, self.recipe.horizon)
        zero = self.scalers.targets.unscale(np.zeros((1, self.recipe.horizon)))
        location = self.scalers.targets.unscale(location.reshape(flat)).reshape(location.shape)
        scale = (self.scalers.targets.unscale(scale.reshape(flat)) - zero).reshape(scale.shape)
        levels = self.recipe.quantile_levels
        return np.asarray(student_t_quantiles(location, scale, degrees, levels).mean(axis=1))

    def save(self, folder: Path) -> None:
        """Write recipe.json and weights.npz into `folder`, which exists; no pickle."""
        state = {
            "recipe": self.recipe.model_dump(mode="json"),
            "feature_names": self.feature_names,
            "scalers": self.scalers.to_dict(),
            "errors": None if self.errors is None else self.errors.tolist(),
            "garch": None if self.garch is None else self.garch.to_dict(),
            "regression": None if self.regression is None else self.regression.to_dict(),
        }
        (folder / "recipe.json").write_text(json.dumps(state, indent=2))
        weights = {f"w{i:04d}": array for i, array in enumerate(self.network.get_weights())}
        np.savez(folder / "weights.npz", **weights)


def load_forecaster(folder: Path) -> Forecaster:
    """Rebuild the forecaster that `Forecaster.save` wrote into `folder`."""
    state: dict[str, Any] = json.loads((folder / "recipe.json").read_text())
    recipe = Recipe.from_stored(state["recipe"])
    names = tuple(state["feature_names"])
    network = build_network(recipe, len(names))
    with np.load(folder / "weights.npz", allow_pickle=False) as weights:
        network.set_weights([weights[name] for name in sorted(weights.files)])
    return Forecaster(
        recipe=recipe,
        feature_names=names,
        scalers=scalers_from_dict(state["scalers"]),
        network=network,
        errors=None if state["errors"] is None else np.asarray(state["errors"]),
        garch=None if state["garch"] is None else Garch(**state["garch"]),
        regression=ScaleRegression.from_dict(found) if (found := state.get("regression")) else None,
    )


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


def complete_forecaster(prepared: Prepared, network: keras.Model) -> Forecaster:
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
) -> tuple[list[keras.Model], Losses]:
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
        network = build_network(recipe, folds[0].features.shape[1])
        for member, arrays in enumerate(members):
            set_member_weights(network, recipe, member, arrays)
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


def _validation_errors(prepared: Prepared, network: keras.Model) -> NDArray[np.float64]:
    """Quantiles (horizon, n_levels) of the validation errors in log returns, median zero."""
    recipe, windows, scalers = prepared.recipe, prepared.windows, prepared.scalers
    part = windows.fold.validation
    origin_close = prepared.close[part.start : part.stop]
    predicted = _predict_log_returns(network, recipe, scalers, windows.x(part), origin_close)
    errors = _log_returns(windows.y(part), recipe, scalers, origin_close) - predicted
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


def _predict_log_returns(
    network: keras.Model,
    recipe: Recipe,
    scalers: Scalers,
    x: NDArray[np.float32],
    close: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Run the network on windows (n, lookback, n_features): log returns (n, horizon)."""
    outputs = [network(chunk, training=False) for chunk in _chunks(x, BATCH)]
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
