"""The daily forecast: the champion's distribution of the next days, and the ledger."""

from __future__ import annotations

import datetime as dt
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from models.calendar import newest_closed_day, resolve_as_of
from models.config import RetrainConfig
from models.errors import SourceError
from models.naming import model_name
from models.records import SnapshotRecord
from models.summary import summarize_forecast
from tasks.files import discard_folder
from tasks.forecasting import forecast_with_champion, keep_ledger
from tasks.ingestion import ingest
from tasks.lock import hold
from tasks.preflight import check_request
from tasks.snapshot import snapshot
from tasks.snapshot_list import find_newest_snapshot
from tasks.validation import validate


@flow(name="forecast", flow_run_name="forecast-{config.source}")
def forecast(
    config: RetrainConfig = RetrainConfig(),  # noqa: B008
    below_usd: float | None = None,
) -> dict[str, Any]:
    """Forecast from the newest candle with the champion, and score what was forecast before."""
    check_request(config)
    scheduled = flow_run.scheduled_start_time
    newest_closed = newest_closed_day(scheduled)
    as_of = resolve_as_of(config.as_of, newest_closed)

    with hold(model_name(config.symbol, synthetic=False)) as mine:
        if not mine:
            return {"skipped": f"a retrain of {config.symbol} is at work, and will forecast"}
        frozen, trouble = take_candles(config, as_of, newest_closed)
        return forecast_and_score(config, frozen, newest_closed, scheduled, below_usd, trouble)


def take_candles(
    config: RetrainConfig, as_of: dt.date, newest_closed: dt.date
) -> tuple[SnapshotRecord, str]:
    """A snapshot of the newest candles, or the newest there is and why there is no newer one."""
    try:
        candles = ingest(config, as_of)
    except SourceError as error:
        return find_newest_snapshot(config, as_of, error), str(error)
    checked = validate(candles, config.repair, as_of, newest_closed, config.exogenous)
    frozen = snapshot(candles, checked, config.symbol)
    discard_folder(candles.path.parent)
    return frozen, ""


def forecast_and_score(
    config: RetrainConfig,
    frozen: SnapshotRecord,
    newest_closed: dt.date,
    now: dt.datetime,
    below_usd: float | None = None,
    trouble: str = "",
) -> dict[str, Any]:
    """The two stages that end every day, of a forecast as of a retrain."""
    outlook = forecast_with_champion(config, frozen, newest_closed, now, below_usd, trouble)
    kept = keep_ledger(config, frozen, outlook, now)
    return summarize_forecast(outlook, kept, config.symbol, frozen.synthetic)
