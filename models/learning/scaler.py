"""Scaling: scikit-learn's scalers, saved as plain numbers inside the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from models.config.recipe import Recipe
from models.learning.splits import Fold

_CLASSES = {"standard": StandardScaler, "minmax": MinMaxScaler}
# What scikit-learn's transform and inverse_transform read.
_STATE = {"standard": ("mean_", "scale_"), "minmax": ("min_", "scale_")}


@dataclass(frozen=True)
class Scaler:
    """A fitted column-wise scaler of arrays (n, n_columns)."""

    kind: Literal["standard", "minmax"]
    fitted: StandardScaler | MinMaxScaler

    def scale(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        """Scale (n, n_columns); NaN stays NaN."""
        return np.asarray(self.fitted.transform(values), dtype=np.float32)

    def unscale(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Undo `scale` on (n, n_columns)."""
        return np.asarray(self.fitted.inverse_transform(values.astype(np.float64)))

    def to_dict(self) -> dict[str, Any]:
        """Give the state as JSON types."""
        state = {name: getattr(self.fitted, name).tolist() for name in _STATE[self.kind]}
        return {"kind": self.kind, **state}


def fit_scaler(kind: Literal["standard", "minmax"], values: NDArray[np.float64]) -> Scaler:
    """Fit on (n, n_columns), ignoring NaN; the caller passes training rows alone."""
    return Scaler(kind, _CLASSES[kind]().fit(values))


def scaler_from_dict(state: dict[str, Any]) -> Scaler:
    """Rebuild what `Scaler.to_dict` gave."""
    kind = state["kind"]
    fitted = _CLASSES[kind]()
    for name in _STATE[kind]:
        setattr(fitted, name, np.asarray(state[name], dtype=np.float64))
    fitted.n_features_in_ = len(state["scale_"])
    return Scaler(kind, fitted)


@dataclass(frozen=True)
class Scalers:
    """The scalers of the inputs (n_features columns) and of the targets (horizon columns)."""

    features: Scaler
    targets: Scaler

    def to_dict(self) -> dict[str, Any]:
        """Give the state of both as JSON types."""
        return {"features": self.features.to_dict(), "targets": self.targets.to_dict()}


def scalers_from_dict(state: dict[str, Any]) -> Scalers:
    """Rebuild what `Scalers.to_dict` gave."""
    return Scalers(scaler_from_dict(state["features"]), scaler_from_dict(state["targets"]))


def fit_scalers(
    recipe: Recipe, features: NDArray[np.float64], targets: NDArray[np.float64], fold: Fold
) -> Scalers:
    """Fit on the rows of the training fold: `features` (n, n_features), `targets` (n, horizon).

    Of the targets only those that the training origins are taught are read. A recipe with
    `scale_on` 'all' reads every row, which leaks the future.
    """
    rows = slice(fold.train_rows.start, fold.train_rows.stop)
    origins = slice(fold.train.start, fold.train.stop)
    if recipe.scale_on == "all":
        rows = origins = slice(fold.train_rows.start, None)
    return Scalers(
        fit_scaler(recipe.scaler, features[rows]), fit_scaler(recipe.scaler, targets[origins])
    )
