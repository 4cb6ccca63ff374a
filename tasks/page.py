"""Page: what a day says to people, written last: one HTML file a day, and an index of all days."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from prefect.artifacts import create_markdown_artifact
from pydantic import ValidationError

from models.config.judging import Watch
from models.decisions.drift_watch import Shift, measure_shifts
from models.learning.features import needed_columns
from models.naming import model_name
from models.records import PageRecord, SnapshotRecord
from models.reporting.day_page import Day, describe_day, list_days
from models.reporting.notes import write_day_note
from models.reporting.render import render_chart, render_page
from models.reporting.runs import describe_run
from models.reporting.summaries import ForecastSummary, Refused, RetrainSummary
from tasks.registry.aliases import find_champion, read_history
from tasks.registry.connection import (
    artifact_address,
    connect,
    prefect_run_address,
    run_address,
)
from tasks.registry.runs import log_points
from tasks.registry.versions import find_version, read_decision
from tasks.stage import stage
from tasks.storage.files import read_frame, write_text
from tasks.storage.ledger import read_ledger
from tasks.storage.pages import page_path, read_days
from tasks.storage.snapshots import read_candles

# Days in which the forecast before the day's is looked for.
RECENT_DAYS = 40


@stage("page", retries=3)
def page(
    snapshot: SnapshotRecord,
    forecast: ForecastSummary | Refused,
    watch: Watch,
    made: RetrainSummary | None = None,
) -> PageRecord:
    """Write the page of the snapshot's day, add it to the index, to MLflow and to Prefect.

    `made`: the summary of the version that this run made, if it made one.
    """
    name = model_name(snapshot.symbol, snapshot.synthetic)
    version = _find_shown(name, forecast, made)
    day = gather_day(snapshot, forecast, watch, made, version)
    facts = describe_day(day)
    path = page_path(name, snapshot.as_of)
    write_text(render_page("day", facts), path)
    kept = {"as_of": str(day.as_of), "headline": facts["headline"], "kind": day.kind}
    kept |= {"version": day.version, "badges": [word for word, _ in facts["badges"]]}
    write_text(json.dumps(kept, indent=2), path.with_suffix(".json"))
    write_index(day)
    run_id = made.run_id if made else str(version.run_id) if version else ""
    if run_id:
        _log_to_mlflow(run_id, path, facts)
    if made is not None:
        _describe_run(made, path, facts)
    create_markdown_artifact(write_day_note(facts, str(path)), key=f"{name}-report")
    return PageRecord(path=path, headline=facts["headline"])


def gather_day(
    snapshot: SnapshotRecord,
    forecast: ForecastSummary | Refused,
    watch: Watch,
    made: RetrainSummary | None,
    version: ModelVersion | None,
) -> Day:
    """Everything that the page of a day is made of."""
    name = model_name(snapshot.symbol, snapshot.synthetic)
    candles = read_candles(snapshot)
    judged, predictions = _read_judged(version)
    decision = read_decision(version) if version else None
    told = forecast.model_dump(
        include={"kind", "notes", "rows", "below_usd", "alarms", "new_alarms"}
    )
    return Day(
        model=name,
        symbol=snapshot.symbol,
        synthetic=snapshot.synthetic,
        as_of=snapshot.as_of,
        candles=candles,
        ledger=_read_record(name, snapshot.as_of),
        moves=read_history(name),
        version=str(version.version) if version else None,
        unproven=bool(decision and decision.unproven),
        refused=forecast.refused if isinstance(forecast, Refused) else "",
        shifts=_measure_shifts(candles, judged, watch),
        judged=judged,
        predictions=predictions,
        made=made,
        seconds=(made or forecast).seconds,
        links=_links(made.run_id if made else str(version.run_id) if version else ""),
        **told,
    )


def _read_record(name: str, as_of: dt.date) -> pd.DataFrame:
    """The whole ledger of a model; levels and quantiles, most of its bytes, of the last days."""
    recent = read_ledger(name, since=as_of - dt.timedelta(days=RECENT_DAYS))
    record = read_ledger(name, distributions=False)
    return record.merge(recent[["id", "levels", "quantiles"]], on="id", how="left")


def write_index(day: Day) -> None:
    """Write the index of all days of a model."""
    facts: dict[str, Any] = {"title": f"{day.symbol}, every day", "symbol": day.symbol}
    facts |= {"model": day.model, "synthetic": day.synthetic}
    facts["days"] = list_days(read_days(day.model), day.ledger)
    write_text(
        render_page("history", facts), page_path(day.model, day.as_of).with_name("index.html")
    )


def _find_shown(
    name: str, forecast: ForecastSummary | Refused, made: RetrainSummary | None
) -> ModelVersion | None:
    """The version that forecast; without a forecast the one just made, else the champion."""
    client = connect()
    if isinstance(forecast, ForecastSummary):
        return find_version(client, name, forecast.version)
    if made is not None:
        return find_version(client, name, made.model_version)
    return find_champion(client, name)


def _measure_shifts(
    candles: pd.DataFrame, judged: RetrainSummary | None, watch: Watch
) -> tuple[Shift, ...]:
    """Drift of the inputs that the version reads and these candles give."""
    read = judged.features_used if judged else ()
    known = tuple(name for name in read if needed_columns((name,)) <= set(candles.columns))
    return tuple(measure_shifts(candles, known, watch)) if known else ()


def _read_judged(
    version: ModelVersion | None,
) -> tuple[RetrainSummary | None, pd.DataFrame | None]:
    """Summary and holdout predictions of a version, from its run; None where they are not there."""
    if version is None:
        return None, None
    try:
        with tempfile.TemporaryDirectory() as folder:
            summary = _artifact(version, "summary.json", folder).read_text(encoding="utf-8")
            predictions = read_frame(_artifact(version, "predictions.parquet", folder))
        return RetrainSummary.model_validate_json(summary), predictions
    except (OSError, MlflowException, ValidationError):
        # Runs of earlier releases, or deleted ones; the page says that it cannot be read.
        return None, None


def _artifact(version: ModelVersion, name: str, folder: str) -> Path:
    return Path(
        mlflow.artifacts.download_artifacts(
            run_id=version.run_id, artifact_path=name, dst_path=folder
        )
    )


def _log_to_mlflow(run_id: str, path: Path, facts: dict[str, Any]) -> None:
    client = connect()
    client.log_artifact(run_id, str(path), "pages")
    if facts["fan"] is not None:
        client.log_text(run_id, render_chart(facts["fan"]), f"pages/{path.stem}-fan.svg")


def _describe_run(made: RetrainSummary, path: Path, facts: dict[str, Any]) -> None:
    """Say in the run's description what came of it, and keep the seconds of its stages."""
    client = connect()
    page, fan = (f"pages/{path.name}", f"pages/{path.stem}-fan.svg")
    links = {"Page of the day": artifact_address(made.run_id, page)}
    if address := prefect_run_address():
        links["Run in Prefect"] = address
    shown = artifact_address(made.run_id, fan) if facts["fan"] is not None else ""
    client.set_tag(made.run_id, "mlflow.note.content", describe_run(made, shown, links))
    if not made.done_before:
        points = [(f"seconds/{name}", round(value, 2), 0) for name, value in made.seconds.items()]
        log_points(client, made.run_id, points)


def _links(run_id: str) -> tuple[tuple[str, str], ...]:
    found = []
    if run_id and (address := run_address(connect(), run_id)):
        found.append(("Run in MLflow", address))
    if address := prefect_run_address():
        found.append(("Run in Prefect", address))
    return tuple(found)
