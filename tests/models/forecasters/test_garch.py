"""GARCH against the library that fits it, and its quantiles against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arch import arch_model
from scipy.stats import t as student_t

from models.forecasters.garch import Garch, filter_variance, fit_garch, next_variance, predict_garch

KINDS = ("garch", "gjr", "egarch")


@pytest.fixture(scope="module")
def returns():
    """A GARCH(1,1) process with Student-t errors, in log returns."""
    rng = np.random.default_rng(0)
    state, values = 4.0, []
    for z in rng.standard_t(5, 1500) * np.sqrt(3 / 5):
        values.append(np.sqrt(state) * z)
        state = 0.2 + 0.1 * values[-1] ** 2 + 0.85 * state
    return np.array(values) / 100


@pytest.mark.parametrize("kind", KINDS)
def test_variances_are_those_of_the_library(returns, kind):
    model = fit_garch(returns, kind)
    library = arch_model(
        100 * returns, vol="EGARCH" if kind == "egarch" else "GARCH", p=1, q=1,
        o=0 if kind == "garch" else 1, dist="t", rescale=False,
    )  # fmt: skip
    names = ["mu", "omega", "alpha", *(["gamma"] if kind != "garch" else []), "beta", "nu"]
    fixed = library.fix([getattr(model, name) for name in names])
    ours = filter_variance(model, returns)
    # The two start from slightly different days before the first; a hundred days on none is left.
    np.testing.assert_allclose(ours[300:-1], fixed.conditional_volatility[300:] ** 2, rtol=1e-4)
    ahead = fixed.forecast(horizon=1).variance.to_numpy()[-1, 0]
    assert ours[-1] == pytest.approx(ahead, rel=1e-4)


def test_the_fit_finds_the_process(returns):
    model = fit_garch(returns, "garch")
    assert model.alpha == pytest.approx(0.1, abs=0.05)
    assert model.beta == pytest.approx(0.85, abs=0.08)
    assert 3.5 < model.nu < 8


def test_one_step_by_hand():
    model = Garch("gjr", mu=0.0, omega=0.5, alpha=0.1, gamma=0.2, beta=0.6, nu=5.0)
    up, down = next_variance(model, np.array([4.0, 4.0]), np.array([2.0, -2.0]))
    assert up == pytest.approx(0.5 + 0.1 * 4 + 0.6 * 4)
    assert down == pytest.approx(up + 0.2 * 4)


def test_quantiles_by_brute_force(returns):
    model = fit_garch(returns, "garch")
    levels = (0.05, 0.25, 0.5, 0.9)
    row = len(returns) - 1
    log_returns = np.concatenate([[np.nan], returns])
    ones = np.ones((1, 5))
    ours = predict_garch(model, log_returns, np.array([row]), ones, levels=levels, seed=1)[0]
    state = filter_variance(model, returns[:row])[-1]
    unit = np.sqrt((model.nu - 2) / model.nu)
    expected = model.mu + np.sqrt(state) * student_t.ppf(levels, model.nu) * unit
    np.testing.assert_allclose(ours[0], expected / 100, rtol=1e-9)
    rng = np.random.default_rng(5)
    variance, total = np.full(200_000, state), np.zeros(200_000)
    for _ in range(5):
        shock = np.sqrt(variance) * rng.standard_t(model.nu, 200_000) * unit
        total += model.mu + shock
        variance = model.omega + model.alpha * shock**2 + model.beta * variance
    spread = np.quantile(total, 0.9) / 100
    np.testing.assert_allclose(ours[4], np.quantile(total, levels) / 100, atol=0.08 * spread)


def test_later_days_change_nothing(returns):
    model = fit_garch(returns, "egarch")
    log_returns = np.concatenate([[np.nan], returns])
    other = log_returns.copy()
    other[501:] *= -7
    asked: dict[str, Any] = {"levels": (0.1, 0.5), "seed": 2}
    ones = np.ones((6, 3))
    rows = np.arange(495, 501)
    ours = predict_garch(model, log_returns, rows, ones, **asked)
    assert np.array_equal(ours, predict_garch(model, other, rows, ones, **asked))
    alone = predict_garch(model, log_returns, rows[-1:], ones[-1:], **asked)
    assert np.array_equal(ours[-1:], alone)
