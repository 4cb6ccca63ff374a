"""The sample is stable from day to day, plausible, and has the memory that it is meant to have."""

import datetime as dt
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from models.config.data import RepairPolicy
from models.data.candles import COLUMNS, check_candles, digest_candles, log_returns
from models.data.sample import PROCESS_START, VARIANTS, Variant, make_sample
from models.errors import InputError

DAY = dt.date(2026, 6, 30)
SEEDS = range(1, 6)


def returns_of(variant, seed=7, n_days=3000):
    return log_returns(
        make_sample(DAY, n_days=n_days, seed=seed, variant=variant)["close"].to_numpy()
    )


def autocorrelation(x, lag):
    return np.corrcoef(x[:-lag], x[lag:])[0, 1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_candles_are_whole_and_pass_the_checks(variant):
    frame = make_sample(DAY, variant=variant)
    assert list(frame.columns) == list(COLUMNS)
    assert len(frame) == 3000
    assert frame["open_time"].iloc[-1] == pd.Timestamp(DAY, tz="UTC")
    checked = check_candles(frame, RepairPolicy(), as_of=DAY, newest_closed=DAY)
    pd.testing.assert_frame_equal(checked.candles, frame)
    assert checked.repairs == ()
    assert {finding.kind for finding in checked.findings} <= {"outlier_return"}
    assert (frame["volume"] > 0).all()
    np.testing.assert_array_equal(frame["open"][1:], frame["close"][:-1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_candle_does_not_depend_on_the_last_day(variant):
    later = make_sample(DAY + dt.timedelta(days=400), n_days=3400, variant=variant)
    for earlier in (0, 1, 90):
        frame = make_sample(DAY - dt.timedelta(days=earlier), n_days=2900, variant=variant)
        same = later[later["open_time"].isin(frame["open_time"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(frame, same, check_exact=True)


def test_seed_and_variant_make_the_history():
    digests = {
        digest_candles(make_sample(DAY, seed=seed, variant=variant))
        for seed in (1, 2)
        for variant in get_args(Variant)
    }
    assert len(digests) == 6
    assert digest_candles(make_sample(DAY)) == digest_candles(make_sample(DAY))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("seed", [7, *SEEDS])
def test_prices_stay_plausible_for_decades(variant, seed):
    close = make_sample(dt.date(2035, 12, 31), n_days=8400, seed=seed, variant=variant)["close"]
    assert close.min() > 300 and close.max() < 900_000


@pytest.mark.parametrize(
    ("last_day", "n_days"),
    [(PROCESS_START, 2), (PROCESS_START - dt.timedelta(days=1), 1), (DAY, 0), (DAY, 100_000)],
)
def test_too_few_days_are_refused(last_day, n_days):
    with pytest.raises(InputError, match="the sample begins on 2005-01-01"):
        make_sample(last_day, n_days=n_days)
    assert len(make_sample(PROCESS_START, n_days=1)) == 1


def test_an_unknown_variant_is_our_own_mistake():
    with pytest.raises(ValueError, match="received 'plantd'"):
        make_sample(DAY, variant="plantd")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [7, *SEEDS])
def test_default_volatility_clusters_and_direction_does_not(seed):
    returns = returns_of("default", seed, n_days=7000)
    clustering = [autocorrelation(np.abs(returns), lag) for lag in range(1, 21)]
    assert min(clustering) > 0.03 and np.mean(clustering) > 0.08
    assert pd.Series(returns).kurt() > 2
    # Stochastic volatility widens the error of a correlation, to some 2.5 times 1 / sqrt(n).
    assert abs(autocorrelation(returns, 1)) < 0.09
    assert 0.02 < returns.std() < 0.05


@pytest.mark.parametrize("seed", [7, *SEEDS])
def test_default_weekends_are_quieter_and_ranges_and_volume_follow_volatility(seed):
    frame = make_sample(DAY, n_days=7000, seed=seed)[1:]
    size = np.abs(returns_of("default", seed, n_days=7000))
    weekend = frame["open_time"].dt.day_of_week.to_numpy() >= 5
    assert np.median(size[weekend]) < 0.9 * np.median(size[~weekend])
    assert frame["volume"][weekend].median() < frame["volume"][~weekend].median()
    log_range = np.log(frame["high"] / frame["low"])
    assert np.corrcoef(log_range[:-1], size[1:])[0, 1] > 0.15
    assert np.corrcoef(np.log(frame["volume"]), size)[0, 1] > 0.3


@pytest.mark.parametrize("seed", [7, *SEEDS])
def test_random_walk_has_no_memory_at_all(seed):
    frame = make_sample(DAY, n_days=7000, seed=seed, variant="random-walk")
    returns = log_returns(frame["close"].to_numpy())
    known = {
        "return": returns,
        "size": np.abs(returns),
        "range": np.log((frame["high"] / frame["low"]).to_numpy())[1:],
        "volume": np.log(frame["volume"].to_numpy())[1:],
    }
    limit = 4 / np.sqrt(len(returns))
    for name, values in known.items():
        for lag in (1, 2, 7):
            assert abs(np.corrcoef(values[:-lag], returns[lag:])[0, 1]) < limit, name
            assert abs(np.corrcoef(values[:-lag], np.abs(returns[lag:]))[0, 1]) < limit, name
    assert abs(returns.mean()) < 4 * returns.std() / np.sqrt(len(returns))
    assert abs(pd.Series(returns).kurt()) < 0.3  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [7, *SEEDS])
def test_planted_signal_beats_naive_out_of_sample(seed):
    returns = returns_of("planted", seed)
    assert 0.5 < autocorrelation(returns, 1) < 0.7
    now, following = returns[:-1], returns[1:]
    slope = (now[:2000] @ following[:2000]) / (now[:2000] @ now[:2000])
    error = following[2000:] - slope * now[2000:]
    assert 1 - (error @ error) / (following[2000:] @ following[2000:]) > 0.25


def test_intraday_extremes_have_the_variance_of_the_bridge():
    # For a random walk with sigma s a day, high over low is on average 2 s sqrt(2 / pi) of log
    # range by the exact marginals, whatever their dependence: E[max W] = s sqrt(2 / pi).
    frame = make_sample(DAY, n_days=7000, variant="random-walk")
    log_range = np.log(frame["high"] / frame["low"])
    expected = 2 * 0.015 * np.sqrt(2 / np.pi)
    assert abs(log_range.mean() / expected - 1) < 0.02


def test_random_walk_is_its_own_draws_and_nothing_else():
    n = (DAY - PROCESS_START).days + 1
    normal = np.random.default_rng(np.random.SeedSequence(7).spawn(8)[1]).standard_normal(n)
    returns = returns_of("random-walk")
    np.testing.assert_allclose(returns, 0.015 * normal[-len(returns) :], atol=2e-6)
