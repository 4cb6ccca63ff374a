"""A PostgreSQL server of the test session's own, and a ledger on either database."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a PostgreSQL server, started for the session from the system's packages."""
    found = _find_binaries()
    if found is None:
        message = "PostgreSQL is not installed (initdb, pg_ctl): apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("postgres")
    # The server refuses to run as root.
    prefix: list[str] = []
    if os.geteuid() == 0:
        prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        shutil.chown(folder, "nobody", "nogroup")
        for parent in [folder, *folder.parents][:4]:
            if parent.stat().st_uid == 0 and parent != Path("/tmp"):
                parent.chmod(parent.stat().st_mode | 0o011)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"

    def call(*command: str) -> None:
        done = subprocess.run(
            [*prefix, *command], cwd=folder, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr

    call(f"{found}/initdb", "-D", str(data), "-U", "btc", "--auth=trust", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    call(f"{found}/pg_ctl", "-D", str(data), "-w", "-l", f"{folder}/log", "-o", options, "start")
    try:
        yield f"postgresql://btc@127.0.0.1:{port}/postgres"
    finally:
        call(f"{found}/pg_ctl", "-D", str(data), "-m", "immediate", "stop")


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


def _find_binaries() -> Path | None:
    on_path = shutil.which("initdb")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((path for path in candidates if (path / "pg_ctl").exists()), None)
