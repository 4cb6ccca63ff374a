"""The two stages that end every day, of a retrain as of a forecast."""

from __future__ import annotations

import datetime as dt

from models.config.flows import RetrainConfig
from models.records import SnapshotRecord
from models.reporting.summaries import ForecastSummary, summarize_forecast
from tasks.forecast import forecast_with_champion
from tasks.score import score


def forecast_and_score(
    config: RetrainConfig,
    snapped: SnapshotRecord,
    newest_closed: dt.date,
    now: dt.datetime,
    below_usd: float | None = None,
    trouble: str = "",
) -> ForecastSummary:
    """Forecast the next days with the champion, and score what was forecast before."""
    outlook = forecast_with_champion(config, snapped, newest_closed, now, below_usd, trouble)
    scored = score(config, snapped, outlook, now)
    return summarize_forecast(outlook, scored, config.symbol, snapped.synthetic, below_usd)
