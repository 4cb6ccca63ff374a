"""Servers that end in the middle of a real run, and a disk that is really full."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.retrain import retrain
from models.errors import DiskError, LedgerError, RegistryError, ServiceError
from tasks.storage.ledger import read_ledger
from tests.flows import states
from tests.flows.states import Run, champion
from tests.servers import BIN, Postgres, environment, fill_disk, free_port, wait_for
from tests.simulation.days import NAME, RECIPE, end_state, write_candles

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]
DOWN_SECONDS = 5
soak = pytest.mark.soak


def once_before(patch: pytest.MonkeyPatch, place: str, fault: Callable[[], object]) -> None:
    """The first time that a function is called, let something happen before it."""
    module, _, name = place.rpartition(".")
    original = getattr(__import__(module, fromlist=[name]), name)
    left = [fault]

    def run(*args: Any, **kwargs: Any) -> Any:
        if left:
            left.pop()()
        return original(*args, **kwargs)

    patch.setattr(place, run)


class Mlflow:
    """MLflow's own server in a process group of its own, to be killed and started again."""

    def __init__(self, store: str, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.command = [str(BIN / "mlflow"), "server", "--port", str(self.port), "--workers", "1"]
        self.command += ["--backend-store-uri", store, "--artifacts-destination", f"{folder}/files"]
        self.start()

    def start(self) -> None:
        env = environment(self.folder, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
        log = self.folder / "mlflow.log"
        with log.open("a") as out:
            self.process = subprocess.Popen(
                self.command, env=env, stdout=out, stderr=out, start_new_session=True
            )
        wait_for(f"{self.url}/health", log)

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def end_for_a_while(server: Mlflow | Postgres) -> None:
    """End a server, and start it again a few seconds later."""
    server.stop()
    threading.Timer(DOWN_SECONDS, server.start).start()


def check_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for part, value in expected.items():
        assert found[part] == value, part


@pytest.fixture(scope="module")
def second_day(
    prefect_api: str, shared_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The state after day 1 of a home that nothing disturbed."""
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    states.copy_state(states.share("one-day", states.make_one_day, prefect_api, shared_root), home)
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: prefect_api}):
        patch.setenv("BTC_HOME", str(home))
        states.run_flow(patch, home, retrain, 1)
    # MLflow leaves its address in the environment of a process that has used it.
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    return end_state(home)


@soak
@pytest.mark.parametrize(
    "place", ["tasks.register._register_version", "tasks.promote.move_champion"]
)
def test_an_mlflow_server_that_is_killed_and_comes_back_delays_the_run(
    run: Run,
    one_day: Path,
    second_day: dict[str, Any],
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Mlflow(f"sqlite:///{one_day / 'mlflow.db'}", tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    try:
        with monkeypatch.context() as patch:
            once_before(patch, place, lambda: end_for_a_while(server))
            run(retrain, 1)
        check_same(end_state(one_day), second_day)
    finally:
        server.stop()


@soak
def test_an_mlflow_server_that_stays_away_is_one_line_and_the_next_run_completes(
    run: Run,
    one_day: Path,
    second_day: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Mlflow(f"sqlite:///{one_day / 'mlflow.db'}", tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with monkeypatch.context() as patch:
        once_before(patch, "tasks.register._register_version", server.stop)
        with pytest.raises(RegistryError, match="failed in the middle of the run") as told:
            run(retrain, 1)
    assert "\n" not in str(told.value)
    server.start()
    try:
        run(retrain, 1)
        check_same(end_state(one_day), second_day)
    finally:
        server.stop()


@pytest.fixture
def on_postgres(
    run: Run, empty_state: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Postgres]:
    """Ledger, locks and MLflow's store on one PostgreSQL server, with day 0."""
    # MLflow keeps its connections by address, so each test has databases of its own.
    ledger, mlflow = (f"{kind}_{os.urandom(6).hex()}" for kind in ("ledger", "mlflow"))
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for name in (ledger, mlflow):
            connection.execute(f"CREATE DATABASE {name}")
    place = postgres.url.rpartition("/")[0]
    monkeypatch.setenv("BTC_DATABASE_URL", f"{place}/{ledger}")
    store = f"{place.replace('postgresql:', 'postgresql+psycopg:')}/{mlflow}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    run(retrain, 0)
    yield postgres


@soak
@pytest.mark.parametrize(
    "place",
    [
        "tasks.register._register_version",
        "tasks.registry.aliases._add_history",
        "tasks.forecast.record_forecasts",
        "tasks.score.score_due",
    ],
)
def test_a_postgresql_that_stops_and_comes_back_delays_the_run(
    run: Run, on_postgres: Postgres, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        once_before(patch, place, lambda: end_for_a_while(on_postgres))
        made = run(retrain, 1)
    assert made["model_version"] == "2"
    assert made["forecast"]["ledger"]["new"] == 3
    assert len(read_ledger(NAME)) == 6


@soak
def test_a_postgresql_that_stays_away_is_one_line_and_the_next_run_completes(
    run: Run, on_postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("tasks.registry.aliases._add_history", "tasks.forecast.record_forecasts"):
        with monkeypatch.context() as patch:
            once_before(patch, place, on_postgres.stop)
            try:
                with pytest.raises((LedgerError, RegistryError)) as told:
                    run(retrain, 1)
            finally:
                on_postgres.start()
        assert "\n" not in str(told.value)
    made = run(retrain, 1)
    assert made["model_version"] == "2"
    assert len(read_ledger(NAME)) == 6


@soak
@pytest.mark.parametrize(
    "place",
    [
        "tasks.ingest.write_frame",
        "tasks.snapshot.write_frame",
        "tasks.register.log_points",
        "tasks.register._register_version",
        "tasks.registry.aliases._add_history",
        "tasks.forecast.record_forecasts",
        "tasks.score.score_due",
    ],
)
def test_a_full_disk_is_one_line_and_the_next_run_completes(
    place: str,
    one_day: Path,
    second_day: dict[str, Any],
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = small_disk / "home"
    states.copy_state(one_day, home)
    with monkeypatch.context() as patch:
        once_before(patch, place, lambda: fill_disk(small_disk))
        with pytest.raises(ServiceError, match=r"disk") as told:
            states.run_flow(monkeypatch, home, retrain, 1)
    assert isinstance(told.value, DiskError | LedgerError | RegistryError)
    assert "full" in str(told.value) or "no space is left" in str(told.value)
    assert "\n" not in str(told.value)
    uri = f"sqlite:///{home / 'mlflow.db'}"
    assert champion(MlflowClient(uri, uri)) in ("1", "2")
    (small_disk / "filler").unlink()
    states.run_flow(monkeypatch, home, retrain, 1)
    check_same(end_state(home), second_day)


@soak
@pytest.mark.skipif(shutil.which("faketime") is None, reason="apt-get install faketime")
def test_a_clock_a_day_behind_and_a_year_ahead_is_one_line_and_the_next_run_completes(
    one_day: Path, second_day: dict[str, Any], tmp_path: Path
) -> None:
    small = {"recipe": RECIPE, "promotion": {"refresh_margin": 0.5}}
    config = tmp_path / "small.json"
    config.write_text(json.dumps(small))

    def run_at(moment: str, candles_to: int) -> tuple[int, str]:
        csv = write_candles(one_day, candles_to)
        command = ["faketime", "-f", f"@{moment} 00:20:00", str(BIN / "btc"), "retrain"]
        command += ["--source", f"csv:{csv}", "--config", str(config)]
        env = environment(one_day, TZ="UTC")
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
        told = [line for line in done.stderr.splitlines() if line.startswith("btc: ")]
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, "".join(told)

    before = end_state(one_day)
    code, told = run_at("2026-10-01", 0)
    assert code == 2 and "there is a candle of 2026-10-01: set the clock" in told
    code, told = run_at("2027-10-02", 0)
    assert code == 1 and "no forecast: the newest candle" in told and "365 days old" in told
    after = end_state(one_day)
    for part in ("versions", "aliases", "ledger", "history", "snapshots"):
        assert after[part] == before[part], part
    assert run_at("2026-10-03", 1) == (0, "")
    expected = second_day["ledger"]
    assert [row["kind"] for row in end_state(one_day)["ledger"]] == [
        row["kind"] for row in expected
    ]
    assert end_state(one_day)["aliases"] == second_day["aliases"]
