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

from models.blend import econometric_quantiles, first_origin
from models.chunks import ChunkData, fit_on_chunks, run_members
from models.errors import InputError
from models.features import make_features
from models.forecast import Forecast
from models.garch import Garch, fit_garch
from models.network import build_network, get_member_weights, set_member_weights
from models.recipe import Recipe
from models.scaler import Scalers, scalers_from_dict
from models.student import split_outputs, student_t_loss, student_t_quantiles
from models.windows import WindowSet, first_usable_row, make_windows, return_scale

# A log return needs a positive price; a network that learns prices may go below.
LEAST_PRICE_USD = 0.01
BATCH = 512
BLEND_DAYS = 7300
"""Days that EGARCH is fitted on at most, twenty years: its five numbers gain nothing from more, and
without a limit their fit would come to cost more than the networks'."""

OnEpoch = Callable[[int, dict[str, float]], None]
Losses = dict[str, list[float]]


@dataclass(frozen=True)
class Forecaster:
    """A fitted recipe.

    `errors` (horizon, n_levels), for the head 'point': empirical quantiles of the validation errors
    in log returns, less their median, so that the network's output is the median of the forecast.
    `garch`, for a blended recipe: the EGARCH that the network is averaged with.
    """

    recipe: Recipe
    feature_names: tuple[str, ...]
    scalers: Scalers
    network: keras.Model
    errors: NDArray[np.float64] | None = None
    garch: Garch | None = None

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
            quantiles=self._quantiles(x, close, origins),
            levels=self.recipe.quantile_levels,
        )

    def first_origin(self, first_row: int) -> int:
        """First row that can be forecast from, where features are complete from `first_row` on."""
        first = first_row + self.recipe.lookback - 1
        return max(first, first_origin(self.recipe.horizon)) if self.garch else first

    def _quantiles(
        self, x: NDArray[np.float32], close: NDArray[np.float64], origins: range
    ) -> NDArray[np.float64]:
        """Quantiles (n, horizon, n_levels) from windows x; `close` of all rows to the last."""
        recipe = self.recipe
        if self.errors is not None:
            median = _predict_log_returns(
                self.network, recipe, self.scalers, x, close[origins.start :]
            )
            return median[:, :, None] + self.errors
        scale = np.ones((len(origins), recipe.horizon))
        if recipe.target == "standardized_return":
            scale = return_scale(close, recipe.horizon)[origins.start :]
        parts = [self._mean_quantiles(chunk) for chunk in _chunks(x, BATCH)]
        quantiles = np.concatenate(parts) * scale[:, :, None]
        if self.garch is None:
            return quantiles
        econometric = econometric_quantiles(
            self.garch,
            close,
            origins,
            horizon=recipe.horizon,
            levels=recipe.quantile_levels,
            seed=recipe.seed,
        )
        return recipe.blend * econometric + (1 - recipe.blend) * quantiles

    def _mean_quantiles(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Quantiles (n, horizon, n_levels) of the unscaled target, averaged over members."""
        if self.recipe.training == "chunks":
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
        }
        (folder / "recipe.json").write_text(json.dumps(state, indent=2))
        weights = {f"w{i:04d}": array for i, array in enumerate(self.network.get_weights())}
        np.savez(folder / "weights.npz", **weights)


def load_forecaster(folder: Path) -> Forecaster:
    """Rebuild the forecaster that `Forecaster.save` wrote into `folder`."""
    state: dict[str, Any] = json.loads((folder / "recipe.json").read_text())
    recipe = Recipe.model_validate(state["recipe"])
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
    )


def fit_forecaster(
    recipe: Recipe,
    feature_names: tuple[str, ...],
    windows: WindowSet,
    scalers: Scalers,
    close: NDArray[np.float64],
    on_epoch: OnEpoch,
    *,
    companions: tuple[ChunkData, ...] = (),
    start: keras.Model | None = None,
) -> tuple[Forecaster, Losses]:
    """Train on the fold's training part; with `patience` stop by its validation part.

    `close` (n,), in USD, are the closes of the rows of `windows`. `on_epoch(epoch, losses)` is
    called after every epoch, counted from 1. Returns the forecaster and the losses by epoch
    ('loss', 'val_loss': of the scaled targets, mean squared error with the head 'point', else
    negative log likelihood). `companions` share the training on chunks. `start` is a network of the
    same shape whose weights training goes on from; None draws them. The same arguments give the
    same weights, bit for bit, on a CPU.
    """
    if recipe.training == "chunks":
        fold = windows.fold
        data = ChunkData(windows.features, windows.targets, fold.train, fold.validation, companions)
        networks, losses = _fit_on_chunks(recipe, [data], on_epoch, start)
        network = networks[0]
    else:
        network, losses = _fit_on_windows(recipe, len(feature_names), windows, on_epoch, start)
    errors = None
    if recipe.head == "point":
        errors = _validation_errors(recipe, network, windows, scalers, close)
    garch = fit_blend(recipe, close[: windows.fold.train_rows.stop])
    return Forecaster(recipe, feature_names, scalers, network, errors, garch), losses


def fit_forecasters(
    recipe: Recipe,
    feature_names: tuple[str, ...],
    folds: Sequence[ChunkData],
    scalers: Sequence[Scalers],
    closes: Sequence[NDArray[np.float64]],
) -> list[Forecaster]:
    """Train a recipe on several folds at once, as one batched network; see models/chunks.py.

    `closes`: for each fold those that are known when it is fitted, (n_known,), in USD.
    """
    networks, _ = _fit_on_chunks(recipe, folds, lambda epoch, losses: None, None)
    return [
        Forecaster(recipe, feature_names, scaler, network, garch=fit_blend(recipe, close))
        for scaler, network, close in zip(scalers, networks, closes, strict=True)
    ]


def fit_blend(recipe: Recipe, close: NDArray[np.float64]) -> Garch | None:
    """Fit the EGARCH of a blended recipe on closes (n,), the last `BLEND_DAYS` returns of them.

    None where nothing is blended.
    """
    return fit_garch(np.diff(np.log(close))[-BLEND_DAYS:], "egarch") if recipe.blend else None


def _fit_on_chunks(
    recipe: Recipe, folds: Sequence[ChunkData], on_epoch: OnEpoch, start: keras.Model | None
) -> tuple[list[keras.Model], Losses]:
    starts = None
    if start is not None:
        members = [get_member_weights(start, recipe, i) for i in range(recipe.members)]
        starts = [members] * len(folds)
    weights, losses = fit_on_chunks(recipe, folds, on_epoch, starts)
    networks = []
    for members in weights:
        network = build_network(recipe, folds[0].features.shape[1])
        for member, arrays in enumerate(members):
            set_member_weights(network, recipe, member, arrays)
        networks.append(network)
    return networks, losses


def _fit_on_windows(
    recipe: Recipe,
    n_features: int,
    windows: WindowSet,
    on_epoch: OnEpoch,
    start: keras.Model | None,
) -> tuple[keras.Model, Losses]:
    tf.random.set_seed(recipe.seed)
    tf.config.experimental.enable_op_determinism()
    network = build_network(recipe, n_features)
    if start is not None:
        network.set_weights(start.get_weights())
    loss = "mse" if recipe.head == "point" else student_t_loss
    network.compile(keras.optimizers.Adam(recipe.learning_rate), loss)
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
    return network, {name: [float(v) for v in values] for name, values in history.history.items()}


def _validation_errors(
    recipe: Recipe,
    network: keras.Model,
    windows: WindowSet,
    scalers: Scalers,
    close: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Quantiles (horizon, n_levels) of the validation errors in log returns, median zero."""
    part = windows.fold.validation
    origin_close = close[part.start : part.stop]
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
    return origins.batch(recipe.batch_size).map(gather).prefetch(2)


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
