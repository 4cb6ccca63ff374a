"""A state folder of many days, made of one real day: its rows and files, multiplied.

What the daily cleaning would have deleted is not there, see `docs/operations.md`.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from models.config.judging import Retention
from models.data.candles import digest_candles
from models.records import SnapshotRecord
from tasks.registry.store import mend_home
from tasks.service.rubbish import PICTURES, TIDIED
from tasks.storage.files import write_frame, write_text
from tasks.storage.ledger import record_forecasts, score_due
from tasks.storage.snapshots import changes_path

NAME = "btc-usd"
KEEP = Retention().keep_days
# Tables of MLflow whose rows belong to one retrain.
TABLES = (
    "runs", "latest_metrics", "metrics", "params", "tags", "datasets", "inputs", "input_tags",
    "logged_models", "logged_model_metrics", "logged_model_params", "logged_model_tags",
    "model_versions", "model_version_tags",
)  # fmt: skip


@dataclass(frozen=True)
class Twin:
    """A day made of the real one: its number, day, snapshot, and new names for the real ones."""

    number: int
    day: dt.date
    snapshot: SnapshotRecord
    names: dict[str, str]

    def rename(self, value: Any) -> Any:
        """A value of a row with the names of this day."""
        if isinstance(value, str):
            for old, new in self.names.items():
                value = value.replace(old, new)
        return value


def multiply(home: Path, candles: pd.DataFrame, n_days: int) -> None:
    """Make a home that holds one retrain of version 1, on all candles, one of `n_days` days.

    The last of them is the real one. BTC_HOME must name the home.
    """
    mend_home(home)
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.row_factory = sqlite3.Row
        real = _read_names(database)
        snapshots = _make_snapshots(home, candles, n_days)
        twins = [
            Twin(number, record.as_of, record, _new_names(real, record, last=number == n_days))
            for number, record in enumerate(snapshots, 1)
        ]
        _multiply_rows(database, twins)
    _multiply_ledger(home, candles, twins)
    for twin in twins[:-1]:
        _copy_files(home, real, twin, n_days)
    day = twins[-1].day
    old = home / "reports" / f"{day}-{NAME}-v1"
    old.rename(old.with_name(f"{day}-{NAME}-v{n_days}"))


def _read_names(database: sqlite3.Connection) -> dict[str, str]:
    [version] = database.execute("SELECT * FROM model_versions").fetchall()
    [dataset] = database.execute("SELECT * FROM datasets").fetchall()
    [tag] = database.execute("SELECT value FROM model_version_tags WHERE key = 'as_of'")
    [sha256] = database.execute(
        "SELECT value FROM model_version_tags WHERE key = 'snapshot_sha256'"
    )
    inputs = database.execute("SELECT input_uuid FROM inputs").fetchall()
    found = {
        "run": version["run_id"],
        "model": version["source"].removeprefix("models:/"),
        "dataset": dataset["dataset_uuid"],
        "sha256": sha256[0],
        "digest": dataset["digest"],
        "day": tag[0],
    }
    return found | {f"input {i}": row[0] for i, row in enumerate(inputs)}


def _new_names(real: dict[str, str], record: SnapshotRecord, *, last: bool) -> dict[str, str]:
    if last:
        return {}
    names = {}
    for kind, old in real.items():
        new = {"sha256": record.sha256, "digest": record.sha256[:36], "day": str(record.as_of)}
        fresh = f"m-{uuid.uuid4().hex}" if kind == "model" else uuid.uuid4().hex
        names[old] = new.get(kind, fresh)
    return names


def _make_snapshots(home: Path, candles: pd.DataFrame, n_days: int) -> list[SnapshotRecord]:
    """Snapshots up to each day: whole ones of the days that are kept, else as their changes."""
    [real] = (home / "snapshots").glob("*")
    records: list[SnapshotRecord] = []
    first: dict[int, SnapshotRecord] = {}
    text = (real / "manifest.json").read_text(encoding="utf-8")
    facts = SnapshotRecord.model_validate_json(text.replace("{", f'{{"folder": "{real}",', 1))
    for back in range(n_days - 1, -1, -1):
        frame = candles[: len(candles) - back]
        sha256 = digest_candles(frame)
        day = frame["open_time"].iloc[-1].date()
        new = {"sha256": sha256, "as_of": day, "n_rows": len(frame)}
        record = facts.model_copy(update=new | {"folder": real.with_name(sha256)})
        records.append(record)
        if back == 0:
            break
        base = first.setdefault(day.year, record)
        if back >= KEEP and base is not record:
            write_frame(frame[base.n_rows :], changes_path(record.folder, base.sha256))
        else:
            write_frame(frame, record.candles_path)
        told = record.model_dump_json(exclude={"folder", "seconds"})
        write_text(told, record.folder / "manifest.json")
        if back >= KEEP:
            _grow_old(record.folder / "manifest.json", back)
    return records


def _grow_old(path: Path, days: int) -> None:
    then = path.stat().st_mtime - 86_400 * (days + 1)
    os.utime(path, (then, then))


def _multiply_rows(database: sqlite3.Connection, twins: list[Twin]) -> None:
    n_days = len(twins)
    for table in TABLES:
        rows = [dict(row) for row in database.execute(f"SELECT * FROM {table}")]
        database.execute(f"DELETE FROM {table}")
        for twin in twins:
            new = [{key: twin.rename(value) for key, value in row.items()} for row in rows]
            if table.startswith("model_version"):
                new = [row | {"version": twin.number} for row in new]
            made = int(1000 * time.time()) - 86_400_000 * (n_days - twin.number)
            if table == "model_versions":
                new = [row | {"creation_time": made} for row in new]
            if table == "logged_models":
                new = [row | {"creation_timestamp_ms": made} for row in new]
            if table == "model_version_tags" and n_days - twin.number >= KEEP:
                new.append(new[0] | {"key": TIDIED, "value": "yes"})
            _insert(database, table, new)
    database.execute("UPDATE registered_model_aliases SET version = ?", [n_days])
    database.commit()


def _insert(database: sqlite3.Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    values = [tuple(row.values()) for row in rows]
    places = ", ".join("?" for _ in values[0])
    names = ", ".join(f'"{name}"' for name in next(iter(rows)))
    database.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", values)


def _multiply_ledger(home: Path, candles: pd.DataFrame, twins: list[Twin]) -> None:
    closes = candles.set_index(candles["open_time"].dt.date)["close"]
    with closing(sqlite3.connect(home / "ledger.db")) as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute("SELECT * FROM forecasts")]
        [move] = [dict(row) for row in database.execute("SELECT * FROM alias_history")]
        for table in ("scores", "forecasts", "alias_history"):
            database.execute(f"DELETE FROM {table}")
        for twin in twins:
            before = twin.number - 1 or None
            new = {"id": twin.number, "key": uuid.uuid4().hex, "from_version": before}
            _insert(database, "alias_history", [move | new | {"to_version": twin.number}])
        database.commit()
    made = [
        row
        | {
            "version": twin.number,
            "as_of": twin.day,
            "target_date": twin.day + dt.timedelta(days=row["step"]),
            "issued_at": dt.datetime.fromisoformat(row["issued_at"]).replace(tzinfo=dt.UTC),
            "kind": "live",
            "snapshot_sha256": twin.snapshot.sha256,
            "close_origin": float(closes[twin.day]),
        }
        for twin in twins
        for row in ({key: row[key] for key in row if key != "id"} for row in rows)
    ]
    record_forecasts(made)
    score_due(NAME, candles, rows[0]["source"], dt.datetime.now(dt.UTC))


def _copy_files(home: Path, real: dict[str, str], twin: Twin, n_days: int) -> None:
    """The files of a day; of an old one those alone that are kept for good."""
    old = n_days - twin.number >= KEEP
    artifacts, day = home / "mlartifacts" / NAME, real["day"]
    left_out = (*PICTURES, "*.html") if old else ()
    run = artifacts / twin.names[real["run"]] / "artifacts"
    shutil.copytree(
        artifacts / real["run"] / "artifacts", run, ignore=shutil.ignore_patterns(*left_out)
    )
    for path in run.glob(f"pages/{day}*"):
        path.rename(path.with_name(path.name.replace(day, str(twin.day))))
    # Kept once: the run's files, which the report has too, and the code of models.
    report = home / "reports" / f"{twin.day}-{NAME}-v{twin.number}"
    shutil.copytree(
        run,
        report,
        copy_function=os.link,
        ignore=shutil.ignore_patterns("pages", "holdout", "*.yaml", "decision.json", "scores.json"),
    )
    model = artifacts / "models" / twin.names[real["model"]]
    shutil.copytree(
        artifacts / "models" / real["model"], model, ignore=shutil.ignore_patterns("code")
    )
    code = artifacts / "models" / real["model"] / "artifacts" / "code"
    shutil.copytree(code, model / "artifacts" / "code", copy_function=os.link)
    for end in ("html", "json"):
        page = home / "reports" / NAME / f"{day}.{end}"
        text = page.read_text(encoding="utf-8").replace(day, str(twin.day))
        write_text(text, page.with_name(f"{twin.day}.{end}"))
    if not old:
        for path in (home / "holdouts").glob(f"{real['sha256'][:16]}-*"):
            name = path.name.replace(real["sha256"][:16], twin.snapshot.sha256[:16])
            shutil.copyfile(path, path.with_name(name))
