"""What MLflow shows of a backtest."""

from __future__ import annotations

import pytest

from models.config.flows import BacktestConfig
from models.reporting.backtest_runs import (
    backtest_params,
    child_metrics,
    describe_parent,
    name_child,
    name_parent,
    rank_models,
)

CONFIG = BacktestConfig(recipes=("default", "gru"), baselines=("naive", "garch"), horizon=2)


def scores(crps: float, naive: float) -> dict:
    return {"crps_bp": crps, "coverage_90": 0.905, "mae_bp": 50.0, "skill_naive": 1 - crps / naive}


def step(*crps: float) -> dict:
    names = ("default", "gru", "naive", "garch")
    return {
        "models": {name: scores(value, crps[2]) for name, value in zip(names, crps, strict=True)},
        "dm": [{"a": "default", "b": "garch", "t": -2.5}, {"a": "gru", "b": "garch", "t": None}],
        "mcs_90": ["default"],
    }


SUMMARY = {
    "n_origins": 640, "first_origin": "2024-01-01", "last_origin": "2025-10-01",
    "horizons": {"1": step(98.0, 101.0, 102.0, 100.0), "2": step(150.0, 151.0, 149.0, 150.0)},
    "all_steps": {"default": 0.98},
}  # fmt: skip


def test_names_say_the_result():
    assert rank_models(SUMMARY) == ["default", "garch", "gru", "naive"]
    assert name_parent(CONFIG, SUMMARY, synthetic=True) == (
        "2025-10-01 backtest of 640 days · best: default (gru + regression), CRPS 98.00 bp"
        " · SYNTHETIC"
    )
    assert name_child("default", CONFIG, SUMMARY) == (
        "default (gru + regression) · CRPS 98.00 bp, +2.0 % against garch"
    )
    assert name_child("gru", CONFIG, SUMMARY).startswith("gru · CRPS 101.00 bp, −1.0 % against")
    # The reference itself is measured against nothing.
    assert name_child("garch", CONFIG, SUMMARY) == "garch · CRPS 100.00 bp"


def test_metrics_of_the_first_and_the_last_day_ahead_and_by_step():
    points = child_metrics("default", SUMMARY)
    named = {name: value for name, value, at in points if not at}
    assert named["skill_vs_garch_h1"] == pytest.approx(0.02)
    assert named["skill_vs_naive_h1"] == pytest.approx(1 - 98 / 102, abs=1e-4)
    assert (named["dm_t_h1"], named["crps_bp_h2"]) == (-2.5, 150.0)
    assert [value for name, value, at in points if name == "crps_bp"] == [98.0, 150.0]
    assert "dm_t_h1" not in {name for name, _, _ in child_metrics("gru", SUMMARY)}
    assert "skill_vs_garch_h1" not in {name for name, _, _ in child_metrics("garch", SUMMARY)}


def test_parameters_are_the_recipe_s_and_the_days():
    params = backtest_params("default", CONFIG, SUMMARY)
    assert {"start": "2024-01-01", "end": "2025-10-01", "cell": "gru"}.items() <= params.items()
    assert params["refit_days"] == "365" and params["horizon"] == "2"
    assert backtest_params("garch", CONFIG, SUMMARY)["refit_days"] == "30"


def test_description_has_the_winner_and_the_table():
    text = describe_parent(CONFIG, SUMMARY, ["SYNTHETIC"], "get-artifact?path=page.html")
    assert text.startswith("**SYNTHETIC**\n\n**Best one day ahead over 640 days: default")
    assert "| default (gru + regression) | 98.00 | 150.00 | +2.0 % | -2.5 | 90.5 % |" in text
    assert "| garch | 100.00 | 150.00 |  |  | 90.5 % |" in text
