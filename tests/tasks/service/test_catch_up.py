"""Days that the worker missed: one training for the newest, forecasts for the others."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from models.decisions.alarms import SKIPPED
from tasks.storage.ledger import read_ledger
from tests.replay.exchange import ReplayExchange
from tests.replay.market import made_candles
from tests.servers import prefect_server
from tests.service import btc_up, schedule
from tests.simulation.days import NAME, RECIPE

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(1200)]
N_MISSED = 5


def test_after_five_days_off_the_newest_day_trains_and_the_others_are_caught_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dt.datetime.now(dt.UTC)
    today = dt.datetime.combine(now.date(), dt.time(), tzinfo=dt.UTC)
    candles = made_candles((today - dt.timedelta(days=700)).date().isoformat(), 705)
    home = tmp_path / "home"
    monkeypatch.setenv("BTC_HOME", str(home))
    with ReplayExchange(candles, now) as exchange:
        config: dict[str, Any] = {
            "source": "exchange:bitstamp",
            "ingestion": {"exchange_url": exchange.url},
            "recipe": RECIPE | {"training": {"kind": "windows", "epochs": 1}},
        }
        first_day = now - dt.timedelta(days=N_MISSED)
        first = config | {"as_of": (first_day.date() - dt.timedelta(days=1)).isoformat()}
        with btc_up(home) as up:
            up.wait_for(up.schedule("retrain/daily-retrain", first, first_day), "COMPLETED")
        # No worker is there while the days pass for which the deployment plans its runs.
        with prefect_server(home / "prefect") as api:
            late = [
                schedule(api, "retrain/daily-retrain", config, now - dt.timedelta(days=back))
                for back in reversed(range(N_MISSED))
            ]
        with btc_up(home) as up:
            for run_id in late:
                up.wait_for(run_id, "COMPLETED", 600)
            ends = [up.ask(f"/flow_runs/{run_id}")["state"]["name"] for run_id in late]
    assert ends == [SKIPPED] * (N_MISSED - 1) + ["Completed"]

    uri = f"sqlite:///{home / 'mlflow.db'}"
    versions = MlflowClient(uri, uri).search_model_versions(f"name = '{NAME}'")
    days = sorted(version.tags["as_of"] for version in versions)
    yesterday = now.date() - dt.timedelta(days=1)
    assert days == [str(first["as_of"]), yesterday.isoformat()]
    ledger = read_ledger(NAME).drop_duplicates("as_of").set_index("as_of")
    assert ledger.loc[yesterday, "kind"] == "live"
    missed = [yesterday - dt.timedelta(days=back) for back in range(1, N_MISSED)]
    assert set(ledger.loc[missed, "kind"]) == {"catch-up"}
