"""`btc doctor` on databases in PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tasks.registry.connection import connect
from tasks.service.doctor import examine
from tasks.storage.database import check_database
from tests.servers import free_port
from tests.tasks.service.test_doctor import what


@pytest.mark.parametrize(
    ("variable", "make", "table"),
    [
        ("BTC_DATABASE_URL", check_database, "alarms"),
        ("MLFLOW_TRACKING_URI", lambda: connect().search_experiments(), "model_version_tags"),
    ],
)
def test_doctor_finds_what_is_wrong_with_a_database_in_postgresql(
    variable: str,
    make: Callable[[], object],
    table: str,
    postgres_url: str,
    own_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own_home.mkdir(mode=0o700)
    name = f"doctor_{os.urandom(6).hex()}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = postgres_url.rpartition("/")[0] + f"/{name}"
    monkeypatch.setenv(variable, url)

    def told() -> list[str]:
        return [line for line in what(examine()) if line.startswith(f"the database of {variable}")]

    assert told() == []
    make()
    assert told() == []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE {table} CASCADE")
        [half] = told()
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        [newer] = told()
    assert f"is half-made (it lacks {table})" in half
    assert "was made by a newer release (schema ffffffffffff" in newer
    monkeypatch.setenv(variable, f"postgresql://btc:hunter2@127.0.0.1:{free_port()}/{name}")
    [gone] = told()
    assert "cannot be used (" in gone and "hunter2" not in gone
