"""A retrain from an exchange, through the real flow: store, report of the checks, tags."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from models.config.data import Ingestion
from tasks.sources.collection import collect_candles
from tests.flows.conftest import QUICK, Run
from tests.replay.exchange import ReplayExchange
from tests.replay.market import at, made_candles

pytestmark = pytest.mark.server


def test_a_retrain_takes_its_candles_from_the_exchange(
    retrain: Callable[..., Run], prefect_api: str, own_home: Path
) -> None:
    candles = made_candles("2021-06-01", 800)
    candles.loc[100, "volume"] = 0.0
    with ReplayExchange(candles, at("2023-03-01")) as exchange:
        policy = Ingestion(exchange_url=exchange.url)
        collect_candles("exchange:bitstamp", "BTC/USD", dt.date(2023, 2, 28), policy)
        exchange.revise("2023-02-28", volume=1.0)
        asked = ("--as-of", "2023-02-28", "--exchange-url", exchange.url)
        run = retrain("--source", "auto", *asked, *QUICK, home=own_home)

    assert "Source: exchange:bitstamp (auto: it answered)" in run.stdout
    assert run.summary["snapshot_rows"] == 638 and not run.summary["synthetic"]
    assert [found["kind"] for found in run.summary["findings"]] == ["revision", "zero_volume"]
    client = MlflowClient(f"sqlite:///{run.home / 'mlflow.db'}")
    assert client.get_run(run.summary["run_id"]).data.params["source"] == "exchange:bitstamp"
    found = [found["message"] for found in run.summary["findings"]]
    assert "revised 2023-02-28" in found[0] and "no volume" in found[1]
    asked_for = {"artifacts": {"key": {"any_": ["validation"]}}, "sort": "CREATED_DESC"}
    artifacts = requests.post(f"{prefect_api}/artifacts/filter", json=asked_for, timeout=10).json()
    reports = [found["data"] for found in artifacts if found["key"] == "validation"]
    assert any("revised 2023-02-28" in report for report in reports)
