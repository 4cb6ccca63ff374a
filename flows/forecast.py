"""The daily forecast: the champion's distribution of the next days, the ledger, the drift watch."""

from __future__ import annotations

import datetime as dt
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.closing import end_day, end_run, forecast_and_score, summary_of
from flows.retrain import retrain
from flows.run_names import name_forecast
from flows.symbols import run_each
from models.config.flows import RetrainConfig
from models.data.calendar import add_wait, newest_closed_day, resolve_as_of
from models.errors import InputError, ServiceError, SourceError, StoreError
from models.records import ForecastRequest, SnapshotRecord
from models.reporting.summaries import (
    ForecastSummary,
    Refused,
    RetrainSummary,
    Skipped,
    SymbolsSummary,
)
from tasks.ingest import ingest
from tasks.page import page
from tasks.preflight import check_clock, check_request
from tasks.snapshot import snapshot
from tasks.storage.snapshots import find_newest_snapshot
from tasks.storage.work import discarded_after
from tasks.turns import alive, find_later_run, read_clock, take_turn, was_forecast
from tasks.validate import validate


@flow(name="forecast", flow_run_name=name_forecast)
def forecast(
    config: RetrainConfig = RetrainConfig(),  # noqa: B008
    below_usd: float | None = None,
) -> ForecastSummary | Refused | Skipped | SymbolsSummary | State[Any]:
    """Forecast from the newest candle with the champion, and score what was forecast before.

    With `watch.retrain_on_drift` a new alarm starts a retrain, after the forecast is made. It waits
    for a retrain of its own day or an earlier one, and ends where that has forecast. Where a later
    run is due, it ends in the state "Skipped"; where there is no forecast, in "No forecast".
    """
    if config.as_of is None and (later := find_later_run()):
        why = f"the run of {later:%Y-%m-%d} is due too, and makes up for this day"
        return end_run(Skipped(skipped=why))
    if config.symbols:
        with alive():
            return end_run(run_each(forecast, config, below_usd=below_usd))
    check_request(config)
    scheduled, now = read_clock()
    newest_closed = newest_closed_day(now)
    check_clock(config.symbol, newest_closed)
    as_of = resolve_as_of(config.as_of or newest_closed_day(scheduled), newest_closed)

    with alive():
        with take_turn(config.symbol, as_of, trains=False) as waited:
            if waited is None:
                why = f"another run of {config.symbol} does a later day"
                return end_run(Skipped(skipped=why))
            if waited and was_forecast(config, as_of, below_usd):
                why = f"another run of {config.symbol} has forecast {as_of}"
                return end_run(Skipped(skipped=why, done=True))
            now, newest_closed = add_wait(now, waited)
            snapped, trouble = take_candles(config, as_of, newest_closed)
            request = ForecastRequest(below_usd=below_usd, trouble=trouble)
            summary = forecast_and_score(config, snapped, newest_closed, now, request)
            page(snapped, summary, config.watch)
        if isinstance(summary, Refused):
            return end_day(summary, summary)
        if config.watch.retrain_on_drift and summary.new_alarms:
            started = retrain_on_drift(config, as_of, summary.new_alarms)
            summary = summary.model_copy(update={"retrain": started})
    return end_run(summary)


def take_candles(
    config: RetrainConfig, as_of: dt.date, newest_closed: dt.date
) -> tuple[SnapshotRecord, str]:
    """A snapshot of the newest candles, or the newest there is and why there is no newer one."""
    try:
        candles = ingest(config, as_of)
    except (SourceError, StoreError) as error:
        return find_newest_snapshot(config, as_of, error), str(error)
    with discarded_after(candles.path.parent):
        checked = validate(candles, config.repair, as_of, newest_closed, config.exogenous)
        return snapshot(candles, checked, config.symbol), ""


def retrain_on_drift(
    config: RetrainConfig, as_of: dt.date, alarms: tuple[str, ...]
) -> RetrainSummary | Skipped | Refused:
    """Retrain at once, as a flow run of its own with the reason; returns its summary.

    A retrain that cannot be had says why (`refused`); the forecast stands.
    """
    reason = f"drift: {'; '.join(alarms)}"
    asked = config.model_copy(update={"as_of": as_of, "reason": reason})
    try:
        return summary_of(retrain(asked, return_state=True))  # type: ignore[no-any-return]
    except (InputError, ServiceError) as error:
        return Refused(refused=str(error))
