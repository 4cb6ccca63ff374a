"""The daily retrain: from candles to a registered, judged model and its report."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from models.calendar import newest_closed_day, resolve_as_of
from models.config import RetrainConfig
from models.records import seconds_by_stage
from tasks.evaluation import evaluate
from tasks.ingestion import ingest
from tasks.preflight import check_request
from tasks.registration import register
from tasks.reporting import report
from tasks.scaling import scale
from tasks.snapshot import snapshot
from tasks.training import train
from tasks.validation import validate
from tasks.windowing import window


@flow(name="retrain", flow_run_name="retrain-{config.source}-{config.recipe.cell}")
def retrain(config: RetrainConfig = RetrainConfig()) -> dict[str, Any]:  # noqa: B008
    """Retrain on the candles up to the newest closed one and return the run's summary."""
    check_request(config)
    newest_closed = newest_closed_day(flow_run.scheduled_start_time)
    as_of = resolve_as_of(config.as_of, newest_closed)

    candles = ingest(config, as_of)
    checked = validate(candles, config.repair, as_of, newest_closed)
    frozen = snapshot(candles, checked, config.symbol)
    scaled = scale(candles, frozen, config)
    windows = window(scaled, config.recipe)
    trained = train(scaled, windows, config.recipe)
    judged = evaluate(trained, scaled, frozen, config.judging)
    version = register(config, checked, frozen, scaled, trained, judged)
    seconds = seconds_by_stage(
        ingest=candles,
        validate=checked,
        snapshot=frozen,
        scale=scaled,
        window=windows,
        train=trained,
        evaluate=judged,
        register=version,
    )
    reported = report(config, checked, frozen, scaled, trained, judged, version, seconds)
    return reported.complete_summary
