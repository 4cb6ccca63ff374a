"""A bucket where nobody listens, or for which there is no key: one line that names the setting."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from prefect.logging import disable_run_logger

from flows.cli.app import main
from models.config.flows import RetrainConfig
from models.data.store_table import REVISION_SCHEMA
from models.errors import StoreError
from models.records import CandlesRecord, CheckedRecord
from tasks.snapshot import snapshot
from tasks.storage.archive import keep, list_kept, recover
from tasks.storage.candle_store import REVISIONS, CandleStore, list_stores
from tasks.storage.files import write_frame
from tests.replay.exchange import ReplayExchange
from tests.replay.market import made_candles, table_of

SECRET = "made-up-secret"
KEYS = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": SECRET}
CANDLES = made_candles("2022-11-01", 50)


@pytest.fixture(params=["EndpointConnectionError", "NoCredentialsError"])
def unreachable(
    request: pytest.FixtureRequest,
    postgres_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A bucket that is out of reach, and the name of the error of its library."""
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "BTC_DATABASE_URL": postgres_url,
        "BTC_STORE": "s3://btc/candles",
        "BTC_ARCHIVE": "s3://btc/archive",
    }.items():
        monkeypatch.setenv(name, value)
    for name, value in KEYS.items():
        if request.param == "NoCredentialsError":
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    yield str(request.param)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def open_store() -> CandleStore:
    return CandleStore("exchange:bitstamp", "BTC/USD")


def test_whatever_is_asked_of_it(unreachable: str, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "a.html").write_text("a")
    table = table_of(CANDLES, "BTC/USD")
    for variable, work in (
        ("BTC_STORE", open_store().read),
        ("BTC_STORE", lambda: open_store().write(table, table.slice(0, 0))),
        ("BTC_STORE", lambda: open_store().read_log(REVISIONS, REVISION_SCHEMA)),
        ("BTC_STORE", list_stores),
        ("BTC_ARCHIVE", lambda: keep(tmp_path / "report", "reports/a")),
        ("BTC_ARCHIVE", lambda: recover("reports/a", tmp_path / "back")),
        ("BTC_ARCHIVE", lambda: list_kept("reports")),
    ):
        with pytest.raises(StoreError, match=rf"^{variable}: .* failed .{unreachable}") as caught:
            work()
        assert "\n" not in str(caught.value) and SECRET not in str(caught.value)


def test_of_every_command(
    unreachable: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ReplayExchange(CANDLES, dt.datetime.now(dt.UTC)) as exchange:
        monkeypatch.setenv("BTC_EXCHANGE_URL", exchange.url)
        for command in (
            ["ingest", "--source", "exchange:bitstamp"],
            ["data", "show"],
            ["data", "check"],
            ["data", "export", "candles.csv"],
            ["doctor"],
        ):
            monkeypatch.setattr(sys, "argv", ["btc", *command])
            with pytest.raises(SystemExit) as ended:
                main()
            said = capfd.readouterr()
            assert ended.value.code == 1, said
            [line] = [line for line in (said.out + said.err).splitlines() if unreachable in line]
            assert "BTC_STORE: " in line and SECRET not in said.out + said.err
            assert command == ["doctor"] or said.err.splitlines() == [line]


def test_of_a_stage_and_a_forecast_does_with_the_last_snapshot(
    unreachable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.forecast import take_candles

    path = tmp_path / "candles.parquet"
    write_frame(CANDLES, path)
    candles = CandlesRecord(path=path, label="csv:x", synthetic=False, n_rows=50)
    checked = CheckedRecord(path=path, n_rows=50, findings=(), repairs=())
    with disable_run_logger(), pytest.raises(StoreError, match=r"^BTC_ARCHIVE: "):
        snapshot.fn(candles, checked, "BTC/USD")

    def fail(*_: Any) -> None:
        open_store().read()

    # It is kept on this machine; neither the candles nor the archive are within reach.
    monkeypatch.setattr("flows.forecast.ingest", fail)
    today = CANDLES["open_time"].iloc[-1].date()
    found, trouble = take_candles(RetrainConfig(), today, today)
    assert found.as_of == today and trouble.startswith("BTC_STORE: ")
