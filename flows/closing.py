"""The two stages that end every day, of a retrain as of a forecast."""

from __future__ import annotations

import datetime as dt
from typing import Any

from models.config.flows import RetrainConfig
from models.records import SnapshotRecord
from models.reporting.summaries import summarize_forecast
from tasks.forecast import forecast_with_champion, keep_ledger


def forecast_and_score(
    config: RetrainConfig,
    snapped: SnapshotRecord,
    newest_closed: dt.date,
    now: dt.datetime,
    below_usd: float | None = None,
    trouble: str = "",
) -> dict[str, Any]:
    """Forecast the next days with the champion, and score what was forecast before."""
    outlook = forecast_with_champion(config, snapped, newest_closed, now, below_usd, trouble)
    kept = keep_ledger(config, snapped, outlook, now)
    return summarize_forecast(outlook, kept, config.symbol, snapped.synthetic, below_usd)
