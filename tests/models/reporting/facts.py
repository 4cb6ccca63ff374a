"""A retrain's summary and a day, made up, for the tests of reports."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pandas as pd

from models.config.recipe import DEFAULT_LEVELS, Recipe
from models.data.sample import make_sample
from models.forecasters.baselines import naive_quantiles
from models.forecasters.frame import Forecast, make_predictions, tabulate_forecast
from models.reporting.day_page import Day
from models.reporting.summaries import RetrainSummary
from models.scoring.ledger import score_forecasts

HOSTILE = (
    'x|y` <script>alert("1")</script>\n\n# big [a](javascript:alert(1)) **b** &amp; ![i](http://x)'
)
LAST_DAY = dt.date(2024, 12, 31)
HORIZON = 3

SCORES = {
    "n_days": 560, "rmse_usd": 1234.56, "mae_usd": 800.4, "mape": 0.01875, "mase": 0.5,
    "rmse_log_return": 0.03, "mae_log_return": 0.02, "mase_log_return": 1.0,
    "directional_accuracy": 0.525, "directional_accuracy_low": 0.484,
    "directional_accuracy_high": 0.566, "crps_bp": 150.04, "crps_usd": 620.0,
    "coverage_90": 0.9125, "width_90": 0.09,
}  # fmt: skip
NO_DIRECTION = {name: None for name in SCORES if name.startswith("directional")}
SKILL = {
    "skill_rmse": -0.00001, "skill_rmse_low": -0.01, "skill_rmse_high": 0.005,
    "skill_crps": 0.02, "skill_crps_low": 0.01, "skill_crps_high": 0.03,
}  # fmt: skip


def make_retrain(**changes: Any) -> RetrainSummary:
    """What a retrain returns, with other values where given."""
    facts = {
        "run_id": "0a1b", "experiment": "btc-usd", "registered_model": "btc-usd",
        "model_version": "3", "aliases": ["challenger"], "snapshot_hash": "f" * 64,
        "snapshot_rows": 3759, "first_day": "2014-09-17", "as_of": "2024-12-31",
        "source": "csv:BTC-USD.csv", "symbol": "BTC/USD", "synthetic": False,
        "reproduction": False, "recipe": Recipe().model_dump(mode="json"),
        "features_used": ["log_return"], "features_left_out": ["log_range"],
        "findings": [{"kind": "gap", "severity": "warning", "message": "2 days missing"}],
        "repairs": ["filled 2020-01-01"],
        "metrics": {
            "gru": {str(step): SCORES for step in range(1, HORIZON + 1)},
            "naive": {str(step): SCORES | NO_DIRECTION for step in range(1, HORIZON + 1)},
        },
        "skill": {str(step): SKILL for step in range(1, HORIZON + 1)},
        "echo": {"correlation_today": 0.1, "correlation_yesterday": 0.9, "is_echo": True},
        "verdict": "no evidence of skill", "verdict_text": "It is so.",
        "reason": "", "model": "gru", "config": {},
        "decision": {"action": "keep", "reasons": ["no better"], "skill": 0.01, "n_days": 180},
        "artifacts": dict.fromkeys(("report", "plots", "predictions", "model"), "x"),
        "seconds": {"ingest": 0.25, "train": 12.5},
    }  # fmt: skip
    return RetrainSummary.model_validate(facts | changes)


def make_candles() -> pd.DataFrame:
    return make_sample(LAST_DAY, n_days=500)


def make_holdout(candles: pd.DataFrame, scale: float = 0.9) -> pd.DataFrame:
    """Predictions of naive and of `gru`, which is naive with narrower bands."""
    close = candles["close"].to_numpy(dtype=np.float64)
    origins = range(300, len(candles) - HORIZON)
    naive = naive_quantiles(close, origins, HORIZON, DEFAULT_LEVELS)
    parts = [
        make_predictions(name, candles, origins, quantiles, DEFAULT_LEVELS)
        for name, quantiles in (("gru", scale * naive), ("naive", naive))
    ]
    return pd.concat(parts, ignore_index=True)


def make_ledger(candles: pd.DataFrame, n_days: int) -> pd.DataFrame:
    """Live forecasts of the last days, scored where their days have come."""
    close = candles["close"].to_numpy(dtype=np.float64)
    origins = range(len(candles) - n_days, len(candles))
    quantiles = naive_quantiles(close, origins, HORIZON, DEFAULT_LEVELS)
    rows = [
        {
            "symbol": "BTC/USD", "model": "btc-usd", "version": 3, "kind": "live",
            "as_of": candles["open_time"].iloc[origin].date(),
            "target_date": candles["open_time"].iloc[origin].date() + dt.timedelta(days=step),
            "step": step, "issued_at": dt.datetime(2025, 1, 1, tzinfo=dt.UTC),
            "close_origin": close[origin], "levels": json.dumps(DEFAULT_LEVELS),
            "quantiles": json.dumps(quantiles[i, step - 1].tolist()),
        }
        for i, origin in enumerate(origins)
        for step in range(1, HORIZON + 1)
    ]  # fmt: skip
    ledger = pd.DataFrame(rows)
    due = ledger[pd.to_datetime(ledger["target_date"]) <= pd.Timestamp(LAST_DAY)]
    return ledger.join(score_forecasts(due, candles))


def make_moves(*moves: tuple[int | None, int]) -> pd.DataFrame:
    rows = [
        {
            "action": "refresh", "from_version": before, "to_version": to, "why": f"for {to}",
            "who": "me", "at": dt.datetime(2024, 12, 20 + i), "state": "done", "pinned": False,
        }
        for i, (before, to) in enumerate(moves)
    ]  # fmt: skip
    columns = ["action", "from_version", "to_version", "why", "who", "at", "state", "pinned"]
    return pd.DataFrame(rows, columns=columns).astype(
        {"from_version": "Int64", "to_version": "Int64"}
    )


def make_day(n_live: int = 40, **changes: Any) -> Day:
    """A day with a forecast, a record of `n_live` days and a judged version."""
    candles = make_candles()
    close = candles["close"].to_numpy(dtype=np.float64)
    last = range(len(candles) - 1, len(candles))
    forecast = Forecast(
        pd.DatetimeIndex(candles["open_time"].iloc[-1:]),
        close[-1:],
        naive_quantiles(close, last, HORIZON, DEFAULT_LEVELS),
        DEFAULT_LEVELS,
    )
    table = tabulate_forecast(forecast, 10_000.0)
    table["target_date"] = table["target_date"].dt.date.astype(str)
    ledger = make_ledger(candles, max(n_live, HORIZON) + 1)
    if not n_live:
        ledger = ledger.assign(kind="catch-up")
    given: dict[str, Any] = {
        "model": "btc-usd", "symbol": "BTC/USD", "synthetic": False, "as_of": LAST_DAY,
        "candles": candles, "ledger": ledger,
        "moves": make_moves((None, 2), (2, 3)), "version": "3",
        "rows": tuple(table.to_dict("records")), "below_usd": 10_000.0,
        "judged": make_retrain(), "predictions": make_holdout(candles),
        "seconds": {"ingest": 0.25},
    }  # fmt: skip
    return Day(**(given | changes))
