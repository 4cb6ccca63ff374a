"""Tests of equal accuracy against published values, statsmodels' HAC regression and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import ttest_1samp

from models.scoring.significance import diebold_mariano, model_confidence_set

# One-step errors of exponential smoothing and ARIMA on the last 20 values of R's WWWusage, the
# example of `forecast::dm.test`, as printed with its p-values in HypothesisTests.jl (MIT licence),
# test/diebold_mariano.jl.
ETS_ERRORS = np.array([
    0.002241270, -0.000661906, -1.200002613, -4.000218178, 3.799373533, 3.401005111, -1.199692125,
    -0.800490048, -1.200048999, 3.399847229, 7.000708948, 2.200989241, -4.800165569, -1.201043375,
    3.400167556, 3.000709085, 0.400267950, -6.800169207, -2.401259050, 1.200112198,
])  # fmt: skip
ARIMA_ERRORS = np.array([
    0.1209998, 8.0622269, -0.9189429, -1.7952436, 5.3431277, 2.0459823, -0.6073261, 0.5516816,
    -0.7633238, 4.1229472, 5.8785333, 1.2828331, -3.4854233, 1.1971370, 3.1709314, 2.3408457,
    0.4962286, -5.9841362, 0.1537114, 0.4207951,
])  # fmt: skip


@pytest.mark.parametrize(
    ("power", "step", "p", "sign"), [(2, 1, 0.8871, -1), (2, 10, 0.9362, -1), (1, 1, 0.7818, 1)]
)
def test_published_values_of_r_s_example(power, step, p, sign):
    losses = np.abs(ETS_ERRORS) ** power, np.abs(ARIMA_ERRORS) ** power
    test = diebold_mariano(*losses, step=step)
    assert test.p == pytest.approx(p, abs=5e-5)
    # One-sided p-values are printed too: below a half on the side where the statistic lies.
    assert np.sign(test.t) == sign


def test_published_statistic_of_the_package_dieboldmariano():
    """Of the package dieboldmariano, whose page prints the statistic and half of p."""
    actual = np.array([10, 20, 30, 40, 50])
    first, second = np.array([11, 21, 29, 42, 53]), np.array([13, 26, 24, 40, 59])
    test = diebold_mariano((actual - first) ** 2, (actual - second) ** 2, step=1)
    assert test.t == pytest.approx(-2.2229922805746782, rel=1e-12)
    assert test.p / 2 == pytest.approx(0.04515565862099125, rel=1e-7)


def test_one_step_by_hand():
    # Differences 1, -1, 3, 1: mean 1, variance (0 + 4 + 4 + 0) / 4 = 2, of the mean 0.5,
    # correction sqrt((4 + 1 - 2) / 4).
    test = diebold_mariano([2.0, 1.0, 4.0, 2.0], [1.0, 2.0, 1.0, 1.0], step=1)
    assert test.t == pytest.approx(1 / np.sqrt(0.5) * np.sqrt(3 / 4))


def test_one_step_is_student_s_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.random(60), rng.random(60)
    expected = ttest_1samp(a - b, 0)
    ours = diebold_mariano(a, b, step=1)
    # HLN's correction turns the variance over n into that over n - 1.
    assert ours.t == pytest.approx(expected.statistic, rel=1e-9)
    assert ours.p == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize("step", [2, 3, 7])
def test_several_steps_are_a_hac_regression_with_harvey_s_correction(step):
    rng = np.random.default_rng(step)
    noise = np.convolve(rng.normal(size=300 + step), np.ones(step), "valid")[:300]
    a, b = noise + 0.1, np.zeros(300)
    fit = sm.OLS(a - b, np.ones(300)).fit(
        cov_type="HAC", cov_kwds={"maxlags": step - 1, "kernel": "uniform"}
    )
    n, h = 300, step
    correction = np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    assert diebold_mariano(a, b, step=step).t == pytest.approx(fit.tvalues[0] * correction)


def test_the_sign_says_who_is_better_and_order_turns_it():
    rng = np.random.default_rng(1)
    good, bad = rng.random(200), rng.random(200) + 0.5
    ours, theirs = diebold_mariano(good, bad, step=1), diebold_mariano(bad, good, step=1)
    assert ours.t < -5 and ours.p < 1e-4
    assert theirs.t == pytest.approx(-ours.t) and theirs.p == pytest.approx(ours.p)


def test_a_variance_that_is_not_positive_falls_back():
    alternating = np.tile([1.0, -1.0], 50) + 0.01
    assert np.isfinite(diebold_mariano(alternating, np.zeros(100), step=2).t)


def test_equal_losses_give_no_number():
    assert np.isnan(diebold_mariano(np.ones(20), np.ones(20), step=1).t)


def test_under_the_null_it_rejects_at_its_size():
    rng = np.random.default_rng(3)
    p = [diebold_mariano(rng.normal(size=100), rng.normal(size=100), step=1).p for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09


@pytest.mark.parametrize("bad", [[1.0, 2.0], [1.0, np.nan, 2.0, 3.0], [1.0, 2.0, 3.0]])
def test_bad_losses_are_refused(bad):
    with pytest.raises(ValueError, match="diebold_mariano"):
        diebold_mariano(bad, [1.0, 2.0, 3.0, 4.0], step=1)


def test_the_confidence_set_keeps_the_best_and_drops_the_worst():
    rng = np.random.default_rng(0)
    noise = rng.random(400)
    losses = {"best": noise, "same": noise + rng.normal(0, 0.01, 400), "worst": noise + 1}
    p = model_confidence_set(losses, block_days=10, seed=1)
    assert p["best"] >= 0.1 > p["worst"]
    assert model_confidence_set({"alone": noise}, block_days=10, seed=1) == {"alone": 1.0}
