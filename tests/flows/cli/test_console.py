from __future__ import annotations

from typing import Any

import pytest

from flows.cli.show import print_forecast
from models.reporting.summaries import ForecastSummary
from tests.models.reporting.facts import make_retrain

FORECAST = {
    "symbol": "BTC/USD",
    "synthetic": False,
    "as_of": "2024-12-31",
    "kind": "live",
    "model": "btc-usd",
    "version": "3",
    "notes": [],
    "alarms": ["CRPS is 2 times naive's"],
    "rows": [{"target_date": "2025-01-01", "median": 95_000.0, "p_up": 0.5, "p_move_5": 0.1}],
    "below_usd": None,
    "new_alarms": [],
    "seconds": {},
    "ledger": {"new": 1, "scored": 0, "rescored": 0, "caught_up": 0},
}


@pytest.mark.parametrize(
    ("started", "told"),
    [
        ({"model_version": "4"}, "version 4, keep"),
        ({"model_version": "4", "done_before": True}, "none, version 4 is of the same candles"),
        ({"refused": "no answer"}, "none, no answer"),
        ({"skipped": "another one is at work"}, "none, another one is at work"),
    ],
)
def test_alarms_and_the_retrain_they_started_are_shown(
    started: dict[str, Any],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    retrain = make_retrain(**started).as_json() if "model_version" in started else started
    print_forecast(ForecastSummary.model_validate(FORECAST | {"retrain": retrain}))
    shown = capsys.readouterr().out
    assert "Alarm: CRPS is 2 times naive's\n" in shown
    assert f"Retrain: {told}\n" in shown


def test_without_a_retrain_nothing_is_said_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    print_forecast(ForecastSummary.model_validate(FORECAST))
    assert "Retrain" not in capsys.readouterr().out
