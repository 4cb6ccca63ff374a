"""The scale regression: gradients, what it recovers, what it knows, and how it is kept."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import check_grad
from scipy.stats import t as student_t

from models.errors import InputError
from models.learning.features import volatility_of_closes
from models.learning.scale_regression import (
    ScaleRegression,
    fit_scale_regression,
    negative_log_likelihood,
    predict_scale_regression,
    scale_columns,
    scale_inputs,
)

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@pytest.fixture(scope="module")
def weekly() -> pd.DataFrame:
    """Candles whose scale depends on the weekday alone: Sunday moves a third of other days."""
    rng = np.random.default_rng(1)
    days = pd.date_range("2015-01-01", periods=2500, freq="D", tz="UTC", unit="us")
    scale = np.where(days.dayofweek == 6, 0.01, 0.03)
    close = 1000 * np.exp(np.cumsum(scale * rng.standard_t(5, len(days))))
    return pd.DataFrame({"open_time": days, "close": close})


def test_gradient_is_that_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((300, 4)), 0.03 * rng.standard_t(4, 300)
    weights = rng.uniform(0.2, 1.0, 300)
    for _ in range(5):
        at = np.append(rng.normal(-3.5, 0.3), rng.normal(0, 0.4, 5))
        error = check_grad(
            lambda p: negative_log_likelihood(p, x, y, weights)[0],
            lambda p: negative_log_likelihood(p, x, y, weights)[1],
            at,
        )
        assert error < 1e-4


def test_likelihood_is_scipys() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((50, 2)), rng.standard_normal(50)
    parameters = np.array([0.2, 0.0, 0.0, 0.7])
    degrees = 2.1 + np.log1p(np.exp(0.7))
    floored = np.sqrt(np.square(y) + 1e-8)
    by_hand = -student_t.logpdf(floored, degrees, scale=np.exp(0.2)).mean()
    assert negative_log_likelihood(parameters, x, y, np.ones(50))[0] == pytest.approx(by_hand)


def test_weekday_is_found(weekly: pd.DataFrame) -> None:
    model = fit_scale_regression(weekly, 1)
    inputs = scale_inputs(weekly, model.columns)
    quantiles = predict_scale_regression(model, inputs, LEVELS)[:, 0]
    following = (weekly["open_time"].dt.dayofweek + 1) % 7
    width = quantiles[100:, -1] - quantiles[100:, 0]
    sunday = (following == 6).to_numpy()[100:]
    ratio = np.median(width[sunday]) / np.median(width[~sunday])
    assert ratio == pytest.approx(1 / 3, rel=0.2)
    # And the bands hold what they say.
    actual = np.diff(np.log(weekly["close"]))[100:]
    inside = (quantiles[100:-1, 0] <= actual) & (actual <= quantiles[100:-1, -1])
    assert inside.mean() == pytest.approx(0.9, abs=0.02)


def test_quantiles_are_sorted_symmetric_and_grow_with_the_step(candles: pd.DataFrame) -> None:
    model = fit_scale_regression(candles, 3)
    quantiles = predict_scale_regression(model, scale_inputs(candles, model.columns)[100:], LEVELS)
    assert quantiles.shape == (300, 3, 5)
    assert (np.diff(quantiles, axis=-1) > 0).all()
    np.testing.assert_allclose(quantiles, -quantiles[..., ::-1], atol=1e-12)
    width = (quantiles[..., -1] - quantiles[..., 0]).mean(axis=0)
    assert (np.diff(width) > 0).all()


def test_an_input_knows_no_later_candle_and_no_other_weekday(candles: pd.DataFrame) -> None:
    columns = scale_columns(candles)
    before = scale_inputs(candles, columns)
    changed = candles.copy()
    for name in ("open", "high", "low", "close", "volume"):
        changed.loc[201:, name] *= 3.0 + np.arange(len(changed) - 201) % 5
    after = scale_inputs(changed, columns)
    assert before[:201].tobytes() == after[:201].tobytes()
    assert not np.array_equal(before[201:], after[201:], equal_nan=True)
    # The weekday is that of the day to come; one week of them has every dummy once, Monday none.
    week = before[100:107, 3:]
    assert week.sum() == 6
    assert (week.sum(axis=0) == 1).all()


def test_a_fit_knows_no_later_candle(candles: pd.DataFrame) -> None:
    known = candles.iloc[:300]
    changed = candles.copy()
    changed.loc[300:, ["open", "high", "low", "close"]] *= 7.0
    ours, theirs = (fit_scale_regression(frame.iloc[:300], 3) for frame in (candles, changed))
    assert ours.to_dict() == theirs.to_dict() == fit_scale_regression(known, 3).to_dict()


def test_days_without_movement_or_volume_take_the_smooth_variance(candles: pd.DataFrame) -> None:
    still = candles.copy()
    still.loc[200, ["open", "high", "low"]] = still.loc[200, "close"]
    still.loc[210, "volume"] = 0.0
    inputs = scale_inputs(still, scale_columns(still))
    smooth = np.log(np.square(volatility_of_closes(still["close"].to_numpy())))
    assert inputs[200, 0] == pytest.approx(smooth[200])
    assert inputs[210, 0] == pytest.approx(smooth[210])
    assert inputs[205, 0] != pytest.approx(smooth[205])


def test_closes_alone_will_do_and_are_remembered(candles: pd.DataFrame) -> None:
    model = fit_scale_regression(candles[["open_time", "close"]], 2)
    assert model.columns == ("close",)
    # A forecast on candles that have more reads no more than was learned from.
    inputs = scale_inputs(candles, model.columns)
    np.testing.assert_array_equal(inputs, scale_inputs(candles[["open_time", "close"]], ("close",)))


def test_kept_as_json_to_the_last_bit(candles: pd.DataFrame) -> None:
    model = fit_scale_regression(candles, 2)
    again = ScaleRegression.from_dict(json.loads(json.dumps(model.to_dict())))
    inputs = scale_inputs(candles, model.columns)
    ours, theirs = (predict_scale_regression(m, inputs, LEVELS) for m in (model, again))
    assert ours.tobytes() == theirs.tobytes()


def test_started_from_an_earlier_fit_it_arrives_at_the_same_place(candles: pd.DataFrame) -> None:
    cold = fit_scale_regression(candles, 2)
    warm = fit_scale_regression(candles, 2, fit_scale_regression(candles.iloc[:-30], 2))
    inputs = scale_inputs(candles, cold.columns)[100:]
    ours, theirs = (predict_scale_regression(m, inputs, LEVELS) for m in (cold, warm))
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-6)


def test_too_few_candles_are_refused(candles: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="162 candles leave 99 to learn from, expected 100"):
        fit_scale_regression(candles.iloc[:162], 3)


def test_no_more_than_twenty_years_are_read(candles: pd.DataFrame, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("models.learning.scale_regression.MAX_DAYS", 300)
    ours = fit_scale_regression(candles, 2)
    assert ours.to_dict() == fit_scale_regression(candles.tail(300), 2).to_dict()


def test_days_without_any_return_leave_the_bands_as_wide_as_the_other_days() -> None:
    """Prices stand still at weekends; the likelihood alone would let their scale go to zero."""
    rng = np.random.default_rng(4)
    days = pd.date_range("2018-01-01", periods=1200, freq="D", tz="UTC", unit="us")
    moves = np.where(days.dayofweek >= 5, 0.0, 0.02 * rng.standard_normal(len(days)))
    candles = pd.DataFrame({"open_time": days, "close": 100 * np.exp(np.cumsum(moves))})
    model = fit_scale_regression(candles, 2)
    inputs = scale_inputs(candles, model.columns)[100:]
    quantiles = predict_scale_regression(model, inputs, LEVELS)[:, 0]
    width = quantiles[:, -1] - quantiles[:, 0]
    assert width.min() > 1e-5 and width.max() < 0.3
