"""Baselines by hand and by slow oracles; none knows a candle after its origin."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

from models.config.flows import BASELINE_NAMES
from models.config.recipe import DEFAULT_LEVELS
from models.data.sample import make_sample
from models.errors import InputError
from models.forecasters.baselines import (
    BASELINES,
    NAIVE_WINDOW,
    Question,
    naive_quantiles,
    predict_baseline,
)

CLOSE = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.02, 320)))


@pytest.mark.parametrize("horizon", [1, 3, 7])
def test_against_a_slow_oracle(horizon):
    origins = range(300, 310)
    quantiles = naive_quantiles(CLOSE, origins, horizon, DEFAULT_LEVELS)
    assert quantiles.shape == (10, horizon, len(DEFAULT_LEVELS))
    for i, origin in enumerate(origins):
        for step in range(1, horizon + 1):
            ends = range(origin - NAIVE_WINDOW + 1, origin + 1)
            moves = [np.log(CLOSE[end] / CLOSE[end - step]) for end in ends]
            expected = np.quantile(moves, DEFAULT_LEVELS) - np.median(moves)
            np.testing.assert_allclose(quantiles[i, step - 1], expected, atol=1e-12)


def test_the_median_is_today_s_price_and_quantiles_are_sorted():
    quantiles = naive_quantiles(CLOSE, range(260, 320), 5, DEFAULT_LEVELS)
    assert (quantiles[:, :, DEFAULT_LEVELS.index(0.5)] == 0).all()
    assert (np.diff(quantiles, axis=2) >= 0).all()


def test_only_the_last_complete_moves_are_read():
    origins, horizon = range(300, 305), 3
    quantiles = naive_quantiles(CLOSE, origins, horizon, DEFAULT_LEVELS)
    changed = CLOSE.copy()
    changed[305:] *= 7
    changed[: 300 - NAIVE_WINDOW - horizon + 1] *= 7
    again = naive_quantiles(changed, origins, horizon, DEFAULT_LEVELS)
    assert again.tobytes() == quantiles.tobytes()
    changed[304] *= 7
    assert naive_quantiles(changed, origins, horizon, DEFAULT_LEVELS)[-1].tobytes() != (
        quantiles[-1].tobytes()
    )


@pytest.mark.parametrize("horizon", [1, 4])
def test_a_short_past_is_refused_and_just_enough_is_not(horizon):
    first = NAIVE_WINDOW + horizon - 1
    assert np.isfinite(naive_quantiles(CLOSE, range(first, 320), horizon, DEFAULT_LEVELS)).all()
    with pytest.raises(ValueError, match=f"expected {first} rows .* received {first - 1}"):
        naive_quantiles(CLOSE, range(first - 1, 320), horizon, DEFAULT_LEVELS)


EASY = ("naive", "seasonal_naive", "mean_return", "ewma", "har")
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@pytest.fixture(scope="module")
def long_candles():
    return make_sample(dt.date(2024, 12, 31), n_days=620)


def ask(name, frame, origins, **more):
    asked: dict[str, Any] = {"horizon": 8, "levels": LEVELS} | more
    question = Question(frame, origins, **asked)
    return predict_baseline(name, question)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_knows_no_later_candle(long_candles, name):
    origins = range(600, 611)
    before = ask(name, long_candles, origins, refit_days=6)
    assert before.shape == (11, 8, 5)
    assert np.isfinite(before).all() and (np.diff(before, axis=2) >= 0).all()
    assert (np.diff(before[:, :, 4] - before[:, :, 0], axis=1) > 0).mean() > 0.7
    changed = long_candles.copy()
    prices = ["open", "high", "low", "close"]
    factors = np.linspace(2, 9, 15)[:, None]
    changed.loc[605:, prices] = changed.loc[605:, prices].to_numpy() * factors
    after = ask(name, changed, origins, refit_days=6)
    assert before[:5].tobytes() == after[:5].tobytes()
    assert before[5:].tobytes() != after[5:].tobytes()


@pytest.mark.parametrize("name", EASY)
def test_an_origin_does_not_depend_on_which_others_are_asked(long_candles, name):
    many = ask(name, long_candles, range(600, 610), refit_days=1)
    one = ask(name, long_candles, range(609, 610), refit_days=1)
    np.testing.assert_allclose(many[-1:], one, rtol=1e-12)


def test_names_are_those_that_the_configuration_knows():
    assert tuple(BASELINES) == BASELINE_NAMES


def test_medians_by_hand(long_candles):
    log_close = np.log(long_candles["close"].to_numpy())
    returns = np.diff(log_close, prepend=np.nan)
    assert (ask("naive", long_candles, range(600, 605))[:, :, 2] == 0).all()
    mean_return = ask("mean_return", long_candles, range(600, 601))[0, :, 2]
    mean = (log_close[600] - log_close[0]) / 600
    np.testing.assert_allclose(mean_return, mean * np.arange(1, 9))
    season = ask("seasonal_naive", long_candles, range(600, 601))[0]
    for step in (1, 7, 8):
        # Day 601 repeats day 594, day 607 repeats day 600, and day 608 day 594 + 7 again: 601 - 7.
        errors = []
        for origin in range(600 - step - 249, 600 - step + 1):
            known = sum(
                returns[origin + ahead - (7 if ahead < 8 else 14)] for ahead in range(1, step + 1)
            )
            errors.append(log_close[origin + step] - log_close[origin] - known)
        location = sum(
            returns[600 + ahead - (7 if ahead < 8 else 14)] for ahead in range(1, step + 1)
        )
        expected = location + np.quantile(errors, LEVELS)
        np.testing.assert_allclose(season[step - 1], expected, atol=1e-12)


def test_ewma_by_hand(long_candles):
    log_close = np.log(long_candles["close"].to_numpy())
    returns = np.diff(log_close)
    state = np.mean(returns[:20] ** 2)
    scales = {20: state}
    for row in range(21, 601):
        state = 0.94 * state + 0.06 * returns[row - 1] ** 2
        scales[row] = state
    standardised = [returns[row] / np.sqrt(scales[row]) for row in range(100, 600)]
    expected = np.sqrt(scales[600]) * np.quantile(standardised, LEVELS)
    ours = ask("ewma", long_candles, range(600, 601))[0, 0]
    np.testing.assert_allclose(ours, expected, rtol=1e-3)


def test_what_cannot_be_asked_is_refused(long_candles):
    with pytest.raises(InputError, match="did you mean 'garch'"):
        ask("grach", long_candles, range(600, 601))
    with pytest.raises(InputError, match="expected at least 538 candles"):
        ask("naive", long_candles, range(300, 301))
