"""Turns: the same day ends at once, a later day waits; a lock ends with its process."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import ClassVar

import pytest

from models.errors import LedgerError
from tasks import turns
from tasks.service.life import is_alive, living
from tasks.storage.lock import hold

DAY = dt.date(2026, 5, 10)
NOT_AT_ALL = dt.timedelta(0)


class Log:
    lines: ClassVar[list[str]] = []

    def info(self, line: str, extra: dict[str, str]) -> None:
        assert extra["stage"]  # the command line shows it
        self.lines.append(line)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(turns, "get_run_logger", Log)
    Log.lines.clear()


def test_the_same_day_and_an_earlier_one_end_at_once(own_home: Path, database: str) -> None:
    with turns.take_turn("BTC/USD", DAY) as mine:
        assert mine == NOT_AT_ALL
        for day in (DAY, DAY - dt.timedelta(days=1)):
            with turns.take_turn("BTC/USD", day) as second:
                assert second is None
        with turns.take_turn("ETH/USD", DAY) as other:
            assert other == NOT_AT_ALL
    with turns.take_turn("BTC/USD", DAY) as mine:
        assert mine == NOT_AT_ALL


def start(got: list[object], day: dt.date, *, trains: bool = True) -> threading.Thread:
    """A run in a thread, which adds how long it waited for its turn, or its error, to `got`."""

    def run() -> None:
        try:
            with turns.take_turn("BTC/USD", day, trains=trains) as waited:
                got.append(waited)
        except LedgerError as error:
            got.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def check_waited(thread: threading.Thread, got: list[object]) -> None:
    """That the run of `start` had its turn after half a second at least."""
    thread.join(30)
    [waited] = got
    assert isinstance(waited, dt.timedelta) and waited >= dt.timedelta(seconds=0.5)


def test_a_later_day_waits_its_turn(own_home: Path, database: str) -> None:
    got: list[object] = []
    with turns.take_turn("BTC/USD", DAY):
        later = start(got, DAY + dt.timedelta(days=1))
        time.sleep(0.6)
        assert got == []
    check_waited(later, got)


def test_a_forecast_waits_for_the_retrain_of_its_day(own_home: Path, database: str) -> None:
    got: list[object] = []
    with turns.take_turn("BTC/USD", DAY) as mine:
        assert mine == NOT_AT_ALL
        forecast = start(got, DAY, trains=False)
        time.sleep(0.6)
        assert got == []
        with turns.take_turn("BTC/USD", DAY - dt.timedelta(days=1), trains=False) as other:
            assert other is None  # a later day is at work
    check_waited(forecast, got)
    assert [line.split(" s  ")[1] for line in Log.lines] == [f"waits for the retrain of {DAY}"]


@pytest.mark.parametrize(("failures", "ends"), [(3, True), (1000, False)])
def test_a_database_that_is_away_while_a_run_waits_only_delays_it(
    failures: int, ends: bool, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back, or stays away."""
    left = [failures]
    real = turns.day_at_work

    def look(name: str) -> dt.date | None:
        if Log.lines and left[0]:  # from when the run waits
            left[0] -= 1
            raise LedgerError("PostgreSQL is away")
        return real(name)

    monkeypatch.setattr(turns, "day_at_work", look)
    got: list[object] = []
    with turns.take_turn("BTC/USD", DAY):
        later = start(got, DAY + dt.timedelta(days=1))
        deadline = time.monotonic() + 30
        while left[0] and not got and time.monotonic() < deadline:
            time.sleep(0.01)
    later.join(30)
    assert [type(one) for one in got] == [dt.timedelta if ends else LedgerError]


def test_a_retrain_waits_for_the_forecast_of_its_day(own_home: Path, database: str) -> None:
    got: list[object] = []
    with turns.take_turn("BTC/USD", DAY, trains=False) as mine:
        assert mine == NOT_AT_ALL
        retrain = start(got, DAY)
        time.sleep(0.6)
        assert got == []
    check_waited(retrain, got)


def test_a_run_waits_for_what_is_no_run_such_as_a_backup(own_home: Path, database: str) -> None:
    got: list[object] = []
    with hold("btc-usd"):
        run = start(got, DAY)
        time.sleep(0.6)
        assert got == []
    check_waited(run, got)


def _live(run_id: str, flag: str) -> None:
    with living(run_id):
        Path(flag).touch()
        time.sleep(60)


def test_a_run_is_alive_until_its_process_is_killed(
    own_home: Path, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_alive("a")
    flag = tmp_path / "flag"
    process = multiprocessing.get_context("spawn").Process(target=_live, args=("a", str(flag)))
    process.start()
    while not flag.exists():
        time.sleep(0.05)
    assert is_alive("a")
    if database == "postgresql":  # another machine, which has no file of that run
        monkeypatch.setenv("BTC_HOME", str(tmp_path / "elsewhere"))
        assert is_alive("a")
    os.kill(int(process.pid or 0), signal.SIGKILL)
    process.join()
    assert not is_alive("a")
