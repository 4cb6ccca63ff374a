"""A ledger on either database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """An empty database of either kind, which the ledger uses; returns the kind."""
    monkeypatch.setenv("BTC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BTC_DATABASE_URL", raising=False)
    if request.param == "postgresql":
        import psycopg

        url = request.getfixturevalue("postgres_url")
        name = f"test_{os.urandom(6).hex()}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        monkeypatch.setenv("BTC_DATABASE_URL", url.rpartition("/")[0] + f"/{name}")
    return str(request.param)
