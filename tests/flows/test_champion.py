"""The champion over some days: forecasts, catch-up, moves by hand, and what can go wrong.

The tests tell one story, in the order of the file, on one state folder.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from mlflow import MlflowClient
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from flows.cli.app import app
from flows.forecast import forecast
from flows.retrain import retrain
from models.config.flows import RetrainConfig
from models.errors import InputError, RegistryError, SourceError
from models.scoring.ledger import select_record
from tasks import decide as promotion
from tasks.registry.aliases import find_champion, pin_reason, read_history
from tasks.registry.model_files import digest_model
from tasks.registry.versions import find_version
from tasks.storage import database
from tasks.storage.ledger import read_alarms, read_ledger, record_forecasts
from tasks.storage.lock import hold
from tests.simulation.days import FIRST_DAY, NAME, RECIPE, write_candles

pytestmark = pytest.mark.server

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("champion")


@pytest.fixture(autouse=True)
def same_home(
    own_home: Path, state: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("BTC_HOME", str(state))
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield


@pytest.fixture
def run(state: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a flow as on day `day`, with the candles up to it or to `candles_to`."""

    def call(flow: Any, day: int, candles_to: int | None = None, **more: Any) -> dict[str, Any]:
        clock = dt.datetime.combine(date(day + 1), dt.time(0, 20), tzinfo=dt.UTC)
        monkeypatch.setattr(flow_run, "scheduled_start_time", clock, raising=False)
        csv = write_candles(state, day if candles_to is None else candles_to)
        # One epoch of training differs much from day to day; that is not what is tested here.
        policy = {"refresh_margin": 0.5} | more.pop("promotion", {})
        values = {"source": f"csv:{csv}", "recipe": RECIPE, "promotion": policy}
        values |= {key: more.pop(key) for key in set(more) & set(RetrainConfig.model_fields)}
        return flow(RetrainConfig.model_validate(values), **more)

    return call


@pytest.fixture
def client(state: Path) -> MlflowClient:
    uri = f"sqlite:///{state / 'mlflow.db'}"
    return MlflowClient(uri, uri)


def date(number: int) -> dt.date:
    return FIRST_DAY + dt.timedelta(days=number)


def champion(client: MlflowClient) -> str | None:
    found = find_champion(client, NAME)
    return None if found is None else str(found.version)


def btc(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_without_a_champion_there_is_no_forecast(run: Run) -> None:
    with pytest.raises(InputError, match="no champion yet; run `btc retrain`"):
        run(forecast, 0)
    assert "has no version yet" in btc("models")
    with pytest.raises(InputError, match="the ledger has no forecast"):
        btc("ledger")


def test_first_run_that_is_rejected_ends_well_without_a_forecast(
    run: Run, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTC_HOME", str(own_home))
    small = {"preset": "assignment", "units": 2, "dense_units": 2, "epochs": 1, "lookback": 5}
    summary = run(retrain, 0, recipe=small)
    assert summary["decision"]["action"] == "reject"
    assert "no champion yet" in summary["forecast"]["refused"]


def test_first_model_is_promoted_and_forecasts(run: Run, client: MlflowClient) -> None:
    summary = run(retrain, 0)
    assert summary["decision"]["action"] == "promote"
    assert summary["aliases"] == ["challenger", "champion"]
    assert [row["target_date"] for row in summary["forecast"]["rows"]] == [
        date(step).isoformat() for step in (1, 2, 3)
    ]
    run_id = summary["run_id"]
    assert {"decision.json", "decision.md"} <= {f.path for f in client.list_artifacts(run_id)}
    tags = find_version(client, NAME, "1").tags
    assert json.loads(tags["decision"])["action"] == "promote"
    assert json.loads(tags["recipe"])["units"] == RECIPE["units"]
    assert tags["snapshot_sha256"] == summary["snapshot_hash"]
    assert tags["parent"] == "none"


def test_serving_model_saw_the_newest_days_and_its_twin_did_not(
    state: Path, client: MlflowClient
) -> None:
    logged = read_losses(client, find_version(client, NAME, "1").run_id)
    assert logged  # the twin's
    twins = pd.read_parquet(next((state / "twins").iterdir()))
    assert twins["origin"].max() == pd.Timestamp(date(-RECIPE["horizon"]), tz="UTC")  # type: ignore[operator]


def read_losses(client: MlflowClient, run_id: str) -> list[float]:
    return [point.value for point in client.get_metric_history(run_id, "loss")]


def test_same_recipe_on_the_next_day_is_a_refresh(run: Run, client: MlflowClient) -> None:
    summary = run(retrain, 1)
    assert summary["decision"]["action"] == "refresh"
    assert champion(client) == "2"
    assert find_version(client, NAME, "2").tags["parent"] == "1"
    assert summary["forecast"]["ledger"] == {
        "new": 3, "scored": 1, "rescored": 0, "caught_up": 0
    }  # fmt: skip


def test_other_recipe_is_judged_against_the_champions_twin(run: Run, state: Path) -> None:
    before = set((state / "twins").iterdir())
    summary = run(retrain, 1, recipe=RECIPE | {"units": 3, "seed": 11})
    assert summary["decision"]["action"] in ("keep", "reject", "promote")
    # Its own twin alone is new: the champion's on the same candles was there already.
    assert len(set((state / "twins").iterdir()) - before) == 1


def test_reproduction_is_never_promoted(run: Run, client: MlflowClient) -> None:
    small = {"preset": "assignment", "units": 2, "dense_units": 2, "epochs": 1, "lookback": 5}
    before = champion(client)
    summary = run(retrain, 1, recipe=small)
    assert summary["decision"]["action"] == "reject"
    assert summary["aliases"] == []
    assert champion(client) == before
    with pytest.raises(InputError, match="never promoted"):
        btc("promote", summary["model_version"], "--why", "please")


def test_when_no_retrain_came_yesterdays_champion_forecasts_and_says_so(run: Run) -> None:
    summary = run(forecast, 2, below_usd=20_000.0)
    assert summary["kind"] == "live"
    assert "1 days ago" in summary["notes"][0]
    assert all(0 <= row["p_below"] <= 1 for row in summary["rows"])


def test_missed_days_are_caught_up_and_never_live(run: Run) -> None:
    summary = run(forecast, 5)
    assert summary["ledger"]["caught_up"] == 2
    ledger = read_ledger(NAME)
    kinds = ledger.groupby("as_of")["kind"].first()
    assert kinds[date(3)] == kinds[date(4)] == "catch-up"
    assert kinds[date(5)] == "live"
    caught = ledger[ledger["as_of"] == date(3)].iloc[0]
    assert caught["note"].startswith("Caught up later.")
    assert run(forecast, 5)["ledger"] == {"new": 0, "scored": 0, "rescored": 0, "caught_up": 0}


def test_old_candles_are_told_and_beyond_a_limit_refused(run: Run) -> None:
    summary = run(forecast, 7, candles_to=5)
    assert summary["kind"] == "catch-up"
    assert "2 days old" in summary["notes"][0]
    with pytest.raises(InputError, match=r"4 days old; at most 3 are allowed"):
        run(forecast, 9, candles_to=5)


DEAD_EXCHANGE = {
    "source": "exchange:bitstamp",
    "ingestion": {"exchange_url": "http://127.0.0.1:9", "attempts": 1},
}


def test_when_the_source_fails_yesterdays_champion_forecasts_from_what_there_is(
    run: Run, client: MlflowClient
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
    # That day was forecast live and, by the test before, afterwards too.
    assert summary["ledger"]["new"] == 0
    pd.testing.assert_frame_equal(read_ledger(NAME), before)


def test_without_a_snapshot_a_failed_source_is_told(
    run: Run, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTC_HOME", str(own_home))
    with pytest.raises(SourceError, match="bitstamp") as caught:
        run(forecast, 6, **DEAD_EXCHANGE)
    assert "\n" not in str(caught.value)


def test_retrain_on_old_candles_ends_well_and_only_its_forecast_is_refused(
    run: Run, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTC_HOME", str(own_home))
    summary = run(retrain, 9, candles_to=5)
    assert summary["decision"]["action"] == "promote"
    assert summary["forecast"]["refused"].endswith(
        f"is that of {date(5)}, 4 days old; at most 3 are allowed (max_age_days): "
        f"bring the candles up to date, or forecast as of that day (--as-of {date(5)})"
    )
    assert read_ledger(NAME).empty


def test_command_writes_the_forecast(run: Run, state: Path) -> None:
    config = ("--source", f"csv:{write_candles(state, 5)}", "--as-of", date(5).isoformat())
    files = ("--json", str(state / "f.json"), "--csv", str(state / "f.csv"))
    output = btc("forecast", *config, *files, "--below", "15000")
    assert "catch-up" in output
    assert f"by {NAME} version" in output
    table = pd.read_csv(state / "f.csv")
    assert {"target_date", "median", "low_90", "high_95", "p_up", "p_move_5", "p_below"} <= set(
        table.columns
    )
    assert json.loads((state / "f.json").read_text())["rows"][0]["step"] == 1


def test_ledger_is_shown_and_exported(state: Path) -> None:
    output = btc("ledger")
    assert "days forecast live" in output
    assert "Verdict: Too early to tell" in output
    summary = json.loads(btc("ledger", "--json"))
    assert summary["days_scored"] > 0
    for name in ("ledger.csv", "ledger.parquet"):
        btc("ledger", "export", str(state / name))
    both = [pd.read_csv(state / "ledger.csv"), pd.read_parquet(state / "ledger.parquet")]
    assert len(both[0]) == len(both[1]) == len(read_ledger(NAME))
    with pytest.raises(InputError, match="ends in"):
        btc("ledger", "export", str(state / "ledger.txt"))


def test_rollback_moves_back_pins_and_is_recorded(client: MlflowClient) -> None:
    now = champion(client)
    assert "version 1 is champion" in btc("rollback", "--to", "1", "--why", "odd bands")
    assert champion(client) == "1"
    last = read_history(NAME).iloc[-1]
    assert (last["action"], last["why"], last["state"]) == ("rollback", "odd bands", "done")
    assert (str(last["from_version"]), last["to_version"]) == (now, 1)
    assert "odd bands" in pin_reason(NAME)
    with pytest.raises(InputError, match="no champion before this one"):
        btc("rollback", "--why", "further")
    with pytest.raises(InputError, match="no version '99'; known:"):
        btc("rollback", "--to", "99", "--why", "typo")


def test_pinned_champion_stays_through_a_retrain(run: Run, client: MlflowClient) -> None:
    summary = run(retrain, 6)
    assert summary["decision"]["action"] == "keep"
    assert "odd bands" in summary["decision"]["reasons"][0]
    assert champion(client) == "1"
    btc("unpin", "--why", "bands explained")
    assert pin_reason(NAME) == ""
    assert run(retrain, 7)["decision"]["action"] == "refresh"
    assert champion(client) != "1"


def test_rollback_without_a_number_goes_to_the_champion_before(client: MlflowClient) -> None:
    now = champion(client)
    btc("rollback", "--why", "again")
    assert champion(client) == "1"
    btc("promote", str(now), "--why", "no, it was good")
    assert champion(client) == now
    btc("unpin", "--why", "done")


def test_models_are_listed_and_shown(client: MlflowClient) -> None:
    facts = json.loads(btc("models", "--json"))
    by_alias = {alias: fact["version"] for fact in facts for alias in fact["aliases"]}
    assert str(by_alias["champion"]) == champion(client)
    assert "@champion" in btc("models")
    shown = btc("models", "show", "1")
    assert "rollback" in shown
    assert "odd bands" in shown
    assert json.loads(btc("models", "show", "1", "--json"))["history"][0]["action"] == "promote"


def test_second_retrain_at_once_ends_saying_so(run: Run, client: MlflowClient) -> None:
    n_versions = len(client.search_model_versions(f"name = '{NAME}'"))
    with hold(NAME) as mine:
        assert mine
        assert "is at work" in run(retrain, 8)["skipped"]
        assert "is at work" in run(forecast, 8)["skipped"]
        asked = ("--source", "sample", "--as-of", date(8).isoformat())
        assert "another retrain of BTC/USD is at work; this one ends" in btc("retrain", *asked)
        with pytest.raises(InputError, match="is at work"):
            btc("rollback", "--why", "now")
    assert len(client.search_model_versions(f"name = '{NAME}'")) == n_versions


def champion_files(client: MlflowClient) -> Path:
    current = find_champion(client, NAME)
    assert current is not None
    model = client.get_logged_model(str(current.source).removeprefix("models:/"))
    return Path(str(model.artifact_location).removeprefix("file://"))


def test_changed_missing_and_foreign_files_are_told_and_nothing_is_stored(
    run: Run, client: MlflowClient
) -> None:
    rows, current = len(read_ledger(NAME)), champion(client)
    assert current is not None
    weights = champion_files(client) / "artifacts" / "forecaster" / "weights.npz"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"x")
    with pytest.raises(InputError, match="not those that were registered"):
        run(forecast, 8)
    weights.unlink()
    with pytest.raises(InputError, match="not those that were registered"):
        run(forecast, 8)
    weights.write_bytes(b"not weights")
    digest = digest_model(champion_files(client))
    right = find_version(client, NAME, current).tags["model_sha256"]
    client.set_model_version_tag(NAME, current, "model_sha256", digest)
    with pytest.raises(InputError, match="made by another release"):
        run(forecast, 8)
    weights.write_bytes(whole)
    client.set_model_version_tag(NAME, current, "model_sha256", right)
    files = champion_files(client)
    files.rename(files.with_name("aside"))
    with pytest.raises(InputError, match=r"version \d+: its files cannot be had .*btc rollback"):
        run(forecast, 8)
    files.with_name("aside").rename(files)
    assert len(read_ledger(NAME)) == rows
    assert champion(client) == current
    assert run(forecast, 8)["ledger"]["new"] == 3


def test_registry_that_is_down_is_told(
    run: Run, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for flow in (retrain, forecast):
        with pytest.raises(InputError, match="no MLflow server answers"):
            run(flow, 9)
    with pytest.raises(InputError, match="no MLflow server answers"):
        btc("models")


def test_registry_that_fails_in_the_middle_is_one_line_and_the_day_can_be_finished(
    run: Run, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    # It answered when the run began.
    monkeypatch.setattr("flows.retrain.check_request", lambda config: None)
    before = champion(client)
    with pytest.raises(RegistryError, match=r"MLflow at http://127.0.0.1:9 failed .* run again"):
        run(retrain, 9)
    assert champion(client) == before
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert run(retrain, 9)["decision"]["action"] == "refresh"


def test_locked_ledger_stops_the_retrain_before_the_champion_moves(
    run: Run, client: MlflowClient, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    before = champion(client)
    holder = sqlite3.connect(state / "ledger.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for flow in (retrain, forecast):
        with pytest.raises(InputError, match=r"ledger: cannot use .*database is locked"):
            run(flow, 10)
    holder.execute("ROLLBACK")
    holder.close()
    assert champion(client) == before
    summary = run(retrain, 10)
    assert summary["forecast"]["ledger"]["new"] == 3
    assert champion(client) == summary["model_version"]


@pytest.fixture
def poor_record(state: Path) -> int:
    """Forty live days of three steps each, whose bands all lie far above what came.

    Returns how many rows are new.
    """
    levels = [0.025, 0.05, 0.25, 0.5, 0.75, 0.95, 0.975]
    candles = pd.read_csv(state / "candles.csv", index_col="date")
    common = {
        "symbol": "BTC/USD",
        "model": NAME,
        "version": 1,
        "kind": "live",
        "source": f"csv:{state / 'candles.csv'}",
        "snapshot_sha256": "0" * 64,
        "levels": json.dumps(levels),
        "quantiles": json.dumps((0.5 + 0.01 * np.arange(7)).tolist()),
        "note": "",
    }
    rows = [
        common
        | {
            "as_of": date(day),
            "issued_at": dt.datetime.combine(date(day + 1), dt.time(0, 20), tzinfo=dt.UTC),
            "close_origin": float(candles["close"][date(day).isoformat()]),
            "step": step,
            "target_date": date(day + step),
        }
        for day in range(-45, -5)
        for step in (1, 2, 3)
    ]
    return record_forecasts(rows)


def test_drift_is_told_everywhere_and_retrains_once_where_asked(
    run: Run, client: MlflowClient, poor_record: int, prefect_api: str
) -> None:
    assert poor_record == 120
    before = champion(client)
    assert before is not None
    summary = run(forecast, 11, watch={"retrain_on_drift": True})
    coverage, crps = summary["alarms"]
    assert "the 90 % band held" in coverage and "times naive's" in crps
    assert summary["new_alarms"] == summary["alarms"]
    assert read_alarms(NAME)["kind"].tolist() == ["coverage", "crps"]
    assert find_version(client, NAME, before).tags["drift"].startswith(f"{date(11)}: the 90 %")

    made = summary["retrain"]
    assert made["reason"] == f"drift: {coverage}; {crps}"
    assert made["as_of"] == date(11).isoformat()
    assert find_version(client, NAME, made["model_version"]).tags["reason"] == made["reason"]
    assert client.get_run(made["run_id"]).data.params["reason"] == made["reason"]
    assert read_history(NAME).iloc[-1]["why"].endswith(made["reason"])
    page = Path(made["artifacts"]["report"]).read_text()
    assert "<strong>Why this retrain.</strong> drift: the 90 % band held" in page
    assert "<strong>Alarm:</strong> the 90 % band held" in page
    assert "drift: the 90" in btc("models", "show", made["model_version"])

    events = wait_for_events(prefect_api)
    assert events[0]["payload"]["new"] == [coverage, crps]

    # What stands is told again, but it is not new.
    again = run(forecast, 12, watch={"retrain_on_drift": True})
    assert len(again["alarms"]) == 2
    assert (again["new_alarms"], "retrain" in again) == ([], False)


def wait_for_events(prefect_api: str) -> list[dict[str, Any]]:
    asked = {"filter": {"event": {"name": ["btc.drift"]}, "order": "ASC"}}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answer = requests.post(f"{prefect_api}/events/filter", json=asked, timeout=10).json()
        if answer["events"]:
            return list(answer["events"])
        time.sleep(0.5)
    raise TimeoutError("no btc.drift event within 30 s")


def test_drift_retrains_only_where_asked_and_a_failure_leaves_the_forecast(
    run: Run, own_home: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as connection:
        connection.execute(database.alarms.delete())
    asked = {"watch": {"retrain_on_drift": True}}
    assert "retrain" not in run(forecast, 12)
    with database.transaction() as connection:
        connection.execute(database.alarms.delete())
    # The candles are two days old; the exchange still does not answer.
    summary = run(forecast, 14, candles_to=12, **asked, **DEAD_EXCHANGE)
    assert "bitstamp" in summary["retrain"]["refused"]
    assert len(summary["rows"]) == 3


def test_decision_counts_what_the_champion_forecast_live(
    run: Run, poor_record: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[promotion.Champion] = []

    def listen(challenger: Any, champion: Any, *more: Any) -> Any:
        asked.append(champion)
        return decide(challenger, champion, *more)

    decide = promotion.decide
    monkeypatch.setattr(promotion, "decide", listen)
    summary = run(retrain, 12, recipe=RECIPE | {"seed": 5}, promotion={"min_live_days": 10})
    (described,) = asked
    scored = select_record(read_ledger(NAME)).dropna(subset=["crps_bp"])
    predictions = pd.read_parquet(summary["artifacts"]["predictions"])
    judged = set(predictions["origin"].dt.date)
    shared = scored[scored["as_of"].isin(judged)]
    assert described.n_live == shared["as_of"].nunique() >= 40
    by_hand = shared.groupby("as_of")["crps_bp"].mean().mean()
    assert described.live_crps_bp == pytest.approx(by_hand)
    assert described.live_challenger_crps_bp is not None
    assert described.live_challenger_crps_bp < described.live_crps_bp / 5
