from __future__ import annotations

import datetime as dt
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError

from models.data.sample import make_sample
from models.decisions.drift_watch import Breach
from models.errors import InputError, LedgerError
from models.scoring.ledger import summarize_record
from tasks.storage import database as db
from tasks.storage.ledger import (
    UNIQUE,
    forecast_days,
    known_models,
    read_alarms,
    read_ledger,
    record_alarms,
    record_forecasts,
    score_due,
)

ALARM = ("model", "as_of", "kind", "text")
LEVELS = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975]
CANDLES = make_sample(dt.date(2024, 12, 31), n_days=400)
DAYS = list(CANDLES["open_time"].dt.date)
NOW = dt.datetime(2025, 1, 1, 0, 20, tzinfo=dt.UTC)


def forecast_rows(origin: int, n_steps: int = 3, **changes: Any) -> list[dict[str, Any]]:
    return [
        {
            "symbol": "BTC/USD",
            "model": "btc-usd",
            "version": 1,
            "as_of": DAYS[origin],
            "target_date": DAYS[origin] + dt.timedelta(days=step),
            "step": step,
            "kind": "live",
            "issued_at": NOW,
            "source": "csv:x.csv",
            "snapshot_sha256": "a" * 64,
            "close_origin": float(CANDLES["close"][origin]),
            "levels": json.dumps(LEVELS),
            "quantiles": json.dumps((0.01 * np.arange(-4, 5)).tolist()),
            "note": "",
        }
        | changes
        for step in range(1, n_steps + 1)
    ]


def test_migrations_make_what_the_code_expects(database: str) -> None:
    with db.transaction() as connection:
        found = inspect(connection)
        assert connection.dialect.name == database
        for table in db.metadata.sorted_tables:
            columns = {column["name"]: column for column in found.get_columns(table.name)}
            assert set(columns) == set(table.c.keys())
            for column in table.c:
                assert columns[column.name]["nullable"] == column.nullable, column
            names = {constraint["name"] for constraint in found.get_unique_constraints(table.name)}
            assert names == {
                c.name for c in table.constraints if isinstance(c, db.UniqueConstraint)
            }
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        assert version == db.HEAD


def test_repeated_run_changes_nothing(database: str) -> None:
    rows = forecast_rows(300)
    assert record_forecasts(rows) == 3
    before = read_ledger("btc-usd")
    changed = [row | {"quantiles": "[]", "issued_at": NOW + dt.timedelta(days=1)} for row in rows]
    assert record_forecasts(changed) == 0
    pd.testing.assert_frame_equal(read_ledger("btc-usd"), before)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"kind": "catch-up"},
        {"model": "btc-usd-synthetic"},
        {"symbol": "ETH/USD"},
    ],
)
def test_other_version_kind_or_model_is_another_row(database: str, change: dict[str, Any]) -> None:
    record_forecasts(forecast_rows(300))
    assert record_forecasts(forecast_rows(300, **change)) == 3
    assert len(read_ledger()) == 6


def test_scored_once_the_target_has_closed(database: str) -> None:
    record_forecasts(forecast_rows(300))
    assert score_due("btc-usd", CANDLES.iloc[:301], "csv:x.csv", NOW) == (0, 0)
    assert score_due("btc-usd", CANDLES.iloc[:303], "csv:x.csv", NOW) == (2, 0)
    assert score_due("btc-usd", CANDLES, "csv:x.csv", NOW) == (1, 0)
    assert score_due("btc-usd", CANDLES, "csv:x.csv", NOW) == (0, 0)
    ledger = read_ledger("btc-usd")
    assert list(ledger["revision"]) == [0, 0, 0]
    assert np.allclose(ledger["actual_usd"], CANDLES["close"][301:304])
    assert ledger["naive_crps_bp"].notna().all()
    assert not (ledger["score_note"] != "").any()


def test_revised_close_is_scored_again_with_a_note(database: str) -> None:
    record_forecasts(forecast_rows(300))
    score_due("btc-usd", CANDLES, "csv:x.csv", NOW)
    old = CANDLES["close"][302]
    revised = CANDLES.copy()
    revised.loc[302, "close"] = old * 1.01
    assert score_due("btc-usd", revised, "csv:other.csv", NOW) == (0, 0)
    assert score_due("btc-usd", revised, "csv:x.csv", NOW) == (0, 1)
    assert score_due("btc-usd", revised, "csv:x.csv", NOW) == (0, 0)
    ledger = read_ledger("btc-usd").set_index("step")
    assert len(ledger) == 3
    assert ledger["revision"].tolist() == [0, 1, 0]
    assert ledger["actual_usd"][2] == pytest.approx(old * 1.01)
    assert ledger["score_note"][2] == f"the close of {DAYS[302]} was revised from {old:.2f}"


def test_failure_inside_a_transaction_stores_nothing(database: str) -> None:
    rows = forecast_rows(300)
    rows[2]["quantiles"] = None
    with pytest.raises(IntegrityError):
        record_forecasts(rows)
    assert known_models() == []


@pytest.mark.parametrize("failure", [OSError("no space left"), KeyError("close"), InputError("x")])
def test_what_the_caller_raises_passes_unchanged_and_stores_nothing(
    database: str, failure: Exception
) -> None:
    with pytest.raises(type(failure)) as caught, db.transaction() as connection:
        db.insert_new(connection, db.forecasts, forecast_rows(300), *UNIQUE)
        raise failure
    assert caught.value is failure
    assert known_models() == []


def test_two_writers_at_once_store_each_row_once(database: str) -> None:
    known_models()
    counts: list[int] = []

    def write() -> None:
        counts.extend(record_forecasts(forecast_rows(origin)) for origin in range(300, 310))

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_ledger("btc-usd")) == 30
    assert len(counts) == 30


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_rows_that_another_stores_meanwhile_are_not_counted(database: str) -> None:
    breach = Breach(kind="crps", value=1.2, limit=1.1, text="CRPS is 1.20 times naive's")
    mine = breach.model_dump() | {"model": "btc-usd", "as_of": DAYS[300]}
    others = iter(("eth-usd", "xrp-usd"))
    with db.transaction() as connection:
        execute = connection.execute

        def after_another(*statement: Any) -> Any:
            assert record_alarms(next(others), DAYS[300], [breach]) == 1
            return execute(*statement)

        connection.execute = after_another  # type: ignore[method-assign]
        assert db.insert_new(connection, db.alarms, [mine], *ALARM) == 1
        assert db.insert_new(connection, db.alarms, [mine], *ALARM) == 0
    assert [len(read_alarms(model)) for model in ("btc-usd", "eth-usd", "xrp-usd")] == [1, 1, 1]


def test_first_use_by_two_processes_at_once(database: str) -> None:
    errors: list[BaseException] = []

    def look() -> None:
        try:
            known_models()
        except LedgerError as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_alarms_are_kept_once(database: str) -> None:
    breach = Breach(kind="crps", value=1.2, limit=1.1, text="CRPS is 1.20 times naive's")
    assert record_alarms("btc-usd", DAYS[300], [breach]) == 1
    assert record_alarms("btc-usd", DAYS[300], [breach]) == 0
    assert read_alarms("btc-usd")["text"].tolist() == [breach.text]


def test_days_and_models(database: str) -> None:
    assert read_ledger("btc-usd").empty
    assert summarize_record(read_ledger("btc-usd"))["days_forecast"] == 0
    record_forecasts(forecast_rows(301) + forecast_rows(300))
    assert forecast_days("btc-usd") == [DAYS[300], DAYS[301]]
    assert known_models() == ["btc-usd"]


@pytest.fixture
def sqlite_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BTC_HOME", str(tmp_path))
    monkeypatch.delenv("BTC_DATABASE_URL", raising=False)
    return tmp_path


def test_locked_ledger_is_one_line_and_keeps_what_it_had(
    sqlite_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_forecasts(forecast_rows(300))
    monkeypatch.setattr(db, "BUSY_SECONDS", 0.2)
    holder = sqlite3.connect(sqlite_home / "ledger.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerError, match="database is locked") as caught:
        record_forecasts(forecast_rows(301))
    assert "\n" not in str(caught.value)
    holder.execute("ROLLBACK")
    holder.close()
    assert len(read_ledger("btc-usd")) == 3


def test_full_ledger_is_one_line_and_keeps_what_it_had(
    sqlite_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_forecasts(forecast_rows(300))
    connect = db._connect

    def connect_to_a_full_disk() -> Any:
        engine = connect()

        @db.event.listens_for(engine, "connect")
        def _limit(connection: Any, _record: Any) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={pages}")

        return engine

    monkeypatch.setattr(db, "_connect", connect_to_a_full_disk)
    with pytest.raises(LedgerError, match="full"):
        record_forecasts([row for origin in range(301, 390) for row in forecast_rows(origin)])
    monkeypatch.setattr(db, "_connect", connect)
    assert len(read_ledger("btc-usd")) == 3


@pytest.mark.parametrize(
    ("url", "words", "kind"),
    [
        ("postgresql://btc:secret@127.0.0.1:9/none", "127.0.0.1:9/none", LedgerError),
        ("nonsense", "cannot use", InputError),
        ("mysql+nonsense://x", "cannot use", InputError),
        ("mysql://x", "MySQLdb", InputError),
    ],
)
def test_database_that_cannot_be_used_is_one_line_without_the_password(
    sqlite_home: Path, monkeypatch: pytest.MonkeyPatch, url: str, words: str, kind: type
) -> None:
    monkeypatch.setenv("BTC_DATABASE_URL", url)
    with pytest.raises(kind, match=words) as caught:
        known_models()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_no_database_is_one_line(sqlite_home: Path) -> None:
    (sqlite_home / "ledger.db").write_text("this is a text" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        known_models()


def test_ledger_of_a_newer_release_is_one_line(sqlite_home: Path) -> None:
    with db.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InputError, match=r"made by a newer release .schema 9999"):
        db.check_database()


@pytest.mark.parametrize(
    "url", ["mysql://me:secret@h/x", ":::", "nothing", "oracle://me:secret@h/x", "sqlite+x:///y"]
)
def test_addresses_that_are_none_are_one_line(
    sqlite_home: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(sqlite_home)
    monkeypatch.setenv("BTC_DATABASE_URL", url)
    with pytest.raises(InputError, match="Set BTC_DATABASE_URL to postgresql") as error:
        db.check_database()
    assert "\n" not in str(error.value) and "secret" not in str(error.value)
