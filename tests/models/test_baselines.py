"""Naive persistence: zero, and around it what the last 250 complete moves were."""

from __future__ import annotations

import numpy as np
import pytest

from models.baselines import NAIVE_WINDOW, naive_quantiles
from models.config import DEFAULT_LEVELS

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
