from __future__ import annotations

from fractions import Fraction
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

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


def test_coverage_counts_the_ends():
    assert m.coverage([0.0, 1.0, 2.0, 5.0], [0.0] * 4, [2.0] * 4) == 0.75


# Slow oracles.


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
