"""Symbols side by side, in processes and on Dask: the numbers of one, also when one dies."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests
from mlflow import MlflowClient
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.runners import run_side_by_side
from flows.worker import begin_worker
from models.config.flows import RetrainConfig, Workers
from models.data.sample import make_sample
from models.errors import ServiceError
from tests.flows.conftest import QUICK
from tests.servers import BIN, btc, environment, free_port

SYMBOLS = ("ADA/USD", "XRP/USD")
RUNS_OF = {"seconds", "run_id", "artifacts"}


@task(cache_policy=NO_CACHE)
def square(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.server
def test_a_process_that_dies_fails_its_own_work_alone(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.runners.prepare_worker", begin_worker)  # without TensorFlow

    @flow
    def squares() -> dict[int, Any]:
        calls = [{"number": number} for number in (1, 2, 3)]
        return dict(run_side_by_side(square, calls, Workers(jobs=1)))

    with temporary_settings({PREFECT_API_URL: prefect_api}):
        found = squares()
    assert (found[0], found[2]) == (1, 9)
    assert isinstance(found[1], ServiceError) and "died" in str(found[1])


def test_a_symbol_s_run_knows_nothing_of_the_workers() -> None:
    asked = RetrainConfig(symbols=SYMBOLS, workers=Workers(jobs=2))
    assert asked.for_symbol("ADA/USD") == RetrainConfig(symbols=SYMBOLS).for_symbol("ADA/USD")


@pytest.mark.parametrize(
    ("values", "alone"),
    [
        ({}, True),
        ({"jobs": 2}, False),
        ({"runner": "dask"}, True),
        ({"runner": "dask", "address": "tcp://127.0.0.1:8786"}, False),
    ],
)
def test_one_job_without_a_cluster_is_this_process(values: dict[str, Any], alone: bool) -> None:
    assert Workers.model_validate(values).alone is alone


def test_an_address_is_a_dask_scheduler_s() -> None:
    with pytest.raises(ValueError, match="expected runner dask"):
        Workers(address="tcp://127.0.0.1:8786")


@pytest.fixture
def coins(tmp_path: Path) -> Path:
    """A folder with a file of candles for each symbol, each of a history of its own."""
    for number, symbol in enumerate(SYMBOLS):
        candles = make_sample(dt.date(2025, 6, 30)).tail(700 + 20 * number).reset_index(drop=True)
        days = candles.pop("open_time").dt.date
        path = tmp_path / f"{symbol.partition('/')[0]}.csv"
        candles.assign(date=days).to_csv(path, index=False)
    return tmp_path


def retrain(coins: Path, home: Path, api: str, *arguments: str) -> dict[str, Any]:
    """Retrain the symbols, in a process of its own; what it wrote as JSON."""
    home.mkdir(exist_ok=True)
    asked = ("--source", f"csv:{coins}/{{base}}.csv", "--symbols", ",".join(SYMBOLS), *QUICK)
    target = home / "all.json"
    command = ("retrain", *asked, "--as-of", "2025-06-30", *arguments, "--json", str(target))
    done = btc(*command, env=environment(home, PREFECT_API_URL=api), cwd=home, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(target.read_text())["symbols"]  # type: ignore[no-any-return]


def strip(value: Any) -> Any:
    """A summary without what names the run."""
    if isinstance(value, dict):
        return {key: strip(inner) for key, inner in value.items() if key not in RUNS_OF}
    return value


def ledger(home: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(home / "ledger.db") as connection:
        rows = connection.execute(
            "SELECT symbol, version, as_of, step, quantiles FROM forecasts ORDER BY symbol, step"
        )
        return rows.fetchall()


def assert_same(ours: dict[str, Any], home: Path, theirs: dict[str, Any], other: Path) -> None:
    """Scores, ledger and test days' predictions are equal, bit for bit."""
    assert strip(ours) == strip(theirs)
    assert ledger(home) == ledger(other)
    for symbol in SYMBOLS:
        paths = [each[symbol]["artifacts"]["predictions"] for each in (ours, theirs)]
        left, right = map(pd.read_parquet, paths)
        pd.testing.assert_frame_equal(left, right, check_exact=True)


def subflows(api: str) -> list[dict[str, Any]]:
    """The runs of single symbols, as Prefect knows them."""
    asked: dict[str, Any] = {"flows": {"name": {"any_": ["retrain"]}}, "sort": "START_TIME_DESC"}
    runs = requests.post(f"{api}/flow_runs/filter", json=asked, timeout=30).json()
    return [run for run in runs if run["parent_task_run_id"]]


@contextmanager
def cluster(home: Path, api: str) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and two workers, as docs/cluster.md starts them; gives address, workers."""
    home.mkdir(exist_ok=True)
    address = f"tcp://127.0.0.1:{free_port()}"
    env = environment(home, PREFECT_API_URL=api)
    common = ["--preload", "flows.worker", "--no-dashboard"]
    host, _, port = address.removeprefix("tcp://").partition(":")
    scheduler = [str(BIN / "dask"), "scheduler", "--host", host, "--port", port, *common]
    worker = [str(BIN / "dask"), "worker", address, "--nthreads", "1", "--no-nanny", *common]
    with ExitStack() as stack:
        started = []
        for number, command in enumerate((scheduler, worker, worker)):
            log = stack.enter_context((home / f"dask-{number}.log").open("wb"))
            started.append(subprocess.Popen(command, env=env, cwd=home, stdout=log, stderr=log))
        try:
            yield address, started[1:]
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


@pytest.mark.soak
def test_processes_and_dask_give_the_numbers_of_one_process(
    coins: Path, tmp_path: Path, prefect_api: str
) -> None:
    first = retrain(coins, tmp_path / "one", prefect_api)
    known = {run["id"] for run in subflows(prefect_api)}
    for name, options in (("processes", ()), ("dask", ("--runner", "dask"))):
        home = tmp_path / name
        again = retrain(coins, home, prefect_api, "--jobs", "2", *options)
        assert_same(first, tmp_path / "one", again, home)
    found = [run for run in subflows(prefect_api) if run["id"] not in known]
    assert [run["state"]["type"] for run in found] == ["COMPLETED"] * 4


@pytest.mark.soak
def test_a_killed_dask_worker_doubles_nothing_and_leaves_nothing_running(
    coins: Path, tmp_path: Path, prefect_api: str
) -> None:
    first = retrain(coins, tmp_path / "one", prefect_api)
    known = {run["id"] for run in subflows(prefect_api)}
    home = tmp_path / "dask"
    with cluster(home, prefect_api) as (address, workers):
        again = kill_while(home, workers[0], coins, prefect_api, address)
    assert_same(first, tmp_path / "one", again, home)
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    for symbol in SYMBOLS:
        name = symbol.lower().replace("/", "-")
        assert len(client.search_model_versions(f"name='{name}'")) == 1
        experiment = client.get_experiment_by_name(name)
        states = [run.info.status for run in client.search_runs([experiment.experiment_id])]
        assert states.count("FINISHED") == 1 and "RUNNING" not in states
    found = [run for run in subflows(prefect_api) if run["id"] not in known]
    assert sorted(run["state"]["type"] for run in found) == ["COMPLETED", "COMPLETED", "CRASHED"]


def kill_while(
    home: Path, worker: subprocess.Popen[bytes], coins: Path, api: str, address: str
) -> dict[str, Any]:
    """Retrain on the cluster, and kill the worker while it trains."""
    import threading

    def kill() -> None:
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and not works_on(home, worker.pid):
            time.sleep(0.05)
        worker.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        return retrain(coins, home, api, "--runner", "dask", "--address", address)
    finally:
        killer.join()


def works_on(home: Path, pid: int) -> bool:
    """Whether a process has a snapshot's scaled series in its work folder: it trains, or will."""
    links = []
    with suppress(OSError):  # they come and go
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    folders = {Path(link).parent for link in links if f"{home}/work/" in link}
    return any((folder / "scaled").exists() for folder in folders)


@pytest.mark.soak
def test_folds_of_a_killed_dask_worker_run_elsewhere(tmp_path: Path, prefect_api: str) -> None:
    first = backtest(tmp_path / "one", prefect_api, "--jobs", "1")
    home = tmp_path / "dask"
    with cluster(home, prefect_api) as (address, workers), ThreadPoolExecutor() as threads:
        done = threads.submit(backtest, home, prefect_api, "--runner", "dask", "--address", address)
        while not done.done() and not list(home.glob("backtest/units/*.npz")):
            time.sleep(0.02)
        before = len(list(home.glob("backtest/units/*.npz")))
        workers[0].kill()
        again = done.result()
    assert again["horizons"] == first["horizons"]
    assert 0 < before < len(list(home.glob("backtest/units/*.npz")))


def backtest(home: Path, api: str, *arguments: str) -> dict[str, Any]:
    """Three folds of two recipes, beside a baseline; what it wrote as JSON."""
    home.mkdir(exist_ok=True)
    asked = ("--source", "sample", "--start", "2025-04-01", "--end", "2025-06-30")
    asked += ("--refit-days", "31", "--recipes", "default,gru", "--baselines", "naive")
    target = home / "backtest.json"
    command = ("backtest", *asked, "--horizon", "2", *arguments, "--json", str(target))
    done = btc(*command, env=environment(home, PREFECT_API_URL=api), cwd=home, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(target.read_text())  # type: ignore[no-any-return]
