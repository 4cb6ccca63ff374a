"""The forecaster: scalers, network and what turns its output into quantiles, as one object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.config.recipe import Chunks, Recipe
from models.errors import InputError
from models.forecasters.baselines import naive_quantiles
from models.forecasters.blend import egarch_quantiles, with_naive
from models.forecasters.frame import Forecast
from models.forecasters.garch import Garch
from models.learning.chunks import run_members
from models.learning.features import make_features, needed_columns
from models.learning.network import MemberNetwork, build_network
from models.learning.scale_regression import (
    ScaleRegression,
    predict_scale,
    predict_scale_regression,
    scale_inputs,
)
from models.learning.scaler import Scalers, scalers_from_dict
from models.learning.splits import naive_first_origin
from models.learning.student_t import split_outputs, student_t_quantiles
from models.learning.windows import first_usable_row, make_windows, return_scale

# A log return needs a positive price; a network that learns prices may go below.
LEAST_PRICE_USD = 0.01
BATCH = 512


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
    network: keras.Model | MemberNetwork
    errors: NDArray[np.float64] | None = None
    garch: Garch | None = None
    regression: ScaleRegression | None = None

    @property
    def columns(self) -> set[str]:
        """Candle columns that a forecast reads."""
        own = self.regression.columns if self.regression else ()
        return {"open_time", "close", *own} | needed_columns(self.feature_names)

    def predict(
        self,
        candles: pd.DataFrame,
        origins: range | None = None,
        refits: Mapping[int, ScaleRegression] = MappingProxyType({}),
    ) -> Forecast:
        """Forecast from `origins`, rows of the candle frame; the last row alone if not given.

        `refits`: regressions in the place of the forecaster's own, each by the first origin that it
        is for. Gives quantiles (n, horizon, n_levels) of cumulative log returns, and in USD. An
        origin's forecast depends on no candle after it. Raises InputError when the history is too
        short.
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
            quantiles=self._quantiles(x, candles, origins, refits),
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
        self,
        x: NDArray[np.float32],
        candles: pd.DataFrame,
        origins: range,
        refits: Mapping[int, ScaleRegression],
    ) -> NDArray[np.float64]:
        """Quantiles (n, horizon, n_levels) from windows x; `candles` are all rows to the last."""
        recipe = self.recipe
        close = candles["close"].to_numpy(dtype=np.float64)
        if self.errors is not None:
            median = predict_log_returns(
                self.network, recipe, self.scalers, x, close[origins.start :]
            )
            return median[:, :, None] + self.errors
        parts = [self._mean_quantiles(chunk) for chunk in _chunks(x, BATCH)]
        network = np.concatenate(parts)
        if recipe.target == "standardized_return":
            network *= return_scale(close, recipe.horizon)[origins.start :, :, None]
        if self.regression is not None:
            inputs = scale_inputs(candles, self.regression.columns)[origins.start :]
            starts = [0, *(first - origins.start for first in refits), len(origins)]
            in_force = [self.regression, *refits.values()]
            for (start, stop), regression in zip(pairwise(starts), in_force, strict=True):
                rows = slice(start, stop)
                network[rows] = self._with_regression(regression, network[rows], inputs[rows])
        if not recipe.blend:
            return network
        if self.garch is None and self.regression is None:
            raise ValueError("expected a blended forecaster with a regression or EGARCH, got none")
        if self.garch is not None:
            egarch = egarch_quantiles(
                self.garch, close, origins, horizon=recipe.horizon, levels=recipe.quantile_levels,
                seed=recipe.seed,
            )  # fmt: skip
            return recipe.blend * egarch + (1 - recipe.blend) * network
        naive = naive_quantiles(close, origins, recipe.horizon, recipe.quantile_levels)
        return with_naive(network, naive)

    def _with_regression(
        self, regression: ScaleRegression, network: NDArray[np.float64], inputs: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The network's quantiles (n, horizon, n_levels) in log returns, averaged with its own."""
        recipe = self.recipe
        if recipe.target == "rescaled_return":
            network = network * predict_scale(regression, inputs)[:, :, None]
        if not recipe.blend:
            return network
        own = predict_scale_regression(regression, inputs, recipe.quantile_levels)
        return recipe.blend * own + (1 - recipe.blend) * network

    def _mean_quantiles(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Quantiles (n, horizon, n_levels) of the unscaled target, averaged over members."""
        if isinstance(self.network, MemberNetwork):
            outputs = run_members(self.recipe, self.network.get_members(), x)
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
    build = MemberNetwork if isinstance(recipe.training, Chunks) else build_network
    network = build(recipe, len(names))
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


def predict_log_returns(
    network: keras.Model,
    recipe: Recipe,
    scalers: Scalers,
    x: NDArray[np.float32],
    close: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Run the network on windows (n, lookback, n_features): log returns (n, horizon)."""
    outputs = [network(chunk, training=False) for chunk in _chunks(x, BATCH)]
    return log_returns(np.concatenate(outputs), recipe, scalers, close)


def _chunks(x: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(x), size):
        yield np.ascontiguousarray(x[start : start + size])


def log_returns(
    scaled: NDArray[np.floating], recipe: Recipe, scalers: Scalers, close: NDArray[np.float64]
) -> NDArray[np.float64]:
    """From scaled targets (n, horizon) to cumulative log returns from `close` (n,)."""
    values = scalers.targets.unscale(scaled)
    if recipe.target == "log_return":
        return values
    return np.log(np.maximum(values, LEAST_PRICE_USD) / close[:, None])
