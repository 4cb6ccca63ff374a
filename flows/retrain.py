"""The daily retrain: from candles to a scored and registered model, its report and a forecast."""

from __future__ import annotations

import datetime as dt
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.closing import clean_after, end_day, end_run, forecast_and_score
from flows.run_names import name_retrain
from flows.symbols import run_each
from models.config.flows import RetrainConfig
from models.data.calendar import add_wait, newest_closed_day, resolve_as_of
from models.records import (
    CandlesRecord,
    CheckedRecord,
    ForecastRequest,
    SnapshotRecord,
    Trained,
    seconds_by_stage,
)
from models.reporting.summaries import (
    RecallRecord,
    RetrainSummary,
    Skipped,
    SymbolsSummary,
    add_seconds,
    with_aliases,
    with_forecast,
)
from tasks.decide import decide_on
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.page import page
from tasks.preflight import check_clock, check_request
from tasks.promote import promote
from tasks.recall import recall
from tasks.refit import refit
from tasks.register import register
from tasks.registry.runs import ended
from tasks.report import report
from tasks.rival import rival
from tasks.scale import scale
from tasks.snapshot import snapshot
from tasks.storage.work import discarded_after
from tasks.train import train
from tasks.turns import alive, find_later_run, read_clock, take_turn
from tasks.validate import validate
from tasks.window import window


@flow(name="retrain", flow_run_name=name_retrain)
def retrain(
    config: RetrainConfig = RetrainConfig(),  # noqa: B008
) -> RetrainSummary | Skipped | SymbolsSummary | State[Any]:
    """Retrain on the candles up to the newest closed one and return the run's summary.

    A retrain that was done before is not done again, one that was cut off is finished. It waits for
    one of an earlier day. Where the same day is being done, or a later run of the same deployment
    is due, it ends in the state "Skipped". Where there is no forecast, it ends in the state "No
    forecast".
    """
    if config.as_of is None and (later := find_later_run()):
        why = f"the run of {later:%Y-%m-%d} is due too, and makes up for this day"
        return end_run(Skipped(skipped=why))
    if config.symbols:
        with alive():
            return end_run(run_each(retrain, config))
    check_request(config)
    scheduled, now = read_clock()
    newest_closed = newest_closed_day(now)
    check_clock(config.symbol, newest_closed)
    as_of = resolve_as_of(config.as_of or newest_closed_day(scheduled), newest_closed)
    with alive(), take_turn(config.symbol, as_of) as waited:
        if waited is None:
            why = f"another retrain of {config.symbol} is at work; this one ends"
            return end_run(Skipped(skipped=why))
        now, newest_closed = add_wait(now, waited)
        candles = ingest(config, as_of)
        with discarded_after(candles.path.parent):
            checked = validate(candles, config.repair, as_of, newest_closed, config.exogenous)
            snapped = snapshot(candles, checked, config.symbol)
            recalled = recall(config, snapped)
            with ended(recalled.run_id):
                summary = recalled.summary or make_version(
                    config, candles, checked, snapped, recalled, now
                )
                request = ForecastRequest(made=summary.model_version)
                forecast = forecast_and_score(config, snapped, newest_closed, now, request)
                summary = with_forecast(summary, forecast)
                published = page(snapped, forecast, config.watch, summary)
            summary = add_seconds(summary, page=published.seconds)
            summary = clean_after(config, snapped, summary)
    return end_day(summary, forecast)


def make_version(
    config: RetrainConfig,
    candles: CandlesRecord,
    checked: CheckedRecord,
    snapped: SnapshotRecord,
    recalled: RecallRecord,
    now: dt.datetime,
) -> RetrainSummary:
    """The stages that make a model version of a snapshot; the champion's alias moves last."""
    trained = fit_models(config, candles, checked, snapped)
    version = register(config, trained, recalled.run_id)
    known = rival(config, snapped, trained.evaluated, version)
    decided = decide_on(config, trained, version, known)
    seconds = seconds_by_stage(
        ingest=candles,
        validate=checked,
        snapshot=snapped,
        recall=recalled,
        scale=trained.scaled,
        window=trained.windows,
        train=trained.holdout,
        evaluate=trained.evaluated,
        refit=trained.serving,
        register=version,
        rival=known,
        decide=decided,
    )
    reported = report(config, trained, version, decided, seconds)
    promoted = promote(config, version, decided, now)
    return with_aliases(reported.complete_summary, promoted)


def fit_models(
    config: RetrainConfig,
    candles: CandlesRecord,
    checked: CheckedRecord,
    snapped: SnapshotRecord,
) -> Trained:
    """The stages that train: the holdout model, its scores, and the model that serves."""
    scaled = scale(candles, snapped, config)
    windows = window(scaled, config.recipe)
    holdout = train(windows, config.recipe)
    evaluated = evaluate(holdout, windows, config.judging)
    serving = refit(holdout, snapped, config.recipe)
    return Trained(
        checked=checked,
        snapshot=snapped,
        scaled=scaled,
        windows=windows,
        holdout=holdout,
        evaluated=evaluated,
        serving=serving,
    )
