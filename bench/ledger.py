"""What a day costs in a ledger that already holds ten years of seven steps a day."""

from __future__ import annotations

import datetime as dt
import json
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from models.config.judging import Promotion
from models.config.recipe import DEFAULT_LEVELS
from models.data.sample import make_sample
from models.decisions.promotion import Challenger, Champion, decide, describe_champion
from models.scoring.ledger import score_forecasts, select_record, summarize_record
from tasks.storage.ledger import read_ledger, record_forecasts, score_due

N_DAYS, HORIZON, FIRST = 3650, 7, 600
LAST_DAY = dt.date(2026, 6, 30)


def run() -> None:
    """Print the seconds of a day's ledger work and decision, and of scoring every row anew."""
    candles = make_sample(LAST_DAY, n_days=FIRST + N_DAYS + HORIZON)
    rows = _make_rows(candles)
    before = os.environ.get("BTC_HOME")
    with tempfile.TemporaryDirectory() as home:
        os.environ["BTC_HOME"] = home
        try:
            _measure(candles, rows)
        finally:
            os.environ.pop("BTC_HOME")
            os.environ.update({"BTC_HOME": before} if before else {})


def _measure(candles: pd.DataFrame, rows: list[dict[str, Any]]) -> None:
    now = dt.datetime(2026, 7, 1, 0, 20, tzinfo=dt.UTC)
    record_forecasts(rows[:-HORIZON])
    score_due("btc-usd", candles, "bench", now)
    day, _ = _seconds(lambda: record_forecasts(rows[-HORIZON:]))
    score, _ = _seconds(lambda: score_due("btc-usd", candles, "bench", now))
    read, ledger = _seconds(lambda: read_ledger("btc-usd", distributions=False))
    judge, _ = _seconds(lambda: _decide(ledger))
    record, _ = _seconds(lambda: summarize_record(ledger))
    total = day + score + read + judge + record
    print(
        f"ledger of {len(ledger):,} rows: a day's forecast {day:.3f} s, scoring what is due "
        f"{score:.3f} s, reading all {read:.3f} s, decision with live record {judge:.3f} s, "
        f"summary {record:.3f} s; together {total:.2f} s"
    )
    whole = read_ledger("btc-usd")
    pure, _ = _seconds(lambda: score_forecasts(whole, candles))
    print(f"scoring {len(ledger):,} rows with naive and EWMA: {pure:.2f} s")


def _decide(ledger: pd.DataFrame) -> Any:
    live = select_record(ledger)
    scores = live.assign(origin=live["as_of"])[["origin", "step", "crps_bp"]]
    facts = Champion(version="1", recipe="a", as_of=LAST_DAY)
    theirs = scores.assign(crps_bp=scores["crps_bp"] * 1.01)
    champion = describe_champion(facts, scores, theirs, scores, scores)
    challenger = Challenger(
        recipe="b",
        as_of=LAST_DAY,
        n_days=180,
        crps_bp=1.0,
        naive_crps_bp=2.0,
        score=0.5,
        inside_90=162,
        finite=True,
        reproducible=True,
    )
    return decide(challenger, champion, Promotion())


def _make_rows(candles: pd.DataFrame) -> list[dict[str, Any]]:
    generator = np.random.default_rng(1)
    days, close = list(candles["open_time"].dt.date), candles["close"].to_numpy()
    issued_at = dt.datetime(2026, 7, 1, tzinfo=dt.UTC)
    levels = json.dumps(DEFAULT_LEVELS)
    return [
        {
            "symbol": "BTC/USD",
            "model": "btc-usd",
            "version": 1,
            "as_of": days[origin],
            "target_date": days[origin + step],
            "step": step,
            "kind": "live",
            "issued_at": issued_at,
            "source": "bench",
            "snapshot_sha256": "0" * 64,
            "close_origin": float(close[origin]),
            "levels": levels,
            "quantiles": json.dumps(np.sort(0.03 * generator.standard_normal(15)).tolist()),
            "note": "",
        }
        for origin in range(FIRST, FIRST + N_DAYS)
        for step in range(1, HORIZON + 1)
    ]


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
