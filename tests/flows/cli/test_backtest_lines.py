"""The line of a backtest that names the best baseline."""

from __future__ import annotations

from flows.cli.backtest import describe_distance
from models.reporting.summaries import StepScores


def scores(best: str | None, *tests: tuple[str, str, float | None, float]) -> StepScores:
    return StepScores.model_validate(
        {
            "models": {
                name: {"crps_bp": crps} for name, crps in {"har": 168.5, "t": 167.0}.items()
            },
            "dm": [
                {"a": a, "b": b, "t": t, "p": None, "crps_diff_pct": difference}
                for a, b, t, difference in tests
            ],
            "mcs_90": [],
            "best_baseline": best,
        }
    )


def test_every_recipe_is_set_beside_the_best_baseline_and_garch() -> None:
    step = scores(
        "har",
        ("gru", "garch", -6.0, -1.5),
        ("gru", "har", -2.0, -0.4),
        ("lstm", "garch", 1.0, 0.2),
        ("lstm", "har", None, 1.1),
        ("gru", "lstm", -1.0, -0.1),
    )
    assert describe_distance(step) == [
        "gru: CRPS -0.40 % against har (t -2.00), -1.50 % against garch (t -6.00); "
        "best baseline har, 168.50 bp",
        "lstm: CRPS +1.10 % against har (t not defined), +0.20 % against garch (t +1.00); "
        "best baseline har, 168.50 bp",
    ]


def test_without_garch_or_without_baselines_less_is_said() -> None:
    assert describe_distance(scores("har", ("gru", "har", -2.0, -0.4))) == [
        "gru: CRPS -0.40 % against har (t -2.00); best baseline har, 168.50 bp"
    ]
    assert describe_distance(scores(None, ("gru", "lstm", -2.0, -0.4))) == []
    assert describe_distance(scores("har")) == []
