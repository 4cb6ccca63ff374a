"""The adaptive correction: by hand, blind to what is not known yet, and right in the long run."""

from __future__ import annotations

import numpy as np
import pytest

from models.forecasters.conformal import adapt_quantiles

LEVELS = tuple(round(0.05 * i, 2) for i in range(1, 20))


def test_two_days_by_hand():
    quantiles = np.tile([1.0, 2.0, 3.0], (3, 1))
    ours = adapt_quantiles(
        quantiles, np.array([5.0, 0.0, 2.5]), (0.25, 0.5, 0.75), step=1, rate=0.1
    )
    np.testing.assert_allclose(ours[0], [1, 2, 3])
    # 5 is above all: every level moves up by 0.1 tau, a quarter of level being one unit.
    np.testing.assert_allclose(ours[1], [1 + 0.1, 2 + 0.2, 3 + 0.3])
    # 0 is below all: every level moves down by 0.1 (1 - tau).
    np.testing.assert_allclose(ours[2], [1.1 - 0.3, 2.2 - 0.2, 3.3 - 0.1])


@pytest.mark.parametrize("step", [1, 3])
def test_only_outcomes_that_are_known_count(step):
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.normal(size=(40, len(LEVELS))), axis=1)
    actual = rng.normal(size=40)
    other = actual.copy()
    other[20:] = 9
    before, after = (
        adapt_quantiles(quantiles, values, LEVELS, step=step, rate=0.05)
        for values in (actual, other)
    )
    assert np.array_equal(before[: 20 + step], after[: 20 + step])
    assert not np.array_equal(before[20 + step], after[20 + step])


def test_too_narrow_a_forecast_is_widened_to_its_level():
    rng = np.random.default_rng(1)
    actual = rng.normal(size=6000)
    quantiles = np.tile(0.6 * np.quantile(rng.normal(size=100_000), LEVELS), (6000, 1))
    corrected = adapt_quantiles(quantiles, actual, LEVELS, step=1, rate=0.02)
    low, high = LEVELS.index(0.05), LEVELS.index(0.95)

    def coverage(values):
        return np.mean(
            (values[2000:, low] <= actual[2000:]) & (actual[2000:] <= values[2000:, high])
        )

    assert coverage(quantiles) < 0.75
    assert coverage(corrected) > coverage(quantiles) + 0.05
    assert (np.diff(corrected, axis=1) >= 0).all()


def test_an_outcome_that_is_missing_teaches_nothing():
    quantiles = np.tile([1.0, 2.0, 3.0], (4, 1))
    ours = adapt_quantiles(quantiles, np.full(4, np.nan), (0.25, 0.5, 0.75), step=1)
    np.testing.assert_allclose(ours, quantiles)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected quantiles"):
        adapt_quantiles(np.zeros((3, 2)), np.zeros(3), (0.5,), step=1)
