"""What fails on the way: changed files, a registry that is down, a locked ledger."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.forecast import forecast
from flows.retrain import retrain
from models.errors import InputError, LedgerError, RegistryError
from tasks import register
from tasks.registry.aliases import find_champion
from tasks.registry.model_files import digest_model
from tasks.registry.versions import find_version
from tasks.storage import database
from tasks.storage.ledger import read_ledger
from tests.flows import states
from tests.flows.states import Run, btc, champion
from tests.simulation.days import NAME

pytestmark = pytest.mark.server


def champion_files(client: MlflowClient) -> Path:
    current = find_champion(client, NAME)
    assert current is not None
    model = client.get_logged_model(str(current.source).removeprefix("models:/"))
    return Path(str(model.artifact_location).removeprefix("file://"))


def test_changed_missing_and_foreign_files_are_told_and_nothing_is_stored(
    run: Run, one_day: Path, client: MlflowClient
) -> None:
    rows, current = len(read_ledger(NAME)), champion(client)
    assert current is not None
    weights = champion_files(client) / "artifacts" / "forecaster" / "weights.npz"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"x")
    with pytest.raises(InputError, match="not those that were registered"):
        run(forecast, 1)
    weights.unlink()
    with pytest.raises(InputError, match="not those that were registered"):
        run(forecast, 1)
    weights.write_bytes(b"not weights")
    digest = digest_model(champion_files(client))
    right = find_version(client, NAME, current).tags["model_sha256"]
    client.set_model_version_tag(NAME, current, "model_sha256", digest)
    with pytest.raises(InputError, match="made by another release"):
        run(forecast, 1)
    weights.write_bytes(whole)
    client.set_model_version_tag(NAME, current, "model_sha256", right)
    files = champion_files(client)
    files.rename(files.with_name("aside"))
    with pytest.raises(InputError, match=r"version \d+: its files cannot be had .*btc rollback"):
        run(forecast, 1)
    files.with_name("aside").rename(files)
    assert len(read_ledger(NAME)) == rows
    assert champion(client) == current
    assert run(forecast, 1)["ledger"]["new"] == 3


def test_registry_that_is_down_is_told(
    run: Run, one_day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for flow in (retrain, forecast):
        with pytest.raises(InputError, match="no MLflow server answers"):
            run(flow, 1)
    with pytest.raises(InputError, match="no MLflow server answers"):
        btc("models")


def test_registry_that_fails_in_the_middle_is_one_line_and_the_day_can_be_finished(
    run: Run, one_day: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    # It answered when the run began.
    monkeypatch.setattr("flows.retrain.check_request", lambda config: None)
    with pytest.raises(RegistryError, match=r"MLflow at http://127.0.0.1:9 failed .* run again"):
        run(retrain, 1)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert champion(client) == "1"
    assert run(retrain, 1)["decision"]["action"] == "refresh"


def test_locked_ledger_stops_the_retrain_before_the_champion_moves(
    run: Run, one_day: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.2)
    holder = sqlite3.connect(one_day / "ledger.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for flow in (retrain, forecast):
        with pytest.raises(LedgerError, match=r"ledger: cannot use .*database is locked"):
            run(flow, 1)
    holder.execute("ROLLBACK")
    holder.close()
    assert champion(client) == "1"
    summary = run(retrain, 1)
    assert summary["forecast"]["ledger"]["new"] == 3
    assert champion(client) == summary["model_version"]


def test_a_clock_that_was_set_back_is_told_and_nothing_is_stored(
    run: Run, one_day: Path, client: MlflowClient
) -> None:
    before = read_ledger(NAME)
    for flow in (retrain, forecast):
        with pytest.raises(InputError, match=r"the clock says .* candle of 2026-10-01: set the"):
            run(flow, -1)
    assert read_ledger(NAME).equals(before)
    assert champion(client) == "1"
    assert list(one_day.glob("work/*")) == []


def test_a_champion_whose_files_somebody_deleted_is_seen_before_training(
    run: Run, one_day: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = champion_files(client)
    files.rename(files.with_name("aside"))
    with monkeypatch.context() as patch:
        patch.setattr("tasks.train.fit_forecaster", None)
        with pytest.raises(InputError, match=r"1, the champion: .* cannot be had .*no other"):
            run(retrain, 1)
    files.with_name("aside").rename(files)
    assert run(retrain, 1)["model_version"] == "2"
    newer = champion_files(client)
    (newer / "artifacts" / "forecaster" / "recipe.json").unlink()
    with pytest.raises(InputError, match=r"not those .*`btc rollback --to 1 --why …` lets") as told:
        run(retrain, 2)
    assert "\n" not in str(told.value)
    btc("rollback", "--to", "1", "--why", "the files of version 2 are gone")
    assert run(retrain, 2)["model_version"] == "3"


def test_what_a_moved_home_remembers_is_where_it_is_now(
    run: Run, one_day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(retrain, 0)
    assert before["done_before"]
    shutil.move(one_day, tmp_path / "moved")
    monkeypatch.setenv("BTC_HOME", str(tmp_path / "moved"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    after = states.run_flow(monkeypatch, tmp_path / "moved", retrain, 0)
    assert after["done_before"] and after["model_version"] == before["model_version"]
    for name in ("report", "plots", "predictions"):
        path = Path(after["artifacts"][name])
        assert path.exists() and path.is_relative_to(tmp_path / "moved")
    assert not one_day.exists()
    # Of an earlier place, and of an earlier release: its pages are drawn again all the same.
    assert "moved" in btc("report")


def test_a_registry_that_fails_once_after_the_scores_were_logged_only_delays_the_run(
    run: Run, one_day: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow gives the model of the second try the metrics of the first."""
    failures = [RegistryError("MLflow failed in the middle of the run")]
    register_version = register._register_version

    def fail_once(*arguments: Any) -> str:
        if failures:
            raise failures.pop()
        return register_version(*arguments)

    monkeypatch.setattr(register, "_register_version", fail_once)
    made = run(retrain, 1)
    assert not failures and made["model_version"] == "2"
    version = find_version(client, NAME, "2")
    [model] = client.search_logged_models(
        [client.get_run(str(version.run_id)).info.experiment_id],
        f"source_run_id = '{version.run_id}'",
    )
    logged = [(metric.key, metric.step) for metric in model.metrics or []]
    assert ("skill_vs_naive_h1", 0) in logged and ("crps_bp", 3) in logged
    assert len(logged) == len(set(logged))
    history = client.get_metric_history(str(version.run_id), "skill_vs_naive_h1")
    assert len(history) == 1
