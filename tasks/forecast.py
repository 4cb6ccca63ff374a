"""Forecast: the champion's distribution of the next days, entered in the ledger."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from prefect.artifacts import create_table_artifact

from models.config.flows import RetrainConfig
from models.decisions.outlook import describe_age, describe_training, is_live, lacking_columns
from models.errors import NoForecastError
from models.forecasters.forecaster import Forecaster
from models.forecasters.frame import Forecast, tabulate_forecast
from models.naming import model_name
from models.records import ForecastRequest, OutlookRecord, SnapshotRecord
from models.reporting.notes import escape, forecast_table
from tasks.registry.aliases import find_champion
from tasks.registry.connection import connect
from tasks.registry.model_files import load_version
from tasks.registry.versions import find_version, read_recipe
from tasks.stage import stage
from tasks.storage.ledger import ledger_rows, record_forecasts
from tasks.storage.snapshots import read_candles


@stage("forecast", retries=3)
def forecast_with_champion(
    config: RetrainConfig,
    snapshot: SnapshotRecord,
    newest_closed: dt.date,
    issued_at: dt.datetime,
    request: ForecastRequest,
) -> OutlookRecord:
    """Forecast from the snapshot's last candle with the champion, and enter it in the ledger.

    It is live only if that candle is the newest closed one and the model knows no later one, else
    catch-up. Where the champion has seen later days, the version that the run has just made
    forecasts. Raises InputError where no champion can forecast these candles.
    """
    wanted = config.as_of or newest_closed
    notes = describe_age(snapshot.source, snapshot.as_of, wanted, config.watch)
    notes += [f"The source failed: {request.trouble}."] if request.trouble else []
    name = model_name(config.symbol, snapshot.synthetic)
    candles = read_candles(snapshot)
    champion, forecaster = _load_forecaster(connect(), name, candles, request.made)
    notes += describe_training(champion.version, champion.tags["as_of"], snapshot.as_of)
    trained_to = dt.date.fromisoformat(champion.tags["as_of"])
    forecast = forecaster.predict(candles)
    facts = {
        "model": name,
        "version": int(champion.version),
        "kind": "live" if is_live(snapshot.as_of, newest_closed, trained_to) else "catch-up",
        "issued_at": issued_at,
        "note": "; ".join(notes),
    }
    n_new = record_forecasts(ledger_rows(forecast, snapshot, facts))
    shown = _table_rows(forecast, request.below_usd)
    table = forecast_table(shown, config.symbol.partition("/")[2])
    create_table_artifact(table, key=f"{name}-forecast", description=escape(" ".join(notes)))
    return OutlookRecord(
        model=name,
        version=str(champion.version),
        as_of=snapshot.as_of,
        kind=facts["kind"],
        notes=tuple(notes),
        rows=tuple(shown),
        n_new=n_new,
    )


def _table_rows(forecast: Forecast, below_usd: float | None) -> list[dict[str, Any]]:
    table = tabulate_forecast(forecast, below_usd)
    table["target_date"] = table["target_date"].dt.date.astype(str)
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _load_forecaster(
    client: MlflowClient, name: str, candles: pd.DataFrame, made: str
) -> tuple[ModelVersion, Forecaster]:
    """The version that forecasts, and its forecaster; InputError where it cannot on these candles.

    It is the champion, or `made` where the champion has seen later days than the candles' last.
    """
    champion = find_champion(client, name)
    if champion is None:
        raise NoForecastError(f"{name} has no champion yet; run `btc retrain` first")
    last_day = candles["open_time"].iloc[-1].date().isoformat()
    if made and champion.tags["as_of"] > last_day:
        version = find_version(client, name, made)
        # A reproduction, which sees the future, forecasts nothing.
        champion = champion if read_recipe(version).reproduction else version
    forecaster = load_version(champion)
    if lacking := lacking_columns(forecaster.columns, candles.columns):
        raise NoForecastError(
            f"{name} version {champion.version} reads {', '.join(lacking)}, which "
            "these candles lack: give it too (--exogenous), or promote another version"
        )
    return champion, forecaster
