"""Candles, snapshots and reports in an object store: a real S3 API on loopback (moto's server)."""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import fsspec
import pandas as pd
import pyarrow as pa
import pytest
import requests
from fsspec.implementations.memory import MemoryFileSystem

from models.config.flows import RetrainConfig
from models.data.sample import make_sample
from models.data.store_table import candle_schema, merge_candles
from models.errors import InputError, SourceError, StoreError
from models.records import CandlesRecord, CheckedRecord
from tasks.snapshot import snapshot
from tasks.storage.archive import keep, list_kept, recover
from tasks.storage.candle_store import CandleStore
from tasks.storage.files import write_frame
from tasks.storage.snapshots import find_newest_snapshot
from tests.conftest import LAST_DAY, body
from tests.servers import environment, free_port, running, wait_for

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("s3"), free_port()
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with running(command, env=environment(folder), cwd=folder, log=folder / "log"):
        wait_for(f"http://127.0.0.1:{port}/moto-api/", folder / "log")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty bucket, which BTC_STORE and BTC_ARCHIVE name."""
    for key, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "BTC_STORE": "s3://btc/candles",
        "BTC_ARCHIVE": "s3://btc/archive",
    }.items():
        monkeypatch.setenv(key, value)
    requests.post(f"{endpoint}/moto-api/reset", timeout=10)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="btc")
    return client


@pytest.fixture
def shared_ledger(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BTC_DATABASE_URL", postgres_url)


def make_table(n_days: int) -> pa.Table:
    frame = make_sample(LAST_DAY, n_days=800).head(n_days)
    schema = candle_schema("BTC/USD")
    columns = {name: frame[name] for name in schema.names if name in frame}
    filled = {f.name: columns.get(f.name, pd.Series([None] * len(frame))) for f in schema}
    return pa.Table.from_pandas(pd.DataFrame(filled), schema=schema, preserve_index=False)


def hashes_of(bucket: Any) -> dict[str, str]:
    found = bucket.list_objects_v2(Bucket="btc").get("Contents", ())
    return {item["Key"]: item["ETag"] for item in found}


def open_store() -> CandleStore:
    return CandleStore("exchange:bitstamp", "BTC/USD")


def test_first_fill_a_day_more_and_a_revision(bucket: Any, shared_ledger: None) -> None:
    table = make_table(700)
    with open_store().lock():
        open_store().write(table.slice(0, 600), table.slice(0, 0))
    assert open_store().read().equals(table.slice(0, 600))
    before = {
        item["Key"]: item["ETag"] for item in bucket.list_objects_v2(Bucket="btc")["Contents"]
    }
    open_store().write(table, table.slice(0, 600))
    revised = table.to_pandas()
    revised.loc[699, "close"] += 1
    newest = pa.Table.from_pandas(revised, schema=table.schema, preserve_index=False)
    open_store().write(newest, table)
    assert open_store().read().equals(newest)
    after = hashes_of(bucket)
    assert after.keys() >= before.keys()
    first = min(before)
    assert after[first] == before[first]  # A year that is over is not written again.


def test_without_a_lock_of_all_machines_nothing_is_written(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BTC_DATABASE_URL", raising=False)
    with (
        pytest.raises(InputError, match="knows no locks; set BTC_DATABASE_URL"),
        open_store().lock(),
    ):
        pass
    assert hashes_of(bucket) == {}


def test_writers_at_once_lose_no_day(bucket: Any, shared_ledger: None) -> None:
    table = make_table(60)

    def add(first: int) -> None:
        store = open_store()
        with store.lock():
            stored = store.read()
            mine = table.slice(first, 20)
            store.write(merge_candles(stored, mine), stored)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(add, (0, 20, 40)))
    assert open_store().read().equals(table)


def test_a_write_that_is_cut_off_is_never_read(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "whole"
    folder.mkdir()
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text(name)
    files = fsspec.get_filesystem_class("s3")
    real = files.pipe_file
    written: list[str] = []

    def cut_off(self: Any, path: str, value: bytes, **more: Any) -> None:
        if len(written) == 2:
            raise OSError(28, "the connection is gone")
        written.append(path)
        real(self, path, value, **more)

    with monkeypatch.context() as patch:
        patch.setattr(files, "pipe_file", cut_off)
        with pytest.raises(StoreError, match="run again to finish"):
            keep(folder, "snapshots/x")
    assert len(hashes_of(bucket)) == 2
    assert not recover("snapshots/x", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    keep(folder, "snapshots/x")
    assert recover("snapshots/x", tmp_path / "back")
    assert (tmp_path / "back" / "b.txt").read_text() == "b.txt"

    bucket.put_object(Bucket="btc", Key="archive/snapshots/x/b.txt", Body=b"something else")
    with pytest.raises(StoreError, match="not what its manifest says"):
        recover("snapshots/x", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@contextmanager
def refusing(status: int, code: str) -> Iterator[str]:
    """An S3 endpoint that answers every request with an error."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            text = f"<Error><Code>{code}</Code><Message>{code} said</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PUT = do_POST = answer

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (503, "SlowDown")])
def test_a_store_that_forbids_or_is_busy_is_one_line(
    bucket: Any, shared_ledger: None, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    table = make_table(10)
    open_store().write(table, table.slice(0, 0))
    s3 = fsspec.get_filesystem_class("s3")
    with monkeypatch.context() as patch, refusing(status, code) as endpoint:
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        s3.clear_instance_cache()
        for work in (open_store().read, lambda: open_store().write(make_table(20), table)):
            with pytest.raises(StoreError, match="BTC_STORE: btc/candles") as caught:
                work()
            assert len(str(caught.value).splitlines()) == 1
            assert "made-up-secret" not in str(caught.value)
    s3.clear_instance_cache()
    assert open_store().read().equals(table)


def test_a_key_that_the_bucket_does_not_know_is_one_line(
    endpoint: str, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The real server's refusal: a bucket that is not there, as one that is somebody else's.
    monkeypatch.setenv("BTC_STORE", "s3://not-mine/candles")
    with pytest.raises(StoreError, match="BTC_STORE: not-mine/candles") as caught:
        open_store().write(make_table(3), make_table(0))
    assert len(str(caught.value).splitlines()) == 1


def test_another_machine_forecasts_from_the_snapshot_that_the_first_left(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "candles.parquet"
    frame = make_sample(LAST_DAY, n_days=50)
    write_frame(frame, path)
    candles = CandlesRecord(path=path, label="csv:x", synthetic=False, n_rows=50)
    checked = CheckedRecord(path=path, n_rows=50, findings=(), repairs=())
    kept = body(snapshot)(candles, checked, "BTC/USD")
    assert list_kept("snapshots/btc-usd") == [f"{LAST_DAY}-{kept.sha256}"]

    monkeypatch.setenv("BTC_HOME", str(tmp_path / "elsewhere"))
    silent = SourceError("the exchange is silent")
    found = find_newest_snapshot(RetrainConfig(), LAST_DAY, silent)
    assert (found.sha256, found.as_of) == (kept.sha256, LAST_DAY)
    assert json.loads((found.folder / "manifest.json").read_text())["n_rows"] == 50
    with pytest.raises(SourceError):
        find_newest_snapshot(RetrainConfig(), LAST_DAY - dt.timedelta(days=1), silent)


def test_the_archive_is_whole_elsewhere_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "deep" / "file").write_text("text")
    for address in ("memory://archive", str(tmp_path / "disk")):
        monkeypatch.setenv("BTC_ARCHIVE", address)
        keep(tmp_path / "a", "reports/a")
        assert list_kept("reports") == ["a"]
        back = tmp_path / f"back-{address[:1].strip('/')}"
        assert recover("reports/a", back)
        assert (back / "deep" / "file").read_text() == "text"
    monkeypatch.delenv("BTC_ARCHIVE")
    keep(tmp_path / "a", "reports/a")
    assert not recover("reports/a", tmp_path / "nowhere")
