"""CRPS and pinball loss: by hand, against slow oracles, closed forms and other people's code."""

from __future__ import annotations

from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import scoringrules as sr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student_t
from sklearn.metrics import mean_pinball_loss

from models.config.recipe import DEFAULT_LEVELS
from models.scoring import metrics as m

numbers = st.floats(-1e3, 1e3, allow_nan=False).map(lambda value: round(value, 6))
samples = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30)


def test_pinball_loss_by_hand():
    loss = m.pinball_loss([1.0, -1.0], [[0.0, 0.5], [0.0, 0.0]], [0.25, 0.5])
    assert loss.tolist() == [[0.25, 0.25], [0.75, 0.5]]


def test_crps_by_hand_on_the_percentiles():
    # Even on 0…1, and 1 came: pinball p (1 - p), twice the mean over i/100. The integral is 1/3.
    losses = [Fraction(i, 100) * (1 - Fraction(i, 100)) for i in range(1, 100)]
    found = m.crps_from_quantiles(1.0, m.PERCENTILES, m.PERCENTILES)
    assert found == pytest.approx(float(2 * sum(losses) / 99), rel=1e-14)
    assert float(2 * sum(losses) / 99) == pytest.approx(1.01 / 3)


def slow_crps(actual, quantiles, levels):
    """Percentile by percentile, read off the levels in plain Python."""
    score = NormalDist().inv_cdf
    total = 0.0
    for percent in range(1, 100):
        level = percent / 100
        right = next((i for i, known in enumerate(levels) if known > level), len(levels) - 1)
        left = max(right - 1, 0)
        right = max(right, 1)
        share = (score(level) - score(levels[left])) / (score(levels[right]) - score(levels[left]))
        quantile = quantiles[left] + share * (quantiles[right] - quantiles[left])
        error = actual - quantile
        total += 2 * (level * error if error >= 0 else (level - 1) * error)
    return total / 99


@given(numbers, st.lists(numbers, min_size=15, max_size=15))
def test_crps_agrees_with_a_plain_loop(actual, quantiles):
    fast = m.crps_from_quantiles(actual, quantiles, DEFAULT_LEVELS)
    slow = slow_crps(actual, quantiles, DEFAULT_LEVELS)
    assert fast == pytest.approx(slow, rel=1e-9, abs=1e-9)


def test_pinball_loss_agrees_with_sklearn():
    generator = np.random.default_rng(0)
    actual, quantiles = generator.normal(size=50), generator.normal(size=(50, 3))
    levels = (0.1, 0.5, 0.8)
    means = m.pinball_loss(actual, quantiles, levels).mean(axis=0)
    peer = [mean_pinball_loss(actual, quantiles[:, i], alpha=levels[i]) for i in range(3)]
    assert means == pytest.approx(peer, rel=1e-12)


DISTRIBUTIONS = {
    "normal": (norm(), lambda y: sr.crps_normal(y, 0.0, 1.0)),
    "t6": (student_t(6), lambda y: sr.crps_t(y, 6.0, 0.0, 1.0)),
    "t4": (student_t(4), lambda y: sr.crps_t(y, 4.0, 0.0, 1.0)),
    "t2.5": (student_t(2.5), lambda y: sr.crps_t(y, 2.5, 0.0, 1.0)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_crps_against_the_closed_form_is_as_far_off_as_its_docstring_says(name):
    """Outcomes of the distribution itself, evenly over its probabilities."""
    distribution, closed_form = DISTRIBUTIONS[name]
    actual = distribution.ppf((np.arange(20_000) + 0.5) / 20_000)
    exact = closed_form(actual)
    scores = {}
    for levels in (m.PERCENTILES, DEFAULT_LEVELS):
        quantiles = np.tile(distribution.ppf(levels), (len(actual), 1))
        scores[levels] = m.crps_from_quantiles(actual, quantiles, levels)
    assert 1.009 < scores[m.PERCENTILES].mean() / exact.mean() < 1.010
    ratio = scores[DEFAULT_LEVELS].mean() / scores[m.PERCENTILES].mean()
    assert ratio == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "levels", [(0.05, 0.5, 0.95), (0.1, 0.2, 0.5, 0.6, 0.99), tuple(np.arange(1, 20) / 20)]
)
def test_a_normal_forecast_scores_the_same_whatever_its_levels(levels):
    actual = np.random.default_rng(1).normal(size=200)
    whole = m.crps_from_quantiles(actual, np.tile(norm.ppf(m.PERCENTILES), (200, 1)), m.PERCENTILES)
    few = m.crps_from_quantiles(actual, np.tile(norm.ppf(levels), (200, 1)), levels)
    np.testing.assert_allclose(few, whole, rtol=1e-9)


def test_levels_beside_the_percentiles_change_nothing():
    generator = np.random.default_rng(2)
    levels = sorted({*m.PERCENTILES, 0.025, 0.975})
    quantiles = np.sort(generator.normal(size=(50, len(levels))), axis=1)
    actual = generator.normal(size=50)
    kept = [i for i, level in enumerate(levels) if level in m.PERCENTILES]
    plain = 2 * m.pinball_loss(actual, quantiles[:, kept], m.PERCENTILES).mean(axis=1)
    found = m.crps_from_quantiles(actual, quantiles, levels)
    np.testing.assert_allclose(found, plain, rtol=1e-14)
    peer = sr.crps_quantile(actual, quantiles[:, kept], np.array(m.PERCENTILES))
    np.testing.assert_allclose(found, peer, rtol=1e-9)


def test_crps_of_a_frame_in_both_units_and_none_where_a_forecast_is_not_finite():
    generator = np.random.default_rng(3)
    quantiles = np.sort(generator.normal(0, 0.03, (6, 3)), axis=1)
    actual = generator.normal(0, 0.03, 6)
    frame = pd.DataFrame({"actual": actual, "close_origin": 200.0})
    frame["actual_usd"] = 200 * np.exp(actual)
    levels = (0.05, 0.5, 0.95)
    frame = frame.assign(**{f"q{level}": quantiles[:, i] for i, level in enumerate(levels)})
    frame.loc[2, "q0.95"] = np.inf
    before = frame.copy()
    scored = m.with_crps(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert scored["crps_bp"].isna().tolist() == scored["crps_usd"].isna().tolist()
    assert np.flatnonzero(scored["crps_bp"].isna()).tolist() == [2]
    for i in (0, 1, 3, 4, 5):
        crps = m.crps_from_quantiles(actual[i], quantiles[i], levels)
        usd = m.crps_from_quantiles(200 * np.exp(actual[i]), 200 * np.exp(quantiles[i]), levels)
        assert scored["crps_bp"][i] == pytest.approx(1e4 * float(crps))
        assert scored["crps_usd"][i] == pytest.approx(float(usd))


@given(samples)
def test_crps_of_a_point_mass_is_the_absolute_error(pairs):
    actual, predicted = map(np.array, zip(*pairs, strict=True))
    quantiles = np.repeat(predicted[:, None], len(DEFAULT_LEVELS), axis=1)
    crps = m.crps_from_quantiles(actual, quantiles, DEFAULT_LEVELS)
    assert crps == pytest.approx(np.abs(actual - predicted), rel=1e-9, abs=1e-9)


@given(samples, st.floats(0.1, 10))
@settings(max_examples=30)
def test_crps_scales_and_is_translated_with_the_prices(pairs, factor):
    actual, shift = map(np.array, zip(*pairs, strict=True))
    quantiles = np.sort(np.random.default_rng(3).normal(size=(len(actual), 15)), axis=1)
    crps = m.crps_from_quantiles(actual, quantiles, DEFAULT_LEVELS)
    moved = m.crps_from_quantiles(actual + shift, quantiles + shift[:, None], DEFAULT_LEVELS)
    scaled = m.crps_from_quantiles(factor * actual, factor * quantiles, DEFAULT_LEVELS)
    assert np.all(crps >= 0)
    assert moved == pytest.approx(crps, abs=1e-6)
    assert scaled == pytest.approx(factor * crps)


def test_crps_keeps_leading_dimensions():
    generator = np.random.default_rng(4)
    actual, quantiles = generator.normal(size=(6, 3)), generator.normal(size=(6, 3, 15))
    crps = m.crps_from_quantiles(actual, quantiles, DEFAULT_LEVELS)
    assert crps.shape == (6, 3)
    one = m.crps_from_quantiles(actual[2, 1], quantiles[2, 1], DEFAULT_LEVELS)
    assert crps[2, 1] == pytest.approx(one)


@pytest.mark.parametrize("levels", [[0.5, 0.1], [0.0, 0.5], [0.5, 1.0], [0.5, 0.5], []])
def test_unusable_levels_are_refused(levels):
    with pytest.raises(ValueError, match="levels"):
        m.crps_from_quantiles(1.0, np.ones(len(levels)), levels)


def test_quantiles_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected shape \(2, 2\), received \(2, 3\)"):
        m.pinball_loss([1.0, 2.0], np.ones((2, 3)), [0.1, 0.5])
    with pytest.raises(ValueError, match=r"expected shape \(2, 2\), received \(2, 3\)"):
        m.crps_from_quantiles([1.0, 2.0], np.ones((2, 3)), [0.1, 0.5])
