from __future__ import annotations

from fractions import Fraction
from math import isnan
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import scoringrules as sr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from scipy.stats import t as student_t
from sklearn.metrics import mean_pinball_loss

from models.config.recipe import DEFAULT_LEVELS
from models.scoring import metrics as m

ACTUAL = [1.0, 2.0, 4.0, 8.0]
PREDICTED = [2.0, 2.0, 2.0, 12.0]

numbers = st.floats(-1e3, 1e3, allow_nan=False).map(lambda value: round(value, 6))
samples = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30)


# Golden values, by hand: errors -1, 0, 2, -4.


def test_rmse_by_hand():
    assert m.rmse(ACTUAL, PREDICTED) == pytest.approx(float(Fraction(21, 4)) ** 0.5, rel=1e-15)


def test_mae_by_hand():
    assert m.mae(ACTUAL, PREDICTED) == float(Fraction(7, 4))


def test_mape_is_a_fraction():
    expected = (Fraction(1) + 0 + Fraction(1, 2) + Fraction(1, 2)) / 4
    assert m.mape(ACTUAL, PREDICTED) == float(expected) == 0.5


def test_naive_scale_by_hand():
    assert m.naive_scale([1, 3, 2, 6]) == pytest.approx(float(Fraction(2 + 1 + 4, 3)))
    assert m.naive_scale([1, 3, 2, 6], step=2) == float(Fraction(1 + 3, 2))


def test_mase_by_hand():
    scale = m.naive_scale([1, 3, 2, 6])
    assert m.mase(ACTUAL, PREDICTED, scale) == pytest.approx(float(Fraction(7, 4) / Fraction(7, 3)))


def test_directional_accuracy_does_not_count_days_without_a_move():
    result = m.directional_accuracy([1, -1, 1, 0, 2], [3, -2, -1, 5, 0])
    assert (result.value, result.n) == (2 / 3, 3)
    assert result.low < 2 / 3 < result.high


def test_directional_accuracy_of_naive_has_no_days():
    result = m.directional_accuracy([1, -1], [0, 0])
    assert result.n == 0
    assert all(isnan(value) for value in result[:3])


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (1, 2), (290, 560), (1, 1000)])
def test_wilson_interval_agrees_with_scipy(hits, n):
    peer = binomtest(hits, n).proportion_ci(method="wilson")
    assert m.wilson_interval(hits, n) == pytest.approx((peer.low, peer.high), abs=1e-12)


def test_pinball_loss_by_hand():
    loss = m.pinball_loss([1.0, -1.0], [[0.0, 0.5], [0.0, 0.0]], [0.25, 0.5])
    assert loss.tolist() == [[0.25, 0.25], [0.75, 0.5]]


def test_crps_by_hand_on_the_percentiles():
    # Even on 0…1, and 1 came: pinball p (1 - p), twice the mean over i/100. The integral is 1/3.
    losses = [Fraction(i, 100) * (1 - Fraction(i, 100)) for i in range(1, 100)]
    found = m.crps_from_quantiles(1.0, m.PERCENTILES, m.PERCENTILES)
    assert found == pytest.approx(float(2 * sum(losses) / 99), rel=1e-14)
    assert float(2 * sum(losses) / 99) == pytest.approx(1.01 / 3)


def test_coverage_counts_the_ends():
    assert m.coverage([0.0, 1.0, 2.0, 5.0], [0.0] * 4, [2.0] * 4) == 0.75


# Slow oracles.


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


@given(samples)
def test_point_metrics_agree_with_plain_loops(pairs):
    actual, predicted = zip(*pairs, strict=True)
    n = len(pairs)
    squares = sum((a - p) ** 2 for a, p in pairs) / n
    assert m.rmse(actual, predicted) == pytest.approx(squares**0.5, rel=1e-9, abs=1e-9)
    assert m.mae(actual, predicted) == pytest.approx(sum(abs(a - p) for a, p in pairs) / n)
    counted = [(a, p) for a, p in pairs if a != 0 and p != 0]
    hits = sum((a > 0) == (p > 0) for a, p in counted)
    direction = m.directional_accuracy(actual, predicted)
    assert direction.n == len(counted)
    if counted:
        assert direction.value == hits / len(counted)
        assert 0 <= direction.low <= direction.value <= direction.high <= 1


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


def slow_bootstrap(loss, reference, block_days, samples, seed, root):
    n = len(loss)
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, n, (samples, n // block_days))
    rest_starts = generator.integers(0, n, samples)
    skills = []
    for row, rest in zip(starts, rest_starts, strict=True):
        days = [(start + day) % n for start in row for day in range(block_days)]
        days += [(rest + day) % n for day in range(n % block_days)]
        assert len(days) == n
        ratio = sum(loss[day] for day in days) / sum(reference[day] for day in days)
        skills.append(1 - (ratio**0.5 if root else ratio))
    return np.quantile(skills, [0.025, 0.975])


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("block_days", [1, 4, 7, 23])
def test_bootstrap_agrees_with_a_plain_loop(root, block_days):
    generator = np.random.default_rng(2)
    loss, reference = generator.gamma(2, size=(2, 23))
    arguments = {"block_days": block_days, "samples": 150, "seed": 5, "root": root}
    result = m.block_bootstrap_skill(loss, reference, **arguments)
    assert result[1:] == pytest.approx(slow_bootstrap(loss, reference, **arguments), rel=1e-12)
    ratio = loss.mean() / reference.mean()
    assert result.value == pytest.approx(1 - (ratio**0.5 if root else ratio))


# Invariants.


@given(samples, st.floats(0.01, 100))
def test_mase_does_not_depend_on_the_unit(pairs, factor):
    actual, predicted = map(np.array, zip(*pairs, strict=True))
    if m.naive_scale(actual) < 1e-3:
        return
    one = m.mase(actual, predicted, m.naive_scale(actual))
    other = m.mase(factor * actual, factor * predicted, m.naive_scale(factor * actual))
    assert other == pytest.approx(one, rel=1e-9)


@given(samples, numbers)
def test_errors_do_not_change_under_translation(pairs, shift):
    actual, predicted = map(np.array, zip(*pairs, strict=True))
    for metric in (m.rmse, m.mae):
        moved = metric(actual + shift, predicted + shift)
        assert moved == pytest.approx(metric(actual, predicted), abs=1e-6)


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


def test_skill_of_equal_losses_is_zero_without_width():
    loss = np.random.default_rng(5).gamma(1, size=200)
    assert m.block_bootstrap_skill(loss, loss, block_days=20, samples=100, seed=0) == (0, 0, 0)


def test_bootstrap_repeats_with_its_seed_and_only_then():
    loss, reference = np.random.default_rng(6).gamma(1, size=(2, 200))
    runs = [
        m.block_bootstrap_skill(loss, reference, block_days=20, samples=100, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_bootstrap_interval_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(7)
    inside, trials, true_skill = 0, 200, 0.2
    for trial in range(trials):
        loss, reference = generator.gamma(2, size=(2, 400)) * [[1 - true_skill], [1.0]]
        low, high = m.block_bootstrap_skill(
            loss, reference, block_days=10, samples=300, seed=trial
        )[1:]
        inside += low <= true_skill <= high
    assert 0.89 <= inside / trials <= 0.99


def test_longer_blocks_widen_the_interval_where_losses_cluster():
    generator = np.random.default_rng(8)
    loss = np.repeat(generator.gamma(1, size=60), 10)
    reference = np.ones(600)
    widths = []
    for block_days in (1, 20):
        result = m.block_bootstrap_skill(
            loss, reference, block_days=block_days, samples=500, seed=0
        )
        widths.append(result.high - result.low)
    assert widths[1] > 2 * widths[0]


def test_nothing_is_mutated():
    actual, predicted = np.array(ACTUAL), np.array(PREDICTED)
    m.rmse(actual, predicted)
    m.block_bootstrap_skill(actual, predicted, block_days=2, samples=100, seed=0)
    assert actual.tolist() == ACTUAL
    assert predicted.tolist() == PREDICTED


# Refusals.


@pytest.mark.parametrize("metric", [m.rmse, m.mae, m.mape, m.directional_accuracy])
@pytest.mark.parametrize(
    ("actual", "predicted", "message"),
    [
        ([], [], "empty"),
        ([1.0, np.nan], [1.0, 1.0], "NaN"),
        ([1.0, 1.0], [1.0, np.inf], "infinity"),
        ([1.0, 2.0], [1.0], "one shape"),
    ],
)
def test_unusable_arrays_are_refused(metric, actual, predicted, message):
    with pytest.raises(ValueError, match=message):
        metric(actual, predicted)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_mase_refuses_a_scale_that_is_not_above_zero(scale):
    with pytest.raises(ValueError, match="above zero"):
        m.mase(ACTUAL, PREDICTED, scale)


def test_mape_refuses_a_zero_price():
    with pytest.raises(ValueError, match="zero"):
        m.mape([0.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize("levels", [[0.5, 0.1], [0.0, 0.5], [0.5, 1.0], [0.5, 0.5], []])
def test_unusable_levels_are_refused(levels):
    with pytest.raises(ValueError, match="levels"):
        m.crps_from_quantiles(1.0, np.ones(len(levels)), levels)


def test_quantiles_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected shape \(2, 2\), received \(2, 3\)"):
        m.pinball_loss([1.0, 2.0], np.ones((2, 3)), [0.1, 0.5])
    with pytest.raises(ValueError, match=r"expected shape \(2, 2\), received \(2, 3\)"):
        m.crps_from_quantiles([1.0, 2.0], np.ones((2, 3)), [0.1, 0.5])


@pytest.mark.parametrize(("values", "step"), [([1.0], 1), ([1.0, 2.0], 2), ([1.0, 2.0], 0)])
def test_naive_scale_needs_more_values_than_steps(values, step):
    with pytest.raises(ValueError, match="more values than steps"):
        m.naive_scale(values, step)


def test_bootstrap_refuses_blocks_longer_than_the_series_and_a_perfect_reference():
    with pytest.raises(ValueError, match="expected 1 to 2"):
        m.block_bootstrap_skill([1, 1], [1, 1], block_days=3, samples=100, seed=0)
    with pytest.raises(ValueError, match="above zero"):
        m.block_bootstrap_skill([1, 1], [0, 0], block_days=1, samples=100, seed=0)


def test_wilson_refuses_more_hits_than_days():
    with pytest.raises(ValueError, match="hits <= n"):
        m.wilson_interval(3, 2)
