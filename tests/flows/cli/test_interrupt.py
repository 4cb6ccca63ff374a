"""Ctrl-C, as a terminal sends it to a whole process group: one line, status 130, no orphan."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.replay.exchange import ReplayExchange
from tests.replay.market import at, made_candles
from tests.servers import BIN, REPO, environment

LINE = "btc: interrupted; what was finished is kept, the same command goes on from there"
STUCK = """
import time
from flows.cli.interrupt import watch_interrupts
watch_interrupts()
print("ready", flush=True)
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        pass
"""
BAR = """
import logging, sys, time
from flows.cli.console import show_stages
from flows.cli.interrupt import end_interrupted, watch_interrupts

def stuck():
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass

watch_interrupts()
log = logging.getLogger("prefect.task_runs")
log.setLevel("INFO")
try:
    with show_stages():
        log.info("trial one", extra={"stage": "trial", "progress": (1, 3)})
        WORK
except KeyboardInterrupt:
    end_interrupted()
"""


def start(command: list[str], folder: Path, **more: str) -> subprocess.Popen[bytes]:
    env = environment(folder, PYTHONPATH=str(REPO), **more)
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )


def wait_for(word: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 200
    while word not in (folder / "log").read_text():
        assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.02)


def members(group: int) -> list[str]:
    """Processes of a group that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def end(process: subprocess.Popen[bytes], n_signals: int = 1) -> float:
    """Seconds from Ctrl-C to the end of the process."""
    began = time.monotonic()
    for _ in range(n_signals):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.2 if n_signals > 1 else 0)
    try:
        assert process.wait(30) == 130
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    took = time.monotonic() - began
    deadline = time.monotonic() + 10
    while members(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert members(process.pid) == []
    return took


@pytest.mark.parametrize(("n_signals", "seconds"), [(1, 5.0), (2, 2.0)])
def test_code_that_will_not_hear_ends_in_time_and_at_once_when_told_twice(
    tmp_path, n_signals, seconds
) -> None:
    process = start([sys.executable, "-c", STUCK], tmp_path)
    wait_for("ready", process, tmp_path)
    assert end(process, n_signals) < seconds
    assert (tmp_path / "log").read_text().splitlines() == ["ready", LINE]


def test_ingest_ends_while_the_exchange_is_silent(tmp_path) -> None:
    with ReplayExchange(made_candles("2022-06-01", 300), at("2023-03-01")) as exchange:
        exchange.outage = "timeout"
        more = ["--exchange-url", exchange.url, "--as-of", "2023-02-28"]
        command = [str(BIN / "btc"), "ingest", "--source", "exchange:bitstamp", *more]
        process = start(command, tmp_path)
        time.sleep(3)
        assert end(process) < 5
    assert (tmp_path / "log").read_text().splitlines() == [LINE]
    assert not list(tmp_path.rglob("candles.parquet"))


@pytest.mark.server
@pytest.mark.parametrize(
    ("word", "command"),
    [
        ("snapshot  ", ["retrain", "--source", "sample", "--as-of", "2025-06-30"]),
        ("window  ", ["retrain", "--source", "sample", "--as-of", "2025-06-30"]),
        ("plan  ", ["backtest", "--source", "sample", "--end", "2025-06-30", "--jobs", "2"]),
        ("study  ", ["tune", "--source", "sample", "--as-of", "2025-06-30"]),
    ],
    ids=["registry", "training", "backtest", "tuning"],
)
def test_flows_end_in_five_seconds_with_one_line(tmp_path, prefect_api, word, command) -> None:
    process = start([str(BIN / "btc"), *command], tmp_path, PREFECT_API_URL=prefect_api)
    wait_for(word, process, tmp_path)
    time.sleep(1)  # into the stage that follows: the registry, training, the folds
    assert end(process) < 5
    lines = (tmp_path / "log").read_text().splitlines()
    stages = [
        "ingest",
        "validate",
        "snapshot",
        "recall",
        "scale",
        "window",
        "train",
        "plan",
        "fold",
        "study",
        "trial",
    ]
    others = [line for line in lines if line.split() and line.split()[0] not in stages]
    assert others == [LINE]
    assert not list((tmp_path / "reports").glob("*"))


@pytest.mark.parametrize("work", ["1 / 0", "time.sleep(60)", "stuck()"])
def test_a_bar_that_is_cut_off_leaves_the_cursor_on_the_terminal(tmp_path, work) -> None:
    master, slave = pty.openpty()
    env = environment(tmp_path, PYTHONPATH=str(REPO), TERM="xterm-256color")
    command = [sys.executable, "-c", BAR.replace("WORK", work)]
    process = subprocess.Popen(command, env=env, stderr=slave, cwd=tmp_path, start_new_session=True)
    os.close(slave)
    shown = b""
    try:
        while chunk := _read(master):
            if work != "1 / 0" and b"1/3" not in shown and b"1/3" in shown + chunk:
                os.killpg(process.pid, signal.SIGINT)
            shown += chunk
        assert process.wait(30) == (1 if work == "1 / 0" else 130)
    finally:
        process.kill()
        os.close(master)
    assert shown.count(b"\x1b[?25l") >= 1
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")
    assert (LINE.encode() in shown) == (work != "1 / 0")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Nobody writes to it any more.
        return b""
