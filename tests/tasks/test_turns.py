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

from tasks import turns
from tasks.service.life import is_alive, living
from tasks.storage.lock import hold

DAY = dt.date(2026, 5, 10)


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
        assert mine
        for day in (DAY, DAY - dt.timedelta(days=1)):
            with turns.take_turn("BTC/USD", day) as second:
                assert not second
        with turns.take_turn("ETH/USD", DAY) as other:
            assert other
    with turns.take_turn("BTC/USD", DAY) as mine:
        assert mine


def test_a_later_day_waits_its_turn(own_home: Path, database: str) -> None:
    order: list[str] = []

    def later() -> None:
        with turns.take_turn("BTC/USD", DAY + dt.timedelta(days=1)) as mine:
            order.append(f"later {mine}")

    with turns.take_turn("BTC/USD", DAY):
        thread = threading.Thread(target=later)
        thread.start()
        time.sleep(0.5)
        order.append("first ends")
    thread.join(30)
    assert order == ["first ends", "later True"]


@pytest.mark.parametrize("done", [False, True])
def test_a_forecast_waits_for_the_retrain_of_its_day_and_asks_what_came_of_it(
    done: bool, own_home: Path, database: str
) -> None:
    order: list[str] = []

    def forecast() -> None:
        with turns.take_turn("BTC/USD", DAY, lambda: done) as mine:
            order.append(f"forecast {mine}")

    with turns.take_turn("BTC/USD", DAY):
        thread = threading.Thread(target=forecast)
        thread.start()
        time.sleep(0.5)
        order.append("retrain ends")
        with turns.take_turn("BTC/USD", DAY - dt.timedelta(days=1), lambda: False) as mine:
            assert not mine  # a later day is at work
    thread.join(30)
    assert order == ["retrain ends", f"forecast {not done}"]
    assert [line.split(" s  ")[1] for line in Log.lines] == [f"waits for the retrain of {DAY}"]


def test_a_retrain_waits_for_the_forecast_of_its_day(own_home: Path, database: str) -> None:
    order: list[str] = []

    def retrain() -> None:
        with turns.take_turn("BTC/USD", DAY) as mine:
            order.append(f"retrain {mine}")

    with turns.take_turn("BTC/USD", DAY, lambda: True) as mine:
        assert mine  # it has not waited, so that it is not asked whether it is done
        thread = threading.Thread(target=retrain)
        thread.start()
        time.sleep(0.3)
        order.append("forecast ends")
    thread.join(30)
    assert order == ["forecast ends", "retrain True"]


def test_a_run_waits_for_what_is_no_run_such_as_a_backup(own_home: Path, database: str) -> None:
    order: list[str] = []

    def run() -> None:
        with turns.take_turn("BTC/USD", DAY) as mine:
            order.append(f"run {mine}")

    with hold("btc-usd"):
        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(0.3)
        order.append("backup ends")
    thread.join(30)
    assert order == ["backup ends", "run True"]


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
