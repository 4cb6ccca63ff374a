"""One process at a time, on one machine by a file and on many by the database they share."""

from __future__ import annotations

import datetime as dt
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.errors import InputError, LedgerError
from tasks.storage.lock import day_at_work, hold, locked
from tests.servers import REPO

HOLDER = """
import sys, time
from tasks.storage.lock import hold
with hold(sys.argv[1], wait=len(sys.argv) > 2) as mine:
    print(mine, flush=True)
    time.sleep(60 if mine and len(sys.argv) == 2 else 0)
"""


@contextmanager
def another_machine(home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that takes a lock, with a home of its own, and prints whether it got it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, *arguments],
        env=os.environ | {"BTC_HOME": str(home)},
        cwd=REPO,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_one_at_a_time_until_the_holder_is_killed(database: str, tmp_path: Path) -> None:
    shared = database == "postgresql"
    other_home = tmp_path / ("elsewhere" if shared else "home")
    with another_machine(other_home, "btc-usd") as holder:
        assert said(holder) == "True"
        with hold("btc-usd") as mine:
            assert not mine
        with hold("eth-usd") as mine:
            assert mine
        with another_machine(tmp_path / "home", "btc-usd", "wait") as waiting:
            time.sleep(0.3)
            assert waiting.poll() is None
            holder.send_signal(signal.SIGKILL)
            assert said(waiting) == "True"
            waiting.wait(10)
        with hold("btc-usd", wait=True) as mine:
            assert mine


def test_every_machine_that_shares_a_lock_sees_which_day_its_holder_does(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = dt.date(2026, 5, 10)
    with hold("btc-usd", day=day), hold("eth-usd"):
        if database == "postgresql":
            monkeypatch.setenv("BTC_HOME", str(tmp_path / "elsewhere"))
        assert day_at_work("btc-usd") == day
        assert day_at_work("eth-usd") is None
        monkeypatch.setenv("BTC_HOME", str(tmp_path / "home"))
    assert day_at_work("btc-usd") is None


def test_homes_without_a_shared_database_do_not_know_of_each_other(tmp_path: Path) -> None:
    with another_machine(tmp_path / "elsewhere", "btc-usd") as holder:
        assert said(holder) == "True"
        with hold("btc-usd") as mine:
            assert mine


def test_a_lock_that_was_lost_on_the_way_is_told(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    if database != "postgresql":
        pytest.skip("a file lock is not lost")
    import psycopg

    with hold("btc-usd") as mine, psycopg.connect(os.environ["BTC_DATABASE_URL"]) as admin:
        assert mine
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND pid <> pg_backend_pid()"
        )
    assert "another process may have held it" in caplog.text


def test_a_database_that_does_not_answer_is_one_line_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "postgresql://btc:hunter2@127.0.0.1:1/none?password=hunter2"
    monkeypatch.setenv("BTC_DATABASE_URL", url)
    with pytest.raises(LedgerError) as caught, hold("btc-usd"):
        pass
    assert "127.0.0.1:1/none" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_one_line(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    expected = pytest.raises(InputError, match=r"cannot lock .*keep the state on a disk")
    with expected as told, locked(tmp_path / "x.lock"):
        pass
    assert "\n" not in str(told.value)
