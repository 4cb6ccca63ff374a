"""The champion over some days: forecasts, catch-up, moves by hand, and what can go wrong.

The tests tell one story, in the order of the file, on one state folder.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from flows.cli import app
from flows.forecast import forecast
from flows.retrain import retrain
from models.config import RetrainConfig
from models.errors import InputError
from tasks.ledger import read_ledger
from tasks.lock import hold
from tasks.model_files import digest_model
from tasks.registry import find_champion, find_version, pin_reason, read_history
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
        recipe = more.pop("recipe", RECIPE)
        # One epoch of training differs much from day to day; that is not what is tested here.
        promotion = {"refresh_margin": 0.5}
        config = RetrainConfig.model_validate(
            {"source": f"csv:{csv}", "recipe": recipe, "promotion": promotion}
        )
        return flow(config, **more)

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
