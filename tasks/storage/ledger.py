"""The ledger: every forecast ever made, scored when its day has come."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from sqlalchemy import FromClause, Select, and_, func, select

from models.scoring.ledger import score_forecasts
from tasks.storage.database import alarms, forecasts, insert_new, read_rows, scores, transaction

if TYPE_CHECKING:
    from models.decisions.drift_watch import Breach
    from models.forecasters.frame import Forecast
    from models.records import SnapshotRecord

Kind = Literal["live", "catch-up", "backtest"]
UNIQUE = ("symbol", "model", "version", "as_of", "target_date", "kind")
# Closes nearer than this, relative, are the same close.
ROUNDING = 1e-9


def record_forecasts(rows: list[dict[str, Any]]) -> int:
    """Store forecasts, one row a target date; those already there stay. Returns how many are new.

    The rows have the columns of `tasks.storage.database.forecasts` without `id`.
    """
    with transaction() as connection:
        return insert_new(connection, forecasts, rows, *UNIQUE)


def ledger_rows(
    forecast: Forecast, snapshot: SnapshotRecord, facts: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of one origin's forecast, a step each.

    `facts`: the columns model, version, kind, issued_at and note.
    """
    as_of = forecast.origins[0].date()
    common = facts | {
        "symbol": snapshot.symbol,
        "as_of": as_of,
        "source": snapshot.source,
        "snapshot_sha256": snapshot.sha256,
        "close_origin": float(forecast.close[0]),
        "levels": json.dumps(forecast.levels),
    }
    return [
        common
        | {
            "step": step,
            "target_date": as_of + dt.timedelta(days=step),
            "quantiles": json.dumps(quantiles.tolist()),
        }
        for step, quantiles in enumerate(forecast.quantiles[0], 1)
    ]


def score_due(model: str, candles: pd.DataFrame, source: str, now: dt.datetime) -> tuple[int, int]:
    """Score the forecasts whose target dates the candles have; returns (scored, rescored).

    A forecast that was scored on another close of the same source is scored again, with a note.
    """
    closes = pd.Series(
        candles["close"].to_numpy(dtype=np.float64), index=candles["open_time"].dt.date
    )
    with transaction() as connection:
        rows = read_rows(connection, _due(model, closes.index[0], closes.index[-1]))
        known = rows[rows["as_of"].isin(closes.index) & rows["target_date"].isin(closes.index)]
        now_usd = known["target_date"].map(closes).to_numpy(np.float64)
        before_usd = known["actual_usd"].to_numpy(np.float64)
        new = np.isnan(before_usd)
        revised = (np.abs(now_usd - before_usd) > ROUNDING * now_usd) & (
            known["scored_source"].to_numpy() == source
        )
        due = known[new | revised].reset_index(drop=True)
        if due.empty:
            return 0, 0
        scored = score_forecasts(due, candles)
        added = [
            {
                "forecast_id": int(row["id"]),
                "revision": 0 if pd.isna(row["revision"]) else int(row["revision"]) + 1,
                "scored_at": now,
                "source": source,
                "note": _revision_note(row),
                **{name: _plain(value) for name, value in score.items()},
            }
            for row, score in zip(due.to_dict("records"), scored.to_dict("records"), strict=True)
        ]
        insert_new(connection, scores, added, "forecast_id", "revision")
        return int(new.sum()), int(revised.sum())


def read_named(model: str) -> tuple[set[int], set[str]]:
    """The versions that forecast for a model, and the hashes of the snapshots that any model saw.

    Any, since the same candles under two symbols are one snapshot.
    """
    of_model = select(forecasts.c.version).where(forecasts.c.model == model).distinct()
    with transaction() as connection:
        versions = connection.scalars(of_model).all()
        snapshots = connection.scalars(select(forecasts.c.snapshot_sha256).distinct()).all()
    return {int(number) for number in versions}, set(snapshots)


def read_ledger(
    model: str | None = None, *, distributions: bool = True, since: dt.date | None = None
) -> pd.DataFrame:
    """All forecasts of a model, or of every one, with the scores in force, if any.

    Without `distributions` the quantiles and pinball losses are left out, most of the bytes.
    `since`: the first day that was forecast from; empty for all.
    """
    hidden = {"forecast_id", "source", "note"}
    bulky = set() if distributions else {"levels", "quantiles", "pinball_bp", "snapshot_sha256"}
    given = [column for column in forecasts.c if column.name not in bulky]
    graded = [column for column in scores.c if column.name not in hidden | bulky]
    query = (
        select(*given, *graded, scores.c.note.label("score_note"))
        .select_from(_forecasts_with_scores())
        .order_by(forecasts.c.as_of, forecasts.c.id)
    )
    if model is not None:
        query = query.where(forecasts.c.model == model)
    if since is not None:
        query = query.where(forecasts.c.as_of >= since)
    with transaction() as connection:
        return read_rows(connection, query)


def known_models() -> list[str]:
    """Names of the models that the ledger has forecasts of."""
    with transaction() as connection:
        return sorted(connection.scalars(select(forecasts.c.model).distinct()))


def known_symbols() -> list[str]:
    """The symbols that the ledger has forecasts of from real candles."""
    real = forecasts.c.model.not_like("%-synthetic")
    with transaction() as connection:
        return sorted(connection.scalars(select(forecasts.c.symbol).where(real).distinct()))


def forecast_days(model: str) -> list[dt.date]:
    """Days that were forecast from, live or afterwards, oldest first."""
    query = select(forecasts.c.as_of).where(forecasts.c.model == model).distinct()
    with transaction() as connection:
        return sorted(connection.scalars(query))


def record_alarms(model: str, as_of: dt.date, breaches: list[Breach]) -> int:
    """Store what the drift watch found; what is already there stays."""
    rows = [breach.model_dump() | {"model": model, "as_of": as_of} for breach in breaches]
    with transaction() as connection:
        return insert_new(connection, alarms, rows, "model", "as_of", "kind", "text")


def read_alarms(model: str) -> pd.DataFrame:
    """Every alarm of a model, oldest first."""
    with transaction() as connection:
        return read_rows(
            connection, select(alarms).where(alarms.c.model == model).order_by(alarms.c.as_of)
        )


def read_last_look(model: str) -> dict[str, Any] | None:
    """The day of the newest forecast, on which the drift watch looked last, and its alarms.

    As JSON types, `as_of` and `alarms` (texts); None before the first forecast.
    """
    days = forecast_days(model)
    if not days:
        return None
    found = read_alarms(model)
    texts = found.loc[found["as_of"] == days[-1], "text"]
    return {"as_of": days[-1].isoformat(), "alarms": texts.tolist()}


def _due(model: str, first: dt.date, last: dt.date) -> Select[Any]:
    columns = ("id", "as_of", "target_date", "step", "close_origin", "levels", "quantiles")
    graded = (scores.c.revision, scores.c.actual_usd, scores.c.source.label("scored_source"))
    return (
        select(*(forecasts.c[name] for name in columns), *graded)
        .select_from(_forecasts_with_scores())
        .where(forecasts.c.model == model)
        .where(forecasts.c.as_of >= first, forecasts.c.target_date <= last)
        .order_by(forecasts.c.id)
    )


def _forecasts_with_scores() -> FromClause:
    """Every forecast with its score in force, if it has one."""
    others = scores.alias()
    newest = (
        select(func.max(others.c.revision))
        .where(others.c.forecast_id == forecasts.c.id)
        .correlate(forecasts)
        .scalar_subquery()
    )
    match = and_(scores.c.forecast_id == forecasts.c.id, scores.c.revision == newest)
    return forecasts.join(scores, match, isouter=True)


def _revision_note(row: dict[Hashable, Any]) -> str:
    if pd.isna(row["revision"]):
        return ""
    return f"the close of {row['target_date']} was revised from {row['actual_usd']:.2f}"


def _plain(value: Any) -> Any:
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return None if np.isnan(value) else float(value)
