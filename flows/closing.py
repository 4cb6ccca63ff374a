"""What ends every day, of a retrain as of a forecast."""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeVar

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from models.config.flows import RetrainConfig
from models.errors import NoForecastError
from models.records import ForecastRequest, SnapshotRecord
from models.reporting.notes import say_nothing_to_train
from models.reporting.summaries import (
    ForecastSummary,
    Refused,
    RetrainSummary,
    Summary,
    summarize_forecast,
)
from tasks.forecast import forecast_with_champion
from tasks.score import score

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


def end_day(summary: S, forecast: ForecastSummary | Refused) -> S | State[S]:
    """The summary, as a failed state of its own name where the day has no forecast.

    So that it is not green in Prefect, and an automation can look for the name. A retrain that was
    done before says so.
    """
    if isinstance(forecast, Refused):
        return Failed(name=NO_FORECAST, message=forecast.refused, data=summary)
    if isinstance(summary, RetrainSummary) and summary.done_before:
        return Completed(message=say_nothing_to_train(summary), data=summary)
    return summary


def summary_of(ended: State[Any]) -> Any:
    """The summary that a flow ended with, also without a forecast; raises what the flow raised."""
    return ended.result(raise_on_failure=ended.name != NO_FORECAST)
