"""MLflow's database is looked at before any work, and mended where its folder has moved."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import mlflow
import pytest
from sqlalchemy import create_engine, text

from models.errors import InputError
from tasks.registry.connection import check_tracking, connect, find_experiment
from tasks.registry.store import check_store
from tasks.service.backup import back_up, restore


def log_run(folder: Path, name: str = "btc-usd") -> tuple[str, Path]:
    """One run with an artifact and a registered version; its id, and where the artifact is."""
    check_tracking()
    client = connect()
    run = client.create_run(find_experiment(client, name))
    client.log_text(run.info.run_id, "prices", "note.txt")
    if not client.search_registered_models():
        client.create_registered_model(name)
    client.create_model_version(name, f"{run.info.artifact_uri}/note.txt", run.info.run_id)
    [path] = folder.rglob(f"{run.info.run_id}/artifacts/note.txt")
    return run.info.run_id, path


@pytest.mark.parametrize("name", ["state", "with space", "a#b", "50%25 ä ö", "c'd"])
def test_a_home_may_be_moved_copied_and_linked(tmp_path, monkeypatch, name) -> None:
    first = tmp_path / "first" / name
    monkeypatch.setenv("BTC_HOME", str(first))
    first.mkdir(parents=True)
    run, _ = log_run(first)
    second, third, link = (tmp_path / word / name for word in ("second", "third", "link"))
    second.parent.mkdir()
    shutil.move(first, second)
    for home in (second, third, link):
        if home == third:
            shutil.copytree(second, third)
        elif home == link:
            link.parent.mkdir()
            link.symlink_to(third)
        monkeypatch.setenv("BTC_HOME", str(home))
        monkeypatch.delenv("MLFLOW_TRACKING_URI")  # MLflow left it for its own children
        check_tracking()
        client = connect()
        found = mlflow.artifacts.download_artifacts(f"runs:/{run}/note.txt")
        assert Path(found).read_text() == "prices"
        [version] = [v for v in client.search_model_versions() if v.run_id == run]
        source = Path(mlflow.artifacts.download_artifacts(version.source))
        assert source.read_text() == "prices" and source.resolve().is_relative_to(home.resolve())
        _, path = log_run(home)
        assert path.is_relative_to(home)
    assert not first.exists()
    # The copy took nothing from, and wrote nothing into, what it was copied from.
    assert len(list(second.rglob("note.txt"))) == 2
    assert len(list(third.rglob("note.txt"))) == 4


def test_a_backup_is_read_where_it_is_restored(tmp_path, monkeypatch) -> None:
    """MLflow writes the paths of some folders in percent signs."""
    first, second = tmp_path / "of bob", tmp_path / "50% ö"
    monkeypatch.setenv("BTC_HOME", str(first))
    first.mkdir()
    run, _ = log_run(first)
    back_up(tmp_path / "all.tar.gz")
    monkeypatch.setenv("BTC_HOME", str(second))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    restore(tmp_path / "all.tar.gz")
    shutil.rmtree(first)
    connect()
    found = mlflow.artifacts.download_artifacts(f"runs:/{run}/note.txt")
    assert Path(found).read_text() == "prices"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file:mlruns", "cannot keep runs at file:mlruns; expected http"),
        ("./mlruns", "cannot keep runs at ./mlruns"),
        ("databricks", "cannot keep runs at databricks"),
        ("nothing://x", "cannot keep runs at nothing://x"),
        ("postgresql://me:secret@127.0.0.1:9/x", "cannot be used"),
        ("mysql+nothing://h/x", "cannot be used"),
    ],
)
def test_an_address_where_mlflow_keeps_nothing_is_one_line(monkeypatch, uri, message) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InputError) as error:
        check_tracking()
    text = str(error.value)
    assert message in text and "\n" not in text and "secret" not in text and len(text) < 500


def test_a_database_that_is_none_or_newer_is_one_line(own_home) -> None:
    own_home.mkdir()
    path = own_home / "mlflow.db"
    path.write_text("junk" * 500)
    with pytest.raises(InputError, match=r"mlflow.db cannot be used .*not a database"):
        check_tracking()
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('ffffffffffff')")
    with pytest.raises(InputError, match="made by a newer MLflow"):
        check_tracking()
    path.unlink()
    log_run(own_home)
    check_tracking()


def test_a_deleted_experiment_says_how_to_bring_it_back(own_home) -> None:
    own_home.mkdir()
    log_run(own_home)
    client = connect()
    experiment = find_experiment(client, "btc-usd")
    client.delete_experiment(experiment)
    with pytest.raises(InputError, match=f"restore --experiment-id {experiment}"):
        find_experiment(client, "btc-usd")


def test_addresses_in_a_shared_database_are_nobody_s_to_change(tmp_path, monkeypatch):
    """Two homes may keep their runs in one database; each has its own artifacts."""
    home = tmp_path / "B"
    (home / "mlartifacts").mkdir(parents=True)
    monkeypatch.setenv("BTC_HOME", str(home))
    uri = f"sqlite:///{tmp_path / 'shared.db'}"
    engine = create_engine(uri)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE experiments (artifact_location TEXT)"))
        row = "INSERT INTO experiments VALUES ('file:///srv/A/mlartifacts/7')"
        connection.execute(text(row))
    check_store(uri, uri)
    with engine.begin() as connection:
        found = connection.execute(text("SELECT artifact_location FROM experiments")).scalar()
    assert found == "file:///srv/A/mlartifacts/7"
