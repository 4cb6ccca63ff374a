"""The two stages that end every day, of a retrain as of a forecast."""

from __future__ import annotations

import datetime as dt
from typing import Any

from models.config import RetrainConfig
from models.records import SnapshotRecord
from models.summary import summarize_forecast
from tasks.forecasting import forecast_with_champion, keep_ledger


def forecast_and_score(
    config: RetrainConfig,
    frozen: SnapshotRecord,
    newest_closed: dt.date,
    now: dt.datetime,
    below_usd: float | None = None,
    trouble: str = "",
) -> dict[str, Any]:
    """Forecast the next days with the champion, and score what was forecast before."""
    outlook = forecast_with_champion(config, frozen, newest_closed, now, below_usd, trouble)
    kept = keep_ledger(config, frozen, outlook, now)
    return summarize_forecast(outlook, kept, config.symbol, frozen.synthetic, below_usd)
