"""Forecast: the champion's distribution of the next days, stored, scored and watched."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from prefect.artifacts import create_table_artifact
from prefect.events import emit_event

from models.config.flows import RetrainConfig
from models.config.judging import Watch
from models.decisions.drift_watch import Breach, select_new, watch_inputs, watch_record
from models.errors import NoForecastError
from models.forecasters.forecaster import Forecaster
from models.forecasters.frame import Forecast, tabulate_forecast
from models.naming import model_name
from models.records import LedgerRecord, OutlookRecord, SnapshotRecord
from models.scoring.ledger import select_record
from tasks.registry.aliases import champion_at, find_champion
from tasks.registry.connection import connect
from tasks.registry.model_files import load_version
from tasks.registry.versions import find_version
from tasks.stage import stage
from tasks.storage.files import read_frame
from tasks.storage.ledger import (
    Kind,
    forecast_days,
    read_alarms,
    read_ledger,
    record_alarms,
    record_forecasts,
    score_due,
)

DAY = dt.timedelta(days=1)


@stage("forecast", retries=3)
def forecast_with_champion(
    config: RetrainConfig,
    snapshot: SnapshotRecord,
    newest_closed: dt.date,
    issued_at: dt.datetime,
    below_usd: float | None = None,
    trouble: str = "",
) -> OutlookRecord:
    """Forecast from the snapshot's last candle with the champion, and enter it in the ledger.

    It is live only if that candle is the newest closed one, else catch-up. `trouble`: why there are
    no newer candles. Raises InputError where there is no champion, its files are not whole, it
    reads what the candles lack, or the newest candle is too old.
    """
    wanted = config.as_of or newest_closed
    notes = _age_notes(snapshot, wanted, config.watch)
    notes += [f"The source failed: {trouble}."] if trouble else []
    client = connect()
    name = model_name(config.symbol, snapshot.synthetic)
    champion = _need_champion(client, name)
    forecaster, candles = load_version(champion), read_frame(snapshot.candles_path)
    if lacking := _lacking_columns(forecaster, candles):
        raise NoForecastError(
            f"{name} version {champion.version}, the champion, reads {', '.join(lacking)}, which "
            "these candles lack: give it too (--exogenous), or promote another version"
        )
    notes += _champion_notes(champion, snapshot.as_of)
    forecast = forecaster.predict(candles)
    kind: Kind = "live" if snapshot.as_of == newest_closed else "catch-up"
    rows = _ledger_rows(forecast, champion, snapshot, kind, issued_at, "; ".join(notes))
    n_new = record_forecasts(rows)
    table = tabulate_forecast(forecast, below_usd)
    table["target_date"] = table["target_date"].dt.date.astype(str)
    shown = [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
    create_table_artifact(shown, key=f"{name}-forecast", description=" ".join(notes))
    return OutlookRecord(
        model=name,
        version=str(champion.version),
        as_of=snapshot.as_of,
        kind=kind,
        notes=tuple(notes),
        rows=tuple(shown),
        n_new=n_new,
    )


@stage("score", retries=3)
def keep_ledger(
    config: RetrainConfig, snapshot: SnapshotRecord, outlook: OutlookRecord, now: dt.datetime
) -> LedgerRecord:
    """Catch up on missed days, score what has come, and look out for drift."""
    client = connect()
    candles = read_frame(snapshot.candles_path)
    caught_up = 0
    if outlook.kind == "live":
        caught_up = _catch_up(client, config, snapshot, candles, outlook, now)
    scored, rescored = score_due(outlook.model, candles, snapshot.source, now)
    breaches, new = _watch(client, config.watch, candles, outlook)
    return LedgerRecord(
        n_caught_up=caught_up,
        n_scored=scored,
        n_rescored=rescored,
        alarms=tuple(breach.text for breach in breaches),
        new_alarms=tuple(breach.text for breach in new),
    )


def _age_notes(snapshot: SnapshotRecord, wanted: dt.date, watch: Watch) -> list[str]:
    age = (wanted - snapshot.as_of).days
    if age <= 0:
        return []
    told = f"the newest candle of {snapshot.source} is that of {snapshot.as_of}, {age} days old"
    if age > watch.max_age_days:
        raise NoForecastError(
            f"{told}; at most {watch.max_age_days} are allowed (max_age_days): bring the candles "
            f"up to date, or forecast as of that day (--as-of {snapshot.as_of})"
        )
    return [f"No fresh candle: {told}."]


def _champion_notes(champion: ModelVersion, as_of: dt.date) -> list[str]:
    trained = dt.date.fromisoformat(champion.tags["as_of"])
    if trained < as_of:
        days = (as_of - trained).days
        return [f"The champion, version {champion.version}, is of {trained}, {days} days ago."]
    if trained > as_of:
        return [f"Made afterwards: version {champion.version} was trained to {trained}."]
    return []


def _lacking_columns(forecaster: Forecaster, candles: pd.DataFrame) -> list[str]:
    return sorted(forecaster.columns - set(candles.columns))


def _need_champion(client: MlflowClient, name: str) -> ModelVersion:
    champion = find_champion(client, name)
    if champion is None:
        raise NoForecastError(f"{name} has no champion yet; run `btc retrain` first")
    return champion


def _ledger_rows(
    forecast: Forecast,
    version: ModelVersion,
    snapshot: SnapshotRecord,
    kind: Kind,
    issued_at: dt.datetime,
    note: str,
) -> list[dict[str, Any]]:
    """Rows of one origin's forecast, a step each."""
    as_of = forecast.origins[0].date()
    common = {
        "symbol": snapshot.symbol,
        "model": version.name,
        "version": int(version.version),
        "as_of": as_of,
        "kind": kind,
        "issued_at": issued_at,
        "source": snapshot.source,
        "snapshot_sha256": snapshot.sha256,
        "close_origin": float(forecast.close[0]),
        "levels": json.dumps(forecast.levels),
        "note": note,
    }
    return [
        common
        | {"step": step, "target_date": as_of + step * DAY, "quantiles": json.dumps(row.tolist())}
        for step, row in enumerate(forecast.quantiles[0], 1)
    ]


def _catch_up(
    client: MlflowClient,
    config: RetrainConfig,
    snapshot: SnapshotRecord,
    candles: pd.DataFrame,
    outlook: OutlookRecord,
    now: dt.datetime,
) -> int:
    """Forecast the days since the ledger began that nobody forecast from, each as of its own day.

    Only the candles up to a day are used, as they are known now; the champion of that time, or,
    where there was none or it reads what these candles lack, the present one with a note.
    """
    known = set(forecast_days(outlook.model))
    first = max(min(known), snapshot.as_of - config.watch.catch_up_days * DAY)
    open_days = candles["open_time"].dt.date
    present = find_version(client, outlook.model, outlook.version)
    loaded: dict[str, tuple[ModelVersion, Forecaster]] = {}
    rows: list[dict[str, Any]] = []
    for row, day in enumerate(open_days):
        if not first <= day < snapshot.as_of or day in known:
            continue
        midnight = dt.datetime.combine(day + 2 * DAY, dt.time(), tzinfo=dt.UTC)
        number = champion_at(outlook.model, midnight) or outlook.version
        if number not in loaded:
            version = find_version(client, outlook.model, number)
            loaded[number] = (version, load_version(version))
        version, forecaster = loaded[number]
        if _lacking_columns(forecaster, candles):
            version, forecaster = present, load_version(present)
        forecast = forecaster.predict(candles, range(row, row + 1))
        notes = " ".join(["Caught up later.", *_champion_notes(version, day)])
        rows += _ledger_rows(forecast, version, snapshot, "catch-up", now, notes)
    record_forecasts(rows)
    return len({row["as_of"] for row in rows})


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
