"""Thirty days in the life of a store, and what it refuses, over HTTP with the real client."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from models.config.data import Ingestion
from models.data.crosscheck import QUARANTINE_SCHEMA
from models.data.store_table import REVISION_SCHEMA, frame_from_table
from models.errors import SourceError
from tasks.sources.collection import Collected, collect_candles
from tasks.sources.exchange import ExchangeClient
from tasks.storage.candle_store import QUARANTINE, REVISIONS, CandleStore
from tests.replay.exchange import ReplayExchange
from tests.replay.market import at, made_candles

START = "2022-06-01"
DAY = dt.timedelta(days=1)

# A writer that is killed half-way through the bytes of its nth file.
KILLED = """
import datetime as dt, os, signal, sys
import pyarrow.parquet as pq
from models.config.data import Ingestion
from tasks.sources.collection import collect_candles
url, day, n = sys.argv[1], dt.date.fromisoformat(sys.argv[2]), int(sys.argv[3])
write, begun = pq.write_table, []

def half(table, file, **options):
    begun.append(file)
    if len(begun) < n:
        return write(table, file, **options)
    file.write(b"PAR1 half a file")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

pq.write_table = half
collect_candles("exchange:bitstamp", "BTC/USD", day, Ingestion(exchange_url=url))
"""


@pytest.fixture
def exchange(tmp_path, monkeypatch):
    monkeypatch.setenv("BTC_HOME", str(tmp_path))
    with ReplayExchange(made_candles(START, 700), at("2023-03-01")) as replay:
        yield replay


def collect(exchange: ReplayExchange, venue: str = "bitstamp", **changes) -> Collected:
    """What a run just after midnight by the exchange's clock would do."""
    settings = {"exchange_url": exchange.url, "attempts": 2, "backoff_s": 0.0, "timeout_s": 0.3}
    policy = Ingestion(**settings | changes)
    return collect_candles(f"exchange:{venue}", "BTC/USD", exchange.now.date() - DAY, policy)


def stored(venue: str = "bitstamp") -> pd.DataFrame:
    return frame_from_table(CandleStore(f"exchange:{venue}", "BTC/USD").read())


def served(exchange: ReplayExchange) -> pd.DataFrame:
    closed = exchange.candles["open_time"] < pd.Timestamp(exchange.now).floor("D")
    return exchange.candles[closed].reset_index(drop=True)


def revisions(venue: str = "bitstamp") -> list[dict]:
    return (
        CandleStore(f"exchange:{venue}", "BTC/USD").read_log(REVISIONS, REVISION_SCHEMA).to_pylist()
    )


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def kill_in_write(exchange: ReplayExchange, n: int) -> None:
    day = str(exchange.now.date() - DAY)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, exchange.url, day, str(n)],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": "."},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_thirty_days_lose_double_and_invent_nothing(exchange, tmp_path):
    """Faults, an outage of two days, a kill in the middle of a write, and revisions."""
    faults = {3: "429", 4: "truncated", 6: "nulls", 8: "shuffled", 9: "502-html", 11: "strings"}
    faults |= {13: "reset", 15: "missing-days", 18: "duplicates", 20: "empty", 22: "before-since"}
    outages = {24: "503-maintenance", 25: "timeout"}
    first = exchange.now
    failed = []
    for n in range(30):
        exchange.now = first + n * DAY
        exchange.outage = outages.get(n, "")
        if n in faults:
            exchange.inject(faults[n])
        if n == 10:
            moved = exchange.candles.iloc[(exchange.now - 2 * DAY - at(START, 0, 0)).days]
            exchange.revise(f"{moved.open_time:%Y-%m-%d}", close=(moved.close + moved.open) / 2)
        if n == 17:
            kill_in_write(exchange, 1)
            pd.testing.assert_frame_equal(stored(), served(exchange)[:-1])
        try:
            collect(exchange)
        except SourceError:
            failed.append(n)
            continue
        pd.testing.assert_frame_equal(stored(), served(exchange))
        before = bytes_of(tmp_path)
        collect(exchange)
        assert bytes_of(tmp_path) == before
    assert failed == [24, 25]
    pd.testing.assert_frame_equal(stored(), served(exchange))
    [revision] = revisions()
    assert revision["column"] == "close" and revision["seen_as_of"] == (first + 9 * DAY).date()


@pytest.mark.slow
@pytest.mark.parametrize("n_files", [1, 2])
def test_a_back_fill_that_is_killed_goes_on_where_it_stopped(exchange, n_files):
    kill_in_write(exchange, n_files)
    done = len(stored())
    assert done == (0 if n_files == 1 else 214)
    exchange.requests.clear()
    assert collect(exchange).n_added == len(served(exchange)) - done
    pd.testing.assert_frame_equal(stored(), served(exchange))


def test_an_interrupted_back_fill_keeps_its_pages(exchange):
    """Coinbase's pages are 300 days: the first stays when the second fails."""
    exchange.now = at("2024-03-01")
    start = dt.date(2022, 6, 1)
    for kind in ("wrong-content-type", "500", "500"):
        exchange.inject(kind)
    with pytest.raises(SourceError, match="HTTP 500"):
        collect(exchange, "coinbaseexchange", start=start)
    assert len(stored("coinbaseexchange")) == 300
    exchange.requests.clear()
    collect(exchange, "coinbaseexchange", start=start)
    assert "start=2022-06-01" not in " ".join(exchange.requests)
    pd.testing.assert_frame_equal(stored("coinbaseexchange"), served(exchange))


def test_two_runs_at_once_store_what_one_would(exchange):
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: collect(exchange), range(3)))
    assert sorted(one.n_added for one in found) == [0, 0, len(served(exchange))]
    pd.testing.assert_frame_equal(stored(), served(exchange))


def test_a_small_revision_is_kept_and_logged(exchange):
    collect(exchange)
    old = float(served(exchange)["volume"].iloc[-1])
    exchange.revise("2023-02-28", volume=old * 1.5)
    [finding] = collect(exchange).findings
    assert (finding.kind, finding.severity, finding.days) == (
        "revision",
        "warning",
        ("2023-02-28",),
    )
    [row] = revisions()
    assert (row["old"], row["new"]) == (old, old * 1.5)
    assert row["relative_change"] == pytest.approx(0.5)
    assert row["seen_as_of"] == dt.date(2023, 2, 28)
    assert collect(exchange).findings == ()
    assert len(revisions()) == 1


def test_a_large_revision_is_refused_until_it_is_allowed(exchange, tmp_path):
    collect(exchange)
    before = bytes_of(tmp_path)
    high = float(served(exchange)["high"].iloc[-2])
    exchange.revise("2023-02-27", high=high * 1.06)
    exchange.now += DAY
    expected = rf"revised the high of 2023-02-27 from {high:.10g} to .* \(\+6.0%\), more than 5.0%"
    with pytest.raises(SourceError, match=expected):
        collect(exchange)
    assert bytes_of(tmp_path) == before
    collect(exchange, max_revision=0.07)
    pd.testing.assert_frame_equal(stored(), served(exchange))
    assert revisions()[0]["column"] == "high"


def test_a_revision_older_than_the_days_fetched_again_is_not_seen(exchange):
    collect(exchange)
    exchange.revise("2023-02-25", volume=1.0)
    assert collect(exchange).findings == ()
    assert len(collect(exchange, refetch_days=4).findings) == 1


def test_a_day_that_comes_late_fills_its_hole(exchange):
    whole = exchange.candles
    late = whole["open_time"] == pd.Timestamp("2023-01-10", tz="UTC")
    exchange.candles = whole[~late]
    assert len(collect(exchange).candles) == len(served(exchange))
    exchange.candles = whole
    exchange.now += 5 * DAY
    collect(exchange)
    pd.testing.assert_frame_equal(stored(), served(exchange))


def test_a_missing_newest_candle_stops_the_run(exchange):
    exchange.candles = exchange.candles[exchange.candles["open_time"] < "2023-02-27"]
    with pytest.raises(SourceError, match=r"no closed BTC/USD candle of 2023-02-28.*2023-02-26"):
        collect(exchange)
    assert len(stored()) == len(exchange.candles)


def test_a_clock_ahead_of_the_exchange_gets_no_open_candle(exchange):
    exchange.now = at("2023-02-28", hour=23, minute=58)
    policy = Ingestion(exchange_url=exchange.url, backoff_s=0)
    with pytest.raises(SourceError, match=r"of 2023-02-28;.*its clock says 2023-02-28 23:58 UTC"):
        collect_candles("exchange:bitstamp", "BTC/USD", dt.date(2023, 2, 28), policy)
    pd.testing.assert_frame_equal(stored(), served(exchange))


def test_a_replayed_day_sees_what_that_day_saw(exchange):
    newest = collect(exchange)
    exchange_now, exchange.now = exchange.now, exchange.now + 10 * DAY
    collect(exchange)
    policy = Ingestion(exchange_url=exchange.url)
    again = collect_candles("exchange:bitstamp", "BTC/USD", exchange_now.date() - DAY, policy)
    assert again.candles.equals(newest.candles)
    pd.testing.assert_frame_equal(stored(), served(exchange))


@pytest.fixture
def other(exchange):
    """A second exchange with the closes of the first, but for two days."""
    with ReplayExchange(exchange.candles, exchange.now) as server:
        for day, factor in {"2023-02-28": 1.05, "2023-01-05": 1.01}.items():
            row = exchange.candles[exchange.candles["open_time"] == pd.Timestamp(day, tz="UTC")]
            close = float(row["close"].iloc[0]) * factor
            server.revise(day, close=close, high=max(close, float(row["high"].iloc[0])))
        yield server


def test_days_on_which_two_sources_differ_are_quarantined(exchange, other):
    cross = {"cross_check": "exchange:kraken", "cross_check_url": other.url}
    whole = served(exchange)
    close = float(whole["close"].iloc[-1])
    with pytest.raises(SourceError) as failure:
        collect(exchange, **cross)
    for part in ("2023-02-28", f"{close:.10g}", f"{close * 1.05:.10g}", "(-4.8%)", "2.0%"):
        assert part in str(failure.value)
    pd.testing.assert_frame_equal(stored(), whole[:-1])
    log = CandleStore("exchange:bitstamp", "BTC/USD").read_log(QUARANTINE, QUARANTINE_SCHEMA)
    assert [row["close"] for row in log.to_pylist()] == [close]

    other.revise("2023-02-28", close=close)
    with pytest.raises(SourceError, match="revised the close"):
        collect(exchange, **cross, max_revision=0.01)
    assert collect(exchange, **cross).n_added == 1
    pd.testing.assert_frame_equal(stored(), whole)


def test_a_difference_may_be_a_warning(exchange, other):
    cross = {"cross_check": "exchange:kraken", "cross_check_url": other.url}
    found = collect(exchange, **cross, on_disagreement="continue", max_difference=0.005)
    [finding] = found.findings
    assert finding.days == ("2023-01-05", "2023-02-28")
    pd.testing.assert_frame_equal(stored(), served(exchange))
    log = CandleStore("exchange:bitstamp", "BTC/USD").read_log(QUARANTINE, QUARANTINE_SCHEMA)
    assert log.num_rows == 0
    since = dt.date(2023, 3, 1)
    assert collect(exchange, **cross, cross_check_since=since).findings == ()


def test_the_second_source_is_shown_no_keys(exchange, other, monkeypatch):
    monkeypatch.setenv("BTC_EXCHANGE_KEY", "key-of-bitstamp")
    shown = {}
    make = ExchangeClient.__init__

    def spy(self, source, symbol, policy, keys=None):
        shown[source] = keys
        make(self, source, symbol, policy, keys)

    monkeypatch.setattr(ExchangeClient, "__init__", spy)
    collect(exchange, cross_check="exchange:kraken", max_difference=0.1)
    assert shown == {"exchange:bitstamp": {"apiKey": "key-of-bitstamp"}, "exchange:kraken": {}}


def test_a_silent_second_source_stops_or_warns(exchange, other):
    cross = {"cross_check": "exchange:kraken", "cross_check_url": other.url}
    other.outage = "503-maintenance"
    with pytest.raises(SourceError, match=r"^not cross-checked: exchange:kraken.*on_disagreement"):
        collect(exchange, **cross)
    [finding] = collect(exchange, **cross, on_disagreement="continue").findings
    assert finding.kind == "cross_check" and "HTTP 503" in finding.message
    pd.testing.assert_frame_equal(stored(), served(exchange))
