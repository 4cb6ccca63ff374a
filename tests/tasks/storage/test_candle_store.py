from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from fsspec import AbstractFileSystem, register_implementation

from models.data.store_table import REVISION_SCHEMA, find_revisions, merge_candles
from models.errors import InputError
from tasks.storage.candle_store import REVISIONS, CandleStore, list_stores
from tests.replay.market import made_candles, table_of

TABLE = table_of(made_candles("2022-11-01", 100), "BTC/USD")
EMPTY = TABLE.slice(0, 0)


@pytest.fixture
def store(tmp_path) -> CandleStore:
    return CandleStore("exchange:bitstamp", "BTC/USD", str(tmp_path / "candles"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_written_is_read_and_laid_out_by_year(store, tmp_path):
    assert store.read().num_rows == 0
    store.write(TABLE, EMPTY)
    assert store.read().equals(TABLE)
    folder = tmp_path / "candles" / "exchange-bitstamp" / "BTC-USD"
    assert sorted(contents(folder)) == ["year=2022/candles.parquet", "year=2023/candles.parquet"]
    schema = pq.read_schema(folder / "year=2022" / "candles.parquet")
    assert schema.field("close").metadata[b"unit"] == b"USD"
    assert schema.field("volume").metadata[b"unit"] == b"BTC"
    assert schema.field("open_time").type == pa.timestamp("us", tz="UTC")
    assert pads.dataset(folder, partitioning="hive").to_table().num_rows == 100


def test_only_years_that_differ_are_written(store, tmp_path):
    store.write(TABLE, EMPTY)
    os.utime(tmp_path / "candles/exchange-bitstamp/BTC-USD/year=2022/candles.parquet", (1, 1))
    more = merge_candles(TABLE, table_of(made_candles("2023-02-09", 5), "BTC/USD"))
    store.write(more, TABLE)
    assert store.read().equals(more)
    kept = tmp_path / "candles/exchange-bitstamp/BTC-USD/year=2022/candles.parquet"
    assert kept.stat().st_mtime == 1


def test_the_same_candles_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        CandleStore("exchange:x", "BTC/USD", str(tmp_path / name)).write(TABLE, EMPTY)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_log_takes_a_row_once(store):
    changed = table_of(made_candles("2022-11-01", 3, seed=2), "BTC/USD")
    first = find_revisions(TABLE, changed, TABLE["open_time"][-1].as_py().date())
    store.append_log(REVISIONS, first)
    store.append_log(REVISIONS, first)
    store.append_log(REVISIONS, first.slice(0, 0))
    assert store.read_log(REVISIONS, REVISION_SCHEMA).equals(first)
    later = find_revisions(changed, TABLE, TABLE["open_time"][-1].as_py().date())
    store.append_log(REVISIONS, later)
    assert store.read_log(REVISIONS, REVISION_SCHEMA).num_rows == 2 * first.num_rows


def test_a_half_written_file_is_no_candle(store, tmp_path):
    store.write(TABLE, EMPTY)
    folder = tmp_path / "candles/exchange-bitstamp/BTC-USD/year=2023"
    (folder / ".candles.parquet.part").write_bytes(b"PAR1 half")
    assert store.read().equals(TABLE)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.write_bytes(b""), "no such table"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "no such table"),
        (lambda path: pq.write_table(TABLE.select(["close"]), path), "no such table"),
        (lambda path: pq.write_table(TABLE.take([3, 2]), path), "2022-11-03 is out of order"),
        (lambda path: pq.write_table(TABLE.slice(80), path), "not the candles of that year"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(store, tmp_path, spoil, why):
    store.write(TABLE, EMPTY)
    path = tmp_path / "candles/exchange-bitstamp/BTC-USD/year=2022/candles.parquet"
    spoil(path)
    with pytest.raises(InputError, match=f"year=2022/candles.parquet cannot be used .*{why}"):
        store.read()


def test_any_fsspec_address_serves(monkeypatch):
    monkeypatch.setenv("BTC_STORE", "memory://bucket/candles")
    store = CandleStore("exchange:kraken", "BTC/USDT:USDT")
    with store.lock():
        store.write(TABLE, EMPTY)
    again = CandleStore("exchange:kraken", "BTC/USDT:USDT")
    assert again.read().equals(TABLE)
    assert [(s.source, s.symbol) for s in list_stores()] == [("exchange:kraken", "BTC/USDT:USDT")]


class Elsewhere(AbstractFileSystem):
    """A file system of other machines, of a kind that nobody has a list of."""

    protocol = "elsewhere"


def test_a_store_elsewhere_is_refused_without_locks_that_its_machines_share(
    monkeypatch, postgres_url
):
    register_implementation("elsewhere", Elsewhere, clobber=True)
    store = CandleStore("exchange:kraken", "BTC/USD", "elsewhere://host/candles")
    with (
        pytest.raises(InputError, match=r"^BTC_STORE: .*knows no locks; set BTC_DATABASE_URL"),
        store.lock(),
    ):
        pass
    monkeypatch.setenv("BTC_DATABASE_URL", postgres_url)
    with store.lock():
        pass


def test_an_address_that_cannot_be_opened_is_the_users_to_mend():
    with pytest.raises(InputError, match="BTC_STORE: cannot open 'nothing://x'"):
        CandleStore("exchange:kraken", "BTC/USD", "nothing://x")
