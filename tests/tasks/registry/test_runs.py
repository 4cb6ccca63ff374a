"""MLflow runs end in a state that says how the work ended."""

from __future__ import annotations

import datetime as dt
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
from mlflow import MlflowClient

from models.config.flows import RetrainConfig
from models.config.recipe import Recipe
from models.records import SnapshotRecord
from tasks.registry.connection import connect
from tasks.registry.runs import create_run, ended, open_retrain, origin_tags

DAY = dt.date(2026, 8, 21)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "mlflow.db"


@pytest.fixture
def client(store: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    return connect()


def make_snapshot(folder: Path, day: dt.date) -> SnapshotRecord:
    return SnapshotRecord(
        folder=folder,
        sha256=f"{day:%Y%m%d}" * 8,
        symbol="BTC/USD",
        source="csv:x.csv",
        synthetic=False,
        n_rows=400,
        first_day=DAY - dt.timedelta(days=399),
        as_of=day,
    )


@pytest.mark.parametrize(
    ("error", "state"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_ends_as_the_work_does(
    client: MlflowClient, error: type[BaseException] | None, state: str
) -> None:
    run_id = create_run(client, "0", "a run", origin_tags("retrain"))
    assert client.get_run(run_id).info.status == "RUNNING"
    if error is None:
        with ended(run_id):
            pass
    else:
        with pytest.raises(error), ended(run_id):
            raise error
    assert client.get_run(run_id).info.status == state


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_a_run_that_was_finished_keeps_its_end(
    client: MlflowClient, error: type[BaseException] | None
) -> None:
    """A retrain that was done before makes today's forecast inside its old run."""
    run_id = create_run(client, "0", "a run", {})
    client.set_terminated(run_id, end_time=1_000)
    with pytest.raises(error) if error else nullcontext(), ended(run_id):
        if error:
            raise error
    info = client.get_run(run_id).info
    assert (info.status, info.end_time) == ("FINISHED", 1_000)


@pytest.mark.parametrize("error", [KeyError, OSError, ImportError])
def test_a_user_without_a_name_has_a_number(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """As of `docker run --user 12345`; the error is Python's, by version."""

    def fail() -> str:
        raise error

    monkeypatch.setattr("getpass.getuser", fail)
    assert origin_tags("retrain")["mlflow.user"] == str(os.getuid())


def test_a_killed_retrain_leaves_no_run_open(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RetrainConfig(recipe=Recipe(cell="lstm"), source="csv:x.csv")
    other = make_snapshot(tmp_path, DAY - dt.timedelta(days=1))
    killed, of_another_day = (
        open_retrain(config, snapshot) for snapshot in (make_snapshot(tmp_path, DAY), other)
    )
    # The same retrain again: its own half goes, and that of the other day is closed.
    again = open_retrain(config, make_snapshot(tmp_path, DAY))
    assert client.get_run(killed).info.lifecycle_stage == "deleted"
    assert client.get_run(of_another_day).info.status == "KILLED"
    run = client.get_run(again)
    assert run.info.run_name == "2026-08-21 lstm + regression"
    assert run.data.tags["mlflow.source.name"] == "btc retrain"
    assert len(run.data.tags["mlflow.user"]) > 0 and len(run.data.params) == 16
