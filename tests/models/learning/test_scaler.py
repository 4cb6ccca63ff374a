"""Scaling is scikit-learn's own, and survives JSON to the last bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from models.config.recipe import Recipe
from models.learning.scaler import fit_scaler, fit_scalers, scaler_from_dict, scalers_from_dict
from models.learning.splits import Fold

CLASSES = {"standard": StandardScaler, "minmax": MinMaxScaler}
KINDS = pytest.mark.parametrize("kind", CLASSES)


@pytest.fixture
def values():
    spread = [1, 1e-3, 5e4]
    return np.random.default_rng(0).normal(size=(50, 3)) * spread + [0, 1, 3e4]


def test_hand_computed_values():
    column = np.array([[2.0], [4.0], [6.0]])
    standard, minmax = fit_scaler("standard", column), fit_scaler("minmax", column)
    np.testing.assert_allclose(standard.scale(column)[:, 0], [-(1.5**0.5), 0, 1.5**0.5], rtol=1e-6)
    assert minmax.scale(np.array([[2.0], [5.0], [8.0]])).tolist() == [[0], [0.75], [1.5]]
    assert minmax.unscale(np.array([[0.75]])).tolist() == [[5.0]]


@KINDS
def test_scaling_is_scikit_learn_s(values, kind):
    ours, theirs = fit_scaler(kind, values), CLASSES[kind]().fit(values)
    assert ours.scale(values).dtype == np.float32
    assert ours.scale(values).tobytes() == theirs.transform(values).astype(np.float32).tobytes()
    scaled = ours.scale(values)
    expected = theirs.inverse_transform(scaled.astype(np.float64))
    assert ours.unscale(scaled).tobytes() == expected.tobytes()
    np.testing.assert_allclose(ours.unscale(scaled), values, rtol=1e-4, atol=1e-2)


@KINDS
def test_json_keeps_every_bit(values, kind):
    scaler = fit_scaler(kind, values)
    again = scaler_from_dict(json.loads(json.dumps(scaler.to_dict())))
    assert again.kind == kind
    assert again.scale(values).tobytes() == scaler.scale(values).tobytes()
    scaled = scaler.scale(values)
    assert again.unscale(scaled).tobytes() == scaler.unscale(scaled).tobytes()
    assert again.to_dict() == scaler.to_dict()


@KINDS
def test_missing_values_stay_missing_and_teach_nothing(values, kind):
    holed = np.vstack([np.full(3, np.nan), values])
    assert fit_scaler(kind, holed).to_dict() == fit_scaler(kind, values).to_dict()
    assert np.isnan(fit_scaler(kind, holed).scale(holed)[0]).all()


@KINDS
def test_a_column_that_does_not_move_is_no_division_by_zero(kind):
    assert np.isfinite(fit_scaler(kind, np.ones((5, 1))).scale(np.ones((2, 1)))).all()


@pytest.mark.parametrize(
    ("recipe", "rows", "origins"),
    [
        (Recipe(), slice(2, 30), slice(5, 28)),
        (Recipe(preset="assignment"), slice(2, None), slice(2, None)),
    ],
)
def test_scalers_read_the_rows_that_the_recipe_allows(values, recipe, rows, origins):
    fold = Fold(
        range(5, 28), range(30, 38), range(40, 47), train_rows=range(2, 30), history=range(30)
    )
    targets = values[:, :2] * 3
    scalers = fit_scalers(recipe, values, targets, fold)
    assert scalers.features.to_dict() == fit_scaler(recipe.scaler, values[rows]).to_dict()
    assert scalers.targets.to_dict() == fit_scaler(recipe.scaler, targets[origins]).to_dict()
    assert scalers_from_dict(json.loads(json.dumps(scalers.to_dict()))).to_dict() == (
        scalers.to_dict()
    )
