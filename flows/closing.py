"""What ends every day, of a retrain as of a forecast."""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeVar

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from models.config.flows import RetrainConfig
from models.decisions.alarms import IN_PART, SKIPPED
from models.errors import NoForecastError
from models.records import CleanedRecord, ForecastRequest, SnapshotRecord
from models.reporting.notes import say_end, say_failures
from models.reporting.summaries import (
    Cleaned,
    ForecastSummary,
    Refused,
    RetrainSummary,
    Skipped,
    Summary,
    SymbolsSummary,
    add_seconds,
    summarize_forecast,
)
from tasks.clean import clean
from tasks.forecast import forecast_with_champion
from tasks.score import score
from tasks.secrets import hide

NO_FORECAST = "No forecast"
"""Name of the state of a run that ends without a forecast."""

S = TypeVar("S", bound=Summary)


def forecast_and_score(
    config: RetrainConfig,
    snapped: SnapshotRecord,
    newest_closed: dt.date,
    now: dt.datetime,
    request: ForecastRequest,
) -> ForecastSummary | Refused:
    """Forecast the next days with the champion, and score what was forecast before."""
    try:
        outlook = forecast_with_champion(config, snapped, newest_closed, now, request)
    except NoForecastError as refusal:
        return Refused(refused=str(refusal))
    scored = score(config, snapped, outlook, now)
    return summarize_forecast(outlook, scored, config.symbol, snapped.synthetic, request.below_usd)


def clean_after(
    config: RetrainConfig, snapped: SnapshotRecord, summary: RetrainSummary
) -> RetrainSummary:
    """Delete what is old; where that fails the day stands, and the run says why."""
    ended: State[Any] = clean(config.retention, snapped, return_state=True)
    result = ended.result(raise_on_failure=False)
    if isinstance(result, CleanedRecord):
        cleaned = Cleaned(items=result.n_items, bytes=result.n_bytes)
        summary = add_seconds(summary, clean=result.seconds)
    else:
        reason = " ".join(hide(result or ended.message or ended.name).split())
        cleaned = Cleaned(failed=reason[:500])
    return summary.model_copy(update={"cleaned": cleaned})


def end_day(summary: S, forecast: ForecastSummary | Refused) -> S | State[S]:
    """The summary, as a failed state of its own name where the day has no forecast.

    So that it is not green in Prefect, and an automation can look for the name.
    """
    if isinstance(forecast, Refused):
        return Failed(name=NO_FORECAST, message=forecast.refused, data=summary)
    return end_run(summary)


def end_run(summary: S) -> S | State[S]:
    """The summary, as a state of its own name where something beside the day's work failed.

    Also where another run does the work, of every symbol: such an end says nothing of how the day
    went, unless that run has ended and done it. A retrain that was done before says so.
    """
    parts = summary.symbols.values() if isinstance(summary, SymbolsSummary) else [summary]
    skipped = [part for part in parts if isinstance(part, Skipped)]
    if len(skipped) == len(parts):
        name = "Completed" if all(part.done for part in skipped) else SKIPPED
        told = "; ".join(part.skipped for part in skipped)
        return Completed(name=name, message=told, data=summary)
    if told := say_end(summary):
        name = IN_PART if say_failures(summary) else "Completed"
        return Completed(name=name, message=told, data=summary)
    return summary


def summary_of(ended: State[Any]) -> Any:
    """The summary that a flow ended with, also without a forecast; raises what the flow raised."""
    return ended.result(raise_on_failure=ended.name != NO_FORECAST)
