"""Names that other people's queries rely on."""

from __future__ import annotations

import pytest

from models.naming import flatten, metric_values, model_name, run_labels
from models.scoring.holdout import score_holdout


def test_made_up_candles_have_a_name_of_their_own():
    assert model_name("BTC/USD", synthetic=False) == "btc-usd"
    assert model_name("BTC/USD", synthetic=True) == "btc-usd-synthetic"
    assert model_name("ETH/USDT", synthetic=False) == "eth-usdt"


@pytest.mark.parametrize(
    ("synthetic", "reproduction", "labels"),
    [
        (False, False, []),
        (True, False, ["SYNTHETIC"]),
        (False, True, ["reproduction: leaks the future, never promoted"]),
        (True, True, ["SYNTHETIC", "reproduction: leaks the future, never promoted"]),
    ],
)
def test_what_must_be_said_is_said(synthetic, reproduction, labels):
    assert run_labels(synthetic, reproduction) == labels


def test_flatten_gives_dotted_keys():
    nested = {"a": 1, "b": {"c": [2, 3], "d": {"e": None}}, "f": {}}
    assert flatten(nested) == {"a": 1, "b.c": [2, 3], "b.d.e": None}


def test_metric_names_are_stable(fitted):
    stages, forecaster = fitted("lstm", "log_return")
    prepared = stages.prepared
    evaluation = score_holdout(forecaster, prepared.candles, prepared.fold, stages.config.judging)[
        1
    ]
    values = metric_values(evaluation)
    assert all(isinstance(value, float) for value in values.values())
    both = [
        "rmse_usd", "mae_usd", "mape", "mase", "rmse_log_return", "mae_log_return", "crps_bp",
        "crps_usd", "coverage_90", "n_days",
    ]  # fmt: skip
    for model, prefix in (("lstm", "test"), ("naive", "naive")):
        for step, suffix in (("1", ""), ("2", "_step2"), ("3", "_step3")):
            for name in both:
                assert values[f"{prefix}_{name}{suffix}"] == evaluation.metrics[model][step][name]
    assert (
        values["test_directional_accuracy"]
        == (evaluation.metrics["lstm"]["1"]["directional_accuracy"])
    )
    assert values["skill_rmse_step3"] == evaluation.skill["3"]["skill_rmse"]
    assert {"echo_correlation_today", "echo_correlation_yesterday"} <= set(values)
    undefined = {
        f"{prefix}_{key}"
        for model, prefix in (("lstm", "test"), ("naive", "naive"))
        for key, value in evaluation.metrics[model]["1"].items()
        if value is None
    }
    assert undefined and not undefined & set(values)
