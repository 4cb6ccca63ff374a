"""The daily forecast: late days, old candles, silent sources, drift; each test on its own state."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from mlflow import MlflowClient
from prefect.runtime import flow_run

from flows.forecast import forecast
from flows.retrain import retrain
from models.errors import InputError, SourceError
from models.reporting.summaries import Refused
from tasks import turns
from tasks.registry.aliases import read_history
from tasks.registry.versions import find_version
from tasks.service.life import is_alive
from tasks.storage.ledger import read_alarms, read_ledger, record_forecasts
from tasks.storage.lock import day_at_work
from tests.flows.states import DEAD_EXCHANGE, Run, btc, champion, date, poor_rows
from tests.simulation.days import NAME, write_candles

pytestmark = pytest.mark.server


def test_when_no_retrain_came_yesterdays_champion_forecasts_and_says_so(
    run: Run, one_day: Path
) -> None:
    summary = run(forecast, 1, below_usd=20_000.0)
    assert summary["kind"] == "live"
    assert "1 days ago" in summary["notes"][0]
    assert all(0 <= row["p_below"] <= 1 for row in summary["rows"])


@pytest.mark.parametrize(
    ("planned", "has_forecast", "answers"),
    [(True, False, True), (True, True, False), (False, True, True)],
)
def test_a_forecast_during_its_day_s_retrain_waits_and_makes_up_for_one_that_failed(
    planned: bool,
    has_forecast: bool,
    answers: bool,
    run: Run,
    one_day: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.05)
    if planned:
        monkeypatch.setitem(vars(flow_run), "parent_deployment_id", "one")
    if has_forecast:
        run(forecast, 1)
    begun, waits = threading.Event(), threading.Event()

    def retrain_that_fails() -> None:
        with turns.take_turn("BTC/USD", date(1)):
            begun.set()
            assert waits.wait(60)

    def look(*_: object) -> dt.date | None:
        looks.append(day_at_work(NAME))
        if len(looks) == 2:
            waits.set()
        return looks[-1]

    looks: list[dt.date | None] = []
    monkeypatch.setattr(turns, "day_at_work", look)
    retrain = threading.Thread(target=retrain_that_fails)
    retrain.start()
    assert begun.wait(60)
    summary = run(forecast, 1)
    retrain.join()
    assert date(1) in looks
    if answers:
        assert summary["kind"] == "live"
    else:
        assert summary["skipped"].startswith(f"another run of BTC/USD has forecast {date(1)}")


def test_a_wait_past_the_close_of_its_target_makes_no_live_forecast(
    run: Run, one_day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def wait(*_: object, **__: object) -> Iterator[dt.timedelta]:
        yield dt.timedelta(days=1)

    monkeypatch.setattr("flows.forecast.take_turn", wait)
    summary = run(forecast, 1)
    assert summary["kind"] == "catch-up"
    issued = read_ledger(NAME).set_index("as_of").loc[[date(1)], "issued_at"]
    assert (issued.dt.date == date(3)).all()  # the day after that on which it began


def test_missed_days_are_caught_up_and_never_live(run: Run, one_day: Path) -> None:
    summary = run(forecast, 3)
    assert summary["ledger"]["caught_up"] == 2
    ledger = read_ledger(NAME)
    kinds = ledger.groupby("as_of")["kind"].first()
    assert kinds[date(1)] == kinds[date(2)] == "catch-up"
    assert kinds[date(3)] == "live"
    caught = ledger[ledger["as_of"] == date(1)].iloc[0]
    assert caught["note"].startswith("Caught up later.")
    assert run(forecast, 3)["ledger"] == {"new": 0, "scored": 0, "rescored": 0, "caught_up": 0}


def test_old_candles_are_told_and_beyond_a_limit_refused(run: Run, one_day: Path) -> None:
    summary = run(forecast, 2, candles_to=0)
    assert summary["kind"] == "catch-up"
    assert "2 days old" in summary["notes"][0]
    refused = run(forecast, 4, candles_to=0)
    assert "4 days old; at most 3 are allowed" in refused["refused"]
    page = (one_day / "reports" / NAME / f"{date(0)}.html").read_text()
    assert "No forecast: the newest candle of" in page


def test_when_the_source_fails_yesterdays_champion_forecasts_from_what_there_is(
    run: Run, five_days: Path, client: MlflowClient
) -> None:
    current, before = champion(client), read_ledger(NAME)
    with pytest.raises(SourceError, match="bitstamp"):
        run(retrain, 6, **DEAD_EXCHANGE)
    summary = run(forecast, 6, **DEAD_EXCHANGE)
    assert (summary["version"], summary["as_of"]) == (current, date(5).isoformat())
    assert summary["kind"] == "catch-up"
    old, failed, champions_age = summary["notes"]
    assert "No fresh candle" in old and "1 days old" in old
    assert failed.startswith("The source failed: ") and "bitstamp" in failed
    assert f"version {current}, is of {date(1)}, 4 days ago" in champions_age
    # The row that is new is catch-up, and leaves that day's live one as it was.
    assert summary["ledger"]["new"] == 3
    live = read_ledger(NAME).query("kind == 'live'")
    pd.testing.assert_frame_equal(
        live.reset_index(drop=True), before.query("kind == 'live'").reset_index(drop=True)
    )
    again = run(forecast, 6, **DEAD_EXCHANGE)
    assert again["ledger"]["new"] == 0


def test_without_a_snapshot_a_failed_source_is_told(run: Run, empty_state: Path) -> None:
    with pytest.raises(SourceError, match="bitstamp") as caught:
        run(forecast, 6, **DEAD_EXCHANGE)
    assert "\n" not in str(caught.value)


def test_command_writes_the_forecast(one_day: Path) -> None:
    config = ("--source", f"csv:{write_candles(one_day, 1)}", "--as-of", date(1).isoformat())
    files = ("--json", str(one_day / "f.json"), "--csv", str(one_day / "f.csv"))
    output = btc("forecast", *config, *files, "--below", "15000")
    assert "catch-up" in output
    assert f"by {NAME} version 1" in output
    table = pd.read_csv(one_day / "f.csv")
    assert {"target_date", "median", "low_90", "high_95", "p_up", "p_move_5", "p_below"} <= set(
        table.columns
    )
    assert json.loads((one_day / "f.json").read_text())["rows"][0]["step"] == 1


def test_a_retrain_of_an_earlier_day_forecasts_with_its_own_version(
    run: Run, five_days: Path, client: MlflowClient
) -> None:
    assert champion(client) == "2"
    summary = run(retrain, 5, as_of=date(0))
    assert summary["done_before"] and summary["model_version"] == "1"
    forecasted = summary["forecast"]
    assert (forecasted["version"], forecasted["kind"]) == ("1", "catch-up")
    assert not any("Made afterwards" in note for note in forecasted["notes"])
    hindsight = run(forecast, 5, as_of=date(0))
    assert hindsight["version"] == "2"
    assert "Made afterwards" in hindsight["notes"][0]
    page = (five_days / "reports" / NAME / f"{date(0)}.html").read_text()
    assert "In hindsight, by a model that saw later days, " in page


def test_ledger_is_shown_and_exported(five_days: Path) -> None:
    output = btc("ledger")
    assert "days forecast live" in output
    assert "Verdict: Too early to tell" in output
    summary = json.loads(btc("ledger", "--json"))
    assert summary["days_scored"] > 0
    for name in ("ledger.csv", "ledger.parquet"):
        btc("ledger", "export", str(five_days / name))
    both = [pd.read_csv(five_days / "ledger.csv"), pd.read_parquet(five_days / "ledger.parquet")]
    assert len(both[0]) == len(both[1]) == len(read_ledger(NAME))
    with pytest.raises(InputError, match="ends in"):
        btc("ledger", "export", str(five_days / "ledger.txt"))


def test_drift_is_told_everywhere_and_retrains_once_where_asked(
    run: Run, one_day: Path, client: MlflowClient, prefect_api: str
) -> None:
    assert record_forecasts(poor_rows(one_day)) == 120
    summary = run(forecast, 1, watch={"retrain_on_drift": True})
    coverage, crps = summary["alarms"]
    assert "the 90 % band held" in coverage and "times naive's" in crps
    assert summary["new_alarms"] == summary["alarms"]
    assert read_alarms(NAME)["kind"].tolist() == ["coverage", "crps"]
    assert find_version(client, NAME, "1").tags["drift"].startswith(f"{date(1)}: the 90 %")

    made = summary["retrain"]
    assert made["reason"] == f"drift: {coverage}; {crps}"
    assert made["as_of"] == date(1).isoformat()
    assert client.get_run(made["run_id"]).data.tags["reason"] == made["reason"]
    assert read_history(NAME).iloc[-1]["why"].endswith(made["reason"])
    page = Path(made["artifacts"]["report"]).read_text()
    assert "Why this retrain: drift: the 90 % band held" in page
    assert "Alarms: still: the 90 % band held" in page or "Alarms: new: the 90 %" in page
    assert "drift: the 90" in btc("models", "show", made["model_version"])
    assert [coverage, crps] in [
        event["payload"]["new"] for event in wait_for_events(prefect_api, date(1).isoformat())
    ]

    # What stands is told again, but it is not new.
    again = run(forecast, 2, watch={"retrain_on_drift": True})
    assert len(again["alarms"]) == 2
    assert (again["new_alarms"], again["retrain"]) == ([], None)


def wait_for_events(prefect_api: str, as_of: str) -> list[dict[str, Any]]:
    asked = {"filter": {"event": {"name": ["btc.drift"]}, "order": "ASC"}}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answer = requests.post(f"{prefect_api}/events/filter", json=asked, timeout=10).json()
        found = [event for event in answer["events"] if event["payload"]["as_of"] == as_of]
        if found:
            return found
        time.sleep(0.5)
    raise TimeoutError("no btc.drift event within 30 s")


def test_a_forecast_is_alive_until_the_retrain_on_drift_has_ended(
    run: Run, one_day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_forecasts(poor_rows(one_day))
    alive: list[bool] = []

    def look(*_: object) -> Refused:
        alive.append(is_alive(str(flow_run.id)))
        return Refused(refused="only looks")

    monkeypatch.setattr("flows.forecast.retrain_on_drift", look)
    summary = run(forecast, 1, watch={"retrain_on_drift": True})
    assert (summary["retrain"]["refused"], alive) == ("only looks", [True])


def test_drift_retrains_only_where_asked(run: Run, one_day: Path) -> None:
    record_forecasts(poor_rows(one_day))
    summary = run(forecast, 1)
    assert summary["new_alarms"]
    assert summary["retrain"] is None


def test_a_retrain_on_drift_that_fails_leaves_the_forecast(run: Run, one_day: Path) -> None:
    record_forecasts(poor_rows(one_day))
    # The candles are two days old and the exchange does not answer.
    asked: dict[str, Any] = {"watch": {"retrain_on_drift": True}} | DEAD_EXCHANGE
    summary = run(forecast, 2, candles_to=0, **asked)
    assert "bitstamp" in summary["retrain"]["refused"]
    assert len(summary["rows"]) == 3
