"""What a killed run leaves is gone by the next; what a living one works with stays."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models.config.data import Ingestion
from models.config.flows import RetrainConfig
from models.errors import DiskError, InputError
from tasks.ingest import ingest
from tasks.sources.collection import collect_candles
from tasks.storage.candle_store import CandleStore
from tasks.storage.work import discarded_after, find_dead_work
from tests.conftest import body
from tests.replay.exchange import ReplayExchange
from tests.replay.market import at, made_candles, table_of
from tests.servers import REPO

DAY = dt.date(2024, 12, 31)
RUN = """
import time
from tasks.storage.work import make_work_folder
(make_work_folder("run") / "candles.parquet").touch()
print("made", flush=True)
time.sleep(60)
"""


def test_the_next_run_removes_what_a_killed_one_left(own_home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=REPO, env=os.environ | {"BTC_HOME": str(own_home)},
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == b"made\n"
    (own_home / "work" / "of-an-earlier-release").mkdir()
    config = RetrainConfig(source="sample")
    mine = body(ingest)(config, DAY).path.parent
    [other] = [path for path in (own_home / "work").iterdir() if path != mine]
    assert other.name.startswith("run-") and (other / "candles.parquet").exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert find_dead_work() == [other]
    # The same run at the same time has a folder of its own.
    again = body(ingest)(config, DAY).path.parent
    assert again != mine and mine.exists() and not other.exists()
    for folder in (mine, again):
        with pytest.raises(ZeroDivisionError), discarded_after(folder):
            assert not find_dead_work()
            1 / 0  # noqa: B018
    assert list((own_home / "work").iterdir()) == []


def test_candles_that_cannot_be_written_leave_no_folder(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DiskError("the disk is full")

    monkeypatch.setattr("tasks.ingest.write_frame", fail)
    with pytest.raises(DiskError):
        body(ingest)(RetrainConfig(source="sample"), DAY)
    assert list((own_home / "work").iterdir()) == []


def test_a_symbol_that_an_exchange_has_not_leaves_no_folder(own_home: Path) -> None:
    with ReplayExchange(made_candles("2024-01-01", 30), at("2024-01-31")) as exchange:
        policy = Ingestion(exchange_url=exchange.url, start=dt.date(2024, 1, 1))
        last = dt.date(2024, 1, 30)
        with pytest.raises(InputError, match="has no BTC/XYZ"):
            collect_candles("exchange:bitstamp", "BTC/XYZ", last, policy)
        assert not list((own_home / "candles").rglob("*"))
        collect_candles("exchange:bitstamp", "BTC/USD", last, policy)
        with pytest.raises(InputError, match="has no BTC/XYZ"):
            collect_candles("exchange:bitstamp", "BTC/XYZ", last, policy)
    kept = own_home / "candles" / "exchange-bitstamp"
    assert [path.name for path in kept.iterdir()] == ["BTC-USD"]


def test_who_waits_for_a_store_that_goes_finds_it_again(own_home: Path) -> None:
    table = table_of(made_candles("2024-01-01", 3))
    first, second = (CandleStore("exchange:x", "BTC/USD") for _ in range(2))
    with first.lock():
        pass
    with second.lock():
        second.write(table, table.slice(0, 0))
    with first.lock():
        assert first.read().num_rows == 3
