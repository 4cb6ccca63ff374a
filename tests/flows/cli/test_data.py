from __future__ import annotations

import datetime as dt
import re

import pandas as pd
import pytest

from flows.cli.app import main
from models.data.candles import digest_candles
from tasks.storage.files import write_text
from tasks.storage.snapshots import list_snapshots
from tests.layouts import write_layout
from tests.replay.exchange import ReplayExchange
from tests.replay.market import at, made_candles


@pytest.fixture
def exchange(monkeypatch):
    with ReplayExchange(made_candles("2022-06-01", 300), at("2023-03-01")) as replay:
        monkeypatch.setenv("BTC_EXCHANGE_URL", replay.url)
        yield replay


@pytest.fixture
def btc(monkeypatch, capsys):
    """Run `btc` in this process: exit status, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["btc", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        shown = capsys.readouterr()
        return int(end.value.code or 0), shown.out, shown.err

    return run


INGEST = ("ingest", "--source", "exchange:bitstamp", "--as-of")


def test_ingest_stores_and_says_what(exchange, btc, own_home):
    status, out, err = btc(*INGEST, "2023-02-28", "--set", "backoff_s=0")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Source: exchange:bitstamp"
    assert lines[1] == "Candles: 273, 2022-06-01 to 2023-02-28, UTC"
    assert lines[2].startswith("Stored: 273 new, ") and str(own_home) in lines[2]
    assert re.fullmatch("SHA-256: [0-9a-f]{64}", lines[3])
    again = btc(*INGEST, "2023-02-28")[1].splitlines()
    assert again[2].startswith("Stored: 0 new") and again[3] == lines[3]


def test_what_is_exported_is_read_again_as_the_same_candles(exchange, btc, tmp_path):
    out = btc(*INGEST, "2023-02-28")[1]
    file = tmp_path / "out.csv"
    assert btc("data", "export", str(file))[0] == 0
    assert file.read_text().splitlines()[0] == "date,open,high,low,close,volume"
    again = btc("ingest", "--source", f"csv:{file}", "--as-of", "2023-02-28")[1]
    assert re.findall("SHA-256.*", out) == re.findall("SHA-256.*", again)
    assert "Stored: nothing" in again


def test_show_and_check_tell_revisions_and_findings(exchange, btc):
    btc(*INGEST, "2023-02-28")
    exchange.revise("2023-02-28", volume=7.0)
    assert "warning: exchange:bitstamp revised 2023-02-28" in btc(*INGEST, "2023-02-28")[1]
    status, out, _ = btc("data", "show", "--last", "2")
    assert status == 0
    assert "273 candles, 2022-06-01 to 2023-02-28, 1 revised values, 0 quarantined" in out
    assert "2023-02-27" in out and "relative_change" in out and "2023-02-26" not in out
    status, out, _ = btc("data", "check")
    assert status == 0 and "stale" in out and "warning" in out


def test_check_names_a_store_that_a_retrain_would_refuse(exchange, btc):
    days = exchange.candles["open_time"].dt.strftime("%Y-%m-%d")
    exchange.candles = exchange.candles[~days.isin(["2022-09-01", "2022-09-05", "2022-10-01"])]
    status, _, err = btc(*INGEST, "2023-02-28")
    assert status == 2 and "3 missing days" in err
    status, out, err = btc("data", "check")
    assert status == 2 and "error" in out
    assert err == "btc: a retrain would refuse exchange:bitstamp BTC/USD\n"


def test_auto_says_first_which_source_it_took(exchange, btc):
    out = btc("ingest", "--source", "auto", "--as-of", "2023-02-28")[1]
    assert out.startswith("Source: exchange:bitstamp (auto: it answered)\n")
    exchange.outage = "503-maintenance"
    out = btc("ingest", "--as-of", "2023-02-28")[1]
    assert out.startswith("Source: sample, SYNTHETIC candles (auto: exchange:bitstamp cannot")


def test_a_file_is_checked_before_anything_is_trained(btc, tmp_path):
    path = tmp_path / "x.csv"
    frame = made_candles("2021-02-20", 50)
    path.write_bytes(write_layout("investing", frame))
    status, out, _ = btc("data", "check", f"csv:{path}")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].startswith("csv:x.csv: Investing.com export, 50 days, newest first")
    assert "close from 'Price', volume from 'Vol.'" in lines[1]
    assert "2021-02-20" in out and "2021-04-10" in out and "stale" in out
    swapped = frame.rename(columns={"open": "close", "close": "open"})
    path.write_bytes(write_layout("yahoo", swapped))
    status, out, err = btc("data", "check", f"csv:{path}")
    assert status == 2 and "swapped" in " ".join(out.split())
    assert err == "btc: a retrain would refuse csv:x.csv\n"
    path.write_text("date,close\n" + "".join(f"0{day}/03/2021,5.5\n" for day in range(1, 9)))
    status, _, err = btc("data", "check", f"csv:{path}")
    assert status == 2 and "--date-order dmy" in err
    assert "2021-03-08" in btc("data", "check", f"csv:{path}", "--date-order", "dmy")[1]
    out = btc("ingest", "--source", f"csv:{path}", "--date-order", "dmy")[1]
    assert "Taken for: file with plain columns, closes only, 8 days, days taken as UTC" in out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("data", "show"), 2, "no candles are stored yet"),
        (("data", "snapshots"), 2, "no snapshots yet"),
        (("data", "export", "x.csv"), 2, "no candles are stored yet"),
        (("ingest", "--source", "exchange:nowhere"), 2, "unknown exchange 'nowhere'"),
        (("ingest", "--as-of", "2999-01-01"), 2, "2999-01-01"),
        (("ingest", "--symbol", "bitcoin"), 2, "symbol"),
        (("ingest", "--set", "max_revison=1"), 2, "did you mean 'max_revision'"),
        ((*INGEST, "2023-03-05"), 1, "no closed BTC/USD candle of 2023-03-05"),
    ],
)
def test_mistakes_and_failures_end_in_one_line(exchange, btc, arguments, status, message):
    ended, _, err = btc(*arguments)
    assert ended == status
    assert err.startswith("btc: ") and message in err and err.count("\n") == 1


def test_a_store_is_chosen_by_name_where_there_are_several(exchange, btc, tmp_path):
    btc(*INGEST, "2023-02-28")
    btc("ingest", "--source", "exchange:kraken", "--as-of", "2023-02-28")
    file = str(tmp_path / "out.csv")
    assert (
        "several stores: exchange:bitstamp BTC/USD, exchange:kraken"
        in btc("data", "export", file)[2]
    )
    assert btc("data", "export", file, "--source", "exchange:kraken")[0] == 0
    assert "no candles of exchange:x; stored:" in btc("data", "show", "--source", "exchange:x")[2]
    status, _, err = btc("data", "export", f"{file}/below", "--source", "exchange:kraken")
    assert status == 2 and err.startswith(f"btc: cannot write {file}/below: ")


def test_snapshots_are_listed_and_checked_again(btc, own_home):
    frame = made_candles("2024-01-01", 5)
    facts = {"sha256": digest_candles(frame), "symbol": "BTC/USD", "source": "csv:x", "n_rows": 5}
    folder = own_home / "snapshots" / facts["sha256"]
    folder.mkdir(parents=True)
    frame.to_parquet(folder / "candles.parquet", index=False)
    text = pd.Series(
        facts | {"synthetic": False, "first_day": "2024-01-01", "as_of": "2024-01-05"}
    ).to_json()
    write_text(text, folder / "manifest.json")
    [(record, fault)] = list_snapshots()
    assert not fault and record.as_of == dt.date(2024, 1, 5)
    assert "whole" in btc("data", "snapshots")[1]
    frame.assign(close=frame["close"] + 0.01).to_parquet(folder / "candles.parquet", index=False)
    assert "DAMAGED" in btc("data", "snapshots")[1]


def test_several_symbols_are_taken_in_one_after_the_other(btc, tmp_path):
    (tmp_path / "ADA.csv").write_text(
        "date,close\n" + "".join(f"2021-03-0{day},0.5\n" for day in range(1, 9))
    )
    source = f"csv:{tmp_path}/{{base}}.csv"
    status, out, err = btc("ingest", "--source", source, "--symbols", "NEW/USD,ADA/USD")
    assert status == 1 and err == "btc: 1 of 2 symbols failed: NEW/USD\n"
    lines = out.splitlines()
    assert lines[0] == "NEW/USD:" and lines[1].startswith("Failed: ") and "NEW.csv" in lines[1]
    assert lines[2] == "ADA/USD:" and "Candles: 8, 2021-03-01 to 2021-03-08, UTC" in out
