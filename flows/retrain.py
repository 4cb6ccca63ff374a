"""The daily retrain: from candles to a registered, judged model, its report and a forecast."""

from __future__ import annotations

import datetime as dt
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.closing import forecast_and_score
from models.calendar import newest_closed_day, resolve_as_of
from models.config import RetrainConfig
from models.errors import NoForecastError
from models.naming import model_name
from models.records import (
    NO_COMPANIONS,
    CandlesRecord,
    CheckedRecord,
    CompanionsRecord,
    SnapshotRecord,
    seconds_by_stage,
)
from models.summary import with_aliases, with_forecast
from tasks.companions import fetch_companions
from tasks.evaluation import evaluate
from tasks.files import discarded_after
from tasks.ingestion import ingest
from tasks.lock import hold
from tasks.preflight import check_request
from tasks.promotion import decide_on, promote
from tasks.registration import find_finished, register
from tasks.reporting import read_summary, report
from tasks.scaling import scale
from tasks.snapshot import snapshot
from tasks.training import refit, train
from tasks.validation import validate
from tasks.warm_start import find_start
from tasks.windowing import window


@flow(name="retrain", flow_run_name="retrain-{config.source}-{config.recipe.cell}")
def retrain(config: RetrainConfig = RetrainConfig()) -> dict[str, Any]:  # noqa: B008
    """Retrain on the candles up to the newest closed one and return the run's summary.

    A retrain that was done before is not done again, one that was cut off is finished. While
    another one of the symbol is at work, this one says so (`skipped`) and ends.
    """
    check_request(config)
    scheduled = flow_run.scheduled_start_time
    newest_closed = newest_closed_day(scheduled)
    as_of = resolve_as_of(config.as_of, newest_closed)
    with hold(model_name(config.symbol, synthetic=False)) as mine:
        if not mine:
            return {"skipped": f"another retrain of {config.symbol} is at work; this one ends"}
        candles = ingest(config, as_of)
        with discarded_after(candles.path.parent):
            checked = validate(candles, config.repair, as_of, newest_closed, config.exogenous)
            frozen = snapshot(candles, checked, config.symbol)
            companions = NO_COMPANIONS
            if config.companions:
                companions = fetch_companions(config, as_of, newest_closed)
            finished = find_finished(config, frozen, companions)
            summary = (
                read_summary(frozen, finished)
                if finished
                else make_version(config, candles, checked, frozen, companions, scheduled)
            )
        try:
            forecast = forecast_and_score(config, frozen, newest_closed, scheduled)
        except NoForecastError as refusal:
            forecast = {"refused": str(refusal), "seconds": {}}
    return with_forecast(summary, forecast)


def make_version(
    config: RetrainConfig,
    candles: CandlesRecord,
    checked: CheckedRecord,
    frozen: SnapshotRecord,
    companions: CompanionsRecord,
    now: dt.datetime,
) -> dict[str, Any]:
    """The stages that make a model version of a snapshot; the champion's alias moves last."""
    scaled = scale(candles, frozen, config)
    windows = window(scaled, config.recipe)
    start = find_start(config, frozen, scaled)
    trained = train(scaled, windows, frozen, companions, config.recipe, start)
    judged = evaluate(trained, scaled, frozen, config.judging)
    serving = refit(trained, frozen, companions, config.recipe, start)
    version = register(config, checked, frozen, companions, scaled, start, trained, serving, judged)
    decided = decide_on(config, frozen, companions, serving, judged, version)
    seconds = seconds_by_stage(
        ingest=candles,
        validate=checked,
        snapshot=frozen,
        **({"companions": companions} if companions.hashes else {}),
        scale=scaled,
        window=windows,
        start=start,
        train=trained,
        evaluate=judged,
        refit=serving,
        register=version,
        decide=decided,
    )
    reported = report(config, checked, frozen, scaled, trained, judged, version, decided, seconds)
    promoted = promote(config, version, decided, now)
    return with_aliases(reported.complete_summary, promoted)
