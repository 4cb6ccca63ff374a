"""A day on two machines that share PostgreSQL, a bucket, and the servers of Prefect and MLflow."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import psutil
import psycopg
import pytest

from tests.deploy.shared import BUCKET, SharedServers, shared_servers
from tests.planted import find_planted
from tests.replay.exchange import ReplayExchange
from tests.replay.market import made_candles

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(1800)]
QUICK = {"units": 4, "lookback": 10, "horizon": 3, "training": {"epochs": 2}}
TODAY = dt.datetime.now(dt.UTC)
YESTERDAY = TODAY.date() - dt.timedelta(days=1)
BUSY = "another retrain of BTC/USD is at work"


@pytest.fixture(scope="module")
def servers(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServers]:
    """The servers, an exchange, and a file of prices for each symbol."""
    folder = tmp_path_factory.mktemp("shared")
    config = {"source": "exchange:bitstamp", "recipe": QUICK}
    (folder / "quick.json").write_text(json.dumps(config))
    first = (TODAY.date() - dt.timedelta(days=700)).isoformat()
    for seed, base in enumerate(("BTC", "ETH", "XRP"), 2):
        candles = made_candles(first, 700, seed)
        candles.insert(0, "date", candles.pop("open_time").dt.date)
        candles.to_csv(folder / f"{base}.csv", index=False)
    with (
        ReplayExchange(made_candles(first, 701), TODAY) as exchange,
        shared_servers(folder, postgres_url) as servers,
    ):
        servers.more = {"BTC_EXCHANGE_URL": exchange.url}
        yield servers


def ask(servers: SharedServers, query: str, database: str = "btc") -> list[tuple[Any, ...]]:
    address = servers.postgres_url.rpartition("/")[0]
    with psycopg.connect(f"{address}/{database}") as connection:
        return connection.execute(query).fetchall()


def check_once(servers: SharedServers, model: str) -> None:
    """Version 1 alone, one move of the alias, and every forecast once."""
    versions = f"SELECT version FROM model_versions WHERE name = '{model}'"
    assert ask(servers, versions, "mlflow") == [(1,)]
    moves = f"SELECT to_version, state FROM alias_history WHERE model = '{model}'"
    assert ask(servers, moves) == [(1, "done")]
    rows = ask(servers, f"SELECT step, as_of, kind FROM forecasts WHERE model = '{model}'")
    assert sorted(rows) == [(step, YESTERDAY, "live") for step in (1, 2, 3)]


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, errors = process.communicate(timeout=900)
    assert "Traceback" not in out + errors, errors
    return process.returncode, out + errors


def test_of_two_machines_that_begin_at_once_one_trains_and_both_forecast_with_it(
    servers: SharedServers,
) -> None:
    retrain = ("retrain", "--config", "quick.json")
    with servers.begin("alpha", *retrain) as first, servers.begin("beta", *retrain) as second:
        ends = [end_of(process) for process in (first, second)]
    assert [code for code, _ in ends] == [0, 0], ends
    assert sorted(BUSY in text for _, text in ends) == [False, True]
    check_once(servers, "btc-usd")
    for name in ("alpha", "beta"):
        done = servers.btc(name, "forecast", "--source", "exchange:bitstamp")
        assert done.returncode == 0 and "By btc-usd version 1." in done.stdout, done.stderr
        again = servers.btc(name, *retrain)
        assert again.returncode == 0 and "Nothing to train" in again.stdout, again.stderr
        pages = servers.folder / name / "reports" / "btc-usd"
        assert (pages / f"{YESTERDAY}.html").exists()
    check_once(servers, "btc-usd")


def test_two_symbols_at_once_and_every_look_from_either_machine(servers: SharedServers) -> None:
    options = ("retrain", "--config", "quick.json", "--source", "csv:{base}.csv")
    # The password in the address, in place of PGPASSWORD.
    secret = servers.environment("beta")["PGPASSWORD"].replace("/", "%2F").replace("@", "%40")
    url = servers.postgres_url.replace("//btc@", f"//btc:{secret}@").rpartition("/")[0] + "/btc"
    with (
        servers.begin("alpha", *options, "--symbol", "ETH/USD") as first,
        servers.begin("beta", *options, "--symbol", "XRP/USD", BTC_DATABASE_URL=url) as second,
    ):
        ends = [end_of(process) for process in (first, second)]
    assert [code for code, _ in ends] == [0, 0], ends
    for model in ("eth-usd", "xrp-usd"):
        check_once(servers, model)
    looks = [
        (("models",), 0, ("ETH/USD", "XRP/USD")),
        (("ledger",), 0, ("ETH/USD", "XRP/USD")),
        (("forecast", "--source", "csv:{base}.csv"), 0, ("ETH/USD", "XRP/USD")),
        (("status",), 1, ("ETH/USD", "worker")),
        (("doctor",), 1, ("worker does not answer",)),
        (("clean", "--dry-run"), 0, ("would be deleted",)),
        (("backup", "beta.tar.gz"), 0, ("Not in it", "BTC_DATABASE_URL")),
    ]
    for command, code, told in looks:
        done = servers.btc("beta", *command)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert all(text in done.stdout for text in told), done.stdout


def test_the_lock_of_a_killed_machine_is_free_and_another_completes_the_day(
    servers: SharedServers,
) -> None:
    retrain = ("retrain", "--config", "quick.json", "--set", "units=5")
    with servers.begin("alpha", *retrain) as first:
        assert first.stderr
        for line in first.stderr:
            if line.startswith("register"):
                break
        held = ask(servers, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert held[0][0] >= 2
        for process in [*psutil.Process(first.pid).children(recursive=True), first]:
            os.kill(process.pid, signal.SIGKILL)
        killed = time.monotonic()
        while ask(servers, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"):
            assert time.monotonic() - killed < 10
            time.sleep(0.2)
    done = servers.btc("beta", *retrain, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "btc-usd version 2" in done.stderr
    versions = ask(servers, "SELECT version FROM model_versions WHERE name = 'btc-usd'", "mlflow")
    assert sorted(versions) == [(1,), (2,)]
    assert ask(servers, "SELECT DISTINCT state FROM alias_history") == [("done",)]


def test_no_password_or_key_is_left_in_either_home_or_any_database(servers: SharedServers) -> None:
    texts = []
    for database in ("btc", "mlflow", "prefect"):
        url = servers.postgres_url.rpartition("/")[0] + f"/{database}"
        with psycopg.connect(url) as connection:
            tables = connection.execute(
                "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
                " WHERE schemaname = 'public'"
            ).fetchall()
            assert tables
            for (table,) in tables:
                query = f"SELECT t::text FROM {table} t"
                texts += [row[0] for row in connection.execute(query)]  # type: ignore[arg-type]
    whole = "\n".join(texts)
    assert "btc-usd version 1" in whole  # The search finds what Prefect logged.
    assert find_planted(servers.folder / "alpha", servers.folder / "beta", whole) == []
    client = servers.bucket
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    assert {key.partition("/")[0] for key in keys} == {"candles", "archive", "mlflow"}
    target = servers.folder / "bucket"
    target.mkdir()
    for number, key in enumerate(keys):
        client.download_file(BUCKET, key, str(target / f"{number}"))
    assert find_planted(target) == []
