"""The real ccxt client over HTTP, against the replay exchange."""

from __future__ import annotations

import datetime as dt
import json

import pandas as pd
import pyarrow as pa
import pytest
from prefect.blocks.system import Secret

from models.config.data import Ingestion
from models.data.store_table import frame_from_table, merge_candles
from models.errors import InputError, SourceError
from tasks.sources.auto import resolve_auto
from tasks.sources.exchange import ExchangeClient, read_keys
from tests.replay.exchange import ReplayExchange
from tests.replay.faults import KINDS, ROW_FAULTS
from tests.replay.market import SHARED, at, made_candles, real_candles, table_of

VENUES = {
    "bitstamp": "BTC/USD",
    "coinbaseexchange": "BTC/USD",
    "kraken": "BTC/USD",
    "binance": "BTC/USDT",
}
FIRST, LAST = dt.date(2021, 1, 1), dt.date(2024, 3, 9)
N_DAYS = (LAST - FIRST).days + 1
# Faults that a client can see through at once, or cannot see in one reply alone.
HARMLESS = {"duplicates", "shuffled", "wrong-content-type"}
THINNING = {"empty", "missing-days"}


@pytest.fixture(scope="module")
def candles() -> pd.DataFrame:
    return made_candles(str(FIRST), N_DAYS + 3)


@pytest.fixture
def exchange(candles):
    with ReplayExchange(candles, at("2024-03-10")) as replay:
        yield replay


def client(exchange: ReplayExchange, venue: str, **changes) -> ExchangeClient:
    settings = {"backoff_s": 0, "timeout_s": 0.4, "attempts": 3, "exchange_url": exchange.url}
    made = ExchangeClient(f"exchange:{venue}", VENUES[venue], Ingestion(**settings | changes))
    made._ccxt.rateLimit = 1  # the replay exchange need not be spared
    return made


def fetch(source: ExchangeClient, first: dt.date = FIRST, last: dt.date = LAST) -> pd.DataFrame:
    table = pa.table({})
    for page in source.fetch_pages(first, last):
        table = merge_candles(table, page) if table.num_columns else page
    return frame_from_table(table) if table.num_columns else pd.DataFrame({"open_time": []})


def truth(candles: pd.DataFrame, first: dt.date = FIRST, last: dt.date = LAST) -> pd.DataFrame:
    days = candles["open_time"].dt.date
    return candles[(days >= first) & (days <= last)].reset_index(drop=True)


@pytest.mark.parametrize("venue", VENUES)
def test_a_whole_history_comes_back_exactly(exchange, candles, venue):
    kept = FIRST if venue != "kraken" else LAST - dt.timedelta(days=718)
    found = fetch(client(exchange, venue), dt.date(2019, 1, 1))
    pd.testing.assert_frame_equal(found, truth(candles, kept))


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("as_of", ["2024-03-10", "2024-03-11"])
def test_the_open_candle_never_gets_in(exchange, candles, venue, as_of):
    exchange.now = at("2024-03-10", hour=23, minute=59)
    found = fetch(client(exchange, venue), dt.date(2024, 3, 1), dt.date.fromisoformat(as_of))
    pd.testing.assert_frame_equal(found, truth(candles, dt.date(2024, 3, 1)))


@pytest.mark.parametrize("venue", VENUES)
def test_days_after_the_last_asked_are_left_out(exchange, candles, venue):
    first, last = dt.date(2024, 2, 1), dt.date(2024, 2, 20)
    pd.testing.assert_frame_equal(
        fetch(client(exchange, venue), first, last), truth(candles, first, last)
    )


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_passing_fault_costs_no_candle(exchange, candles, venue, kind):
    first = dt.date(2024, 2, 1)
    exchange.inject(kind)
    pd.testing.assert_frame_equal(fetch(client(exchange, venue), first), truth(candles, first))
    assert not exchange.faults


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("kind", sorted({*KINDS} - HARMLESS - THINNING - {"before-since"}))
def test_a_lasting_fault_is_told_in_one_line(exchange, venue, kind):
    source = client(exchange, venue, attempts=2, timeout_s=0.2)
    fetch(source, LAST)  # the markets are known
    exchange.inject(kind, times=2)
    with pytest.raises(SourceError, match=f"^exchange:{venue} BTC/USDT? from") as failure:
        fetch(source, dt.date(2024, 2, 1))
    assert "\n" not in str(failure.value) and len(str(failure.value)) < 300


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("kind", sorted(HARMLESS | THINNING))
def test_a_lasting_fault_that_cannot_be_seen_invents_nothing(exchange, candles, venue, kind):
    exchange.inject(kind, times=20)
    first = dt.date(2024, 2, 1)
    found, whole = fetch(client(exchange, venue), first), truth(candles, first)
    if kind in HARMLESS:
        pd.testing.assert_frame_equal(found, whole)
    else:
        assert found.merge(whole).shape[0] == len(found) < len(whole)


@pytest.mark.parametrize("kind", ["truncated", "html-200", "502-html", "timeout", "null"])
def test_faults_of_the_list_of_markets_are_tried_again(exchange, candles, kind):
    source = client(exchange, "bitstamp")
    replies = iter([kind])
    exchange.outage = kind
    original = source._ccxt.load_markets

    def heal_after_one(*arguments):
        try:
            return original(*arguments)
        finally:
            next(replies, None)
            exchange.outage = ""

    source._ccxt.load_markets = heal_after_one
    first = dt.date(2024, 3, 1)
    pd.testing.assert_frame_equal(fetch(source, first), truth(candles, first))


def test_a_first_page_lost_for_a_while_is_found_at_the_end(exchange, candles):
    exchange.inject("empty", times=2)
    found = fetch(client(exchange, "bitstamp"))
    pd.testing.assert_frame_equal(found, truth(candles))


def test_the_exchange_is_asked_no_more_than_needed(exchange):
    source = client(exchange, "bitstamp")
    fetch(source, LAST - dt.timedelta(days=3))
    assert len(exchange.requests) == 2
    assert exchange.requests[1].endswith("limit=5")


def test_wrong_names_are_the_users_to_mend(exchange, monkeypatch):
    with pytest.raises(InputError, match=r"unknown exchange 'bitstam'.*did you mean 'bitstamp'"):
        ExchangeClient("exchange:bitstam", "BTC/USD", Ingestion())
    with pytest.raises(InputError, match="exchange address 'localhost:80': expected http"):
        ExchangeClient("exchange:kraken", "BTC/USD", Ingestion(exchange_url="localhost:80"))
    for address in ("http://me:my@host", "http://host?key=mine", "http://host/x#mine"):
        monkeypatch.setenv("BTC_EXCHANGE_URL", address)
        with pytest.raises(InputError, match="leave them out"):
            ExchangeClient("exchange:kraken", "BTC/USD", Ingestion())
    wrong = ExchangeClient("exchange:kraken", "BTC/USDC", Ingestion(exchange_url=exchange.url))
    with pytest.raises(InputError, match="exchange:kraken has no BTC/USDC; did you mean 'BTC/USD'"):
        fetch(wrong)


def test_the_address_may_come_from_the_environment(exchange, candles, monkeypatch):
    monkeypatch.setenv("BTC_EXCHANGE_URL", exchange.url + "/")
    assert len(fetch(client(exchange, "kraken", exchange_url=""), LAST)) == 1


def test_keys_come_from_the_environment_and_are_never_told(exchange, monkeypatch):
    monkeypatch.setenv("BTC_EXCHANGE_KEY", "key-of-a-user")
    monkeypatch.setenv("BTC_EXCHANGE_SECRET", "secret-of-a-user")
    keys = read_keys("")
    assert keys == {"apiKey": "key-of-a-user", "secret": "secret-of-a-user"}
    source = ExchangeClient("exchange:kraken", "BTC/USD", Ingestion(), keys)
    line = source._one_line(ValueError("rejected key-of-a-user: secret-of-a-user\nbye"))
    assert line == "ValueError: rejected ***: *** bye"
    monkeypatch.delenv("BTC_EXCHANGE_KEY")
    monkeypatch.delenv("BTC_EXCHANGE_SECRET")
    assert read_keys("") == {}


@pytest.mark.parametrize(
    "value", ['{"apiKey": "k", "secret": "s"}', {"apiKey": "k", "secret": "s"}]
)
def test_keys_may_lie_in_a_secret_block(monkeypatch, value):
    monkeypatch.setattr("prefect.blocks.system.Secret.load", lambda name: Secret(value=value))
    assert read_keys("exchange-key") == {"apiKey": "k", "secret": "s"}


def test_a_secret_block_that_is_no_use_is_named_and_not_shown(monkeypatch):
    monkeypatch.setattr("prefect.blocks.system.Secret.load", lambda name: Secret(value="hush"))
    with pytest.raises(InputError, match="'exchange-key': expected JSON") as error:
        read_keys("exchange-key")
    assert "hush" not in str(error.value)

    def absent(name):
        raise ValueError(f"Unable to find block document named {name}")

    monkeypatch.setattr("prefect.blocks.system.Secret.load", absent)
    with pytest.raises(InputError, match="no Prefect Secret block 'exchange-key'"):
        read_keys("exchange-key")


def test_auto_takes_the_exchange_when_it_answers_and_the_sample_when_not(exchange):
    policy = Ingestion(exchange_url=exchange.url)
    assert resolve_auto("csv:x", "BTC/USD", policy, LAST) == ("csv:x", "")
    source, line = resolve_auto("auto", "BTC/USD", policy, LAST)
    assert (source, line) == ("exchange:bitstamp", "Source: exchange:bitstamp (auto: it answered)")
    exchange.outage = "503-maintenance"
    source, line = resolve_auto("auto", "BTC/USD", policy, LAST)
    assert source == "sample" and "SYNTHETIC" in line and "HTTP 503" in line and "\n" not in line


def test_auto_waits_no_longer_than_it_says(exchange, monkeypatch):
    monkeypatch.setattr("tasks.sources.auto.PROBE_S", 0.3)
    exchange.outage = "timeout"
    start = dt.datetime.now(dt.UTC)
    source, _ = resolve_auto("auto", "BTC/USD", Ingestion(exchange_url=exchange.url), LAST)
    assert source == "sample"
    assert (dt.datetime.now(dt.UTC) - start).total_seconds() < 2


@pytest.mark.parametrize("name", ["bitstamp_ohlc_1h_2026-09-27", "kraken_ohlc_1d_2023-04-17"])
def test_replay_replies_have_the_shape_of_recorded_ones(name):
    path = SHARED / "fixtures" / f"{name}.json"
    if not path.exists():
        pytest.skip("no recorded replies in ../shared/fixtures")
    recorded = json.loads(path.read_text())
    from tests.replay.venues import bitstamp, kraken, served

    rows = served(made_candles("2023-04-08", 10), at("2023-04-17"))
    if name.startswith("bitstamp"):
        ours = bitstamp(rows, "/api/v2/ohlc/btcusd/", {"step": "86400", "limit": "2"})
        assert _shape(ours) == _shape(recorded)
    else:
        ours = kraken(rows, "/0/public/OHLC", {"pair": "XBTUSD", "interval": "1440"})
        assert _shape(ours) == _shape(recorded)
        theirs = recorded["result"]
        assert theirs["last"] == theirs["XXBTZUSD"][-2][0]
        assert ours["result"]["last"] == ours["result"]["XXBTZUSD"][-2][0]


def _shape(value):
    """Keys and types, of lists that of every item once."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(_shape(item)) for item in value})
    return type(value).__name__


@pytest.mark.parametrize(
    ("venue", "name"),
    [("bitstamp", "btc_usd_bitstamp_daily.csv"), ("binance", "btc_usdt_binance_daily.csv")],
)
def test_the_real_history_comes_back_exactly(venue, name):
    history = real_candles(name)
    with ReplayExchange(history, at("2025-01-01")) as replay:
        found = fetch(client(replay, venue), dt.date(2011, 1, 1), dt.date(2024, 12, 31))
    pd.testing.assert_frame_equal(found, history)
    assert table_of(history, "BTC/USD").num_rows == len(found)


def test_every_fault_of_rows_is_known_to_the_server():
    assert set(ROW_FAULTS) < set(KINDS)
