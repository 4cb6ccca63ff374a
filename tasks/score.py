"""Score: missed days caught up, forecasts scored whose days have come, and the drift watch."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from prefect.events import emit_event

from models.config.flows import RetrainConfig
from models.config.judging import Watch
from models.decisions.drift_watch import Breach, select_new, watch_inputs, watch_record
from models.decisions.outlook import (
    describe_training,
    find_missed,
    lacking_columns,
    next_midnight,
)
from models.forecasters.forecaster import Forecaster
from models.records import LedgerRecord, OutlookRecord, SnapshotRecord
from models.scoring.ledger import select_record
from tasks.registry.aliases import champion_at
from tasks.registry.connection import connect
from tasks.registry.model_files import load_version
from tasks.registry.versions import find_version
from tasks.stage import stage
from tasks.storage.ledger import (
    forecast_days,
    ledger_rows,
    read_alarms,
    read_ledger,
    record_alarms,
    record_forecasts,
    score_due,
)
from tasks.storage.snapshots import read_candles


@stage("score", retries=3)
def score(
    config: RetrainConfig, snapshot: SnapshotRecord, outlook: OutlookRecord, now: dt.datetime
) -> LedgerRecord:
    """Catch up on missed days, score what has come, and look out for drift."""
    client = connect()
    candles = read_candles(snapshot)
    caught_up = 0
    if outlook.kind == "live":
        days = candles["open_time"].dt.date.tolist()
        missed = find_missed(days, forecast_days(outlook.model), snapshot.as_of, config.watch)
        caught_up = _catch_up(client, snapshot, candles, outlook, missed, now)
    scored, rescored = score_due(outlook.model, candles, snapshot.source, now)
    breaches, new = _watch(client, config.watch, candles, outlook)
    return LedgerRecord(
        n_caught_up=caught_up,
        n_scored=scored,
        n_rescored=rescored,
        alarms=tuple(breach.text for breach in breaches),
        new_alarms=tuple(breach.text for breach in new),
    )


def _catch_up(
    client: MlflowClient,
    snapshot: SnapshotRecord,
    candles: pd.DataFrame,
    outlook: OutlookRecord,
    missed: list[int],
    now: dt.datetime,
) -> int:
    """Forecast the `missed` rows' days, each as of its own day; returns how many.

    Only the candles up to a day are used, as they are known now; the champion of that time, or,
    where there was none or it reads what these candles lack, the present one with a note.
    """
    loaded: dict[str, tuple[ModelVersion, Forecaster]] = {}

    def load(number: str) -> tuple[ModelVersion, Forecaster]:
        if number not in loaded:
            version = find_version(client, outlook.model, number)
            loaded[number] = (version, load_version(version))
        return loaded[number]

    rows: list[dict[str, Any]] = []
    for row in missed:
        day = candles["open_time"].iloc[row].date()
        version, forecaster = load(
            champion_at(outlook.model, next_midnight(day)) or outlook.version
        )
        if lacking_columns(forecaster.columns, candles.columns):
            version, forecaster = load(outlook.version)
        forecast = forecaster.predict(candles, range(row, row + 1))
        rows += ledger_rows(forecast, snapshot, _facts(version, day, now))
    record_forecasts(rows)
    return len(missed)


def _facts(version: ModelVersion, day: dt.date, now: dt.datetime) -> dict[str, Any]:
    told = describe_training(version.version, version.tags["as_of"], day)
    return {
        "model": version.name,
        "version": int(version.version),
        "kind": "catch-up",
        "issued_at": now,
        "note": " ".join(["Caught up later.", *told]),
    }


def _watch(
    client: MlflowClient, limits: Watch, candles: pd.DataFrame, outlook: OutlookRecord
) -> tuple[list[Breach], list[Breach]]:
    """Check the live record and the inputs; a breach is stored, tagged and emitted.

    Returns all breaches and the new ones among them.
    """
    live = select_record(read_ledger(outlook.model, distributions=False))
    version = find_version(client, outlook.model, outlook.version)
    features = load_version(version).feature_names
    breaches = watch_record(live[live["step"] == 1], limits)
    breaches += watch_inputs(candles, features, limits)
    new = select_new(breaches, read_alarms(outlook.model), outlook.as_of, limits)
    texts = [breach.text for breach in breaches]
    if record_alarms(outlook.model, outlook.as_of, breaches):
        client.set_model_version_tag(
            outlook.model, outlook.version, "drift", f"{outlook.as_of}: {'; '.join(texts)}"
        )
        emit_event(
            event="btc.drift",
            resource={"prefect.resource.id": f"btc.model.{outlook.model}"},
            payload={
                "as_of": outlook.as_of.isoformat(),
                "alarms": texts,
                "new": [breach.text for breach in new],
            },
        )
    return breaches, new
