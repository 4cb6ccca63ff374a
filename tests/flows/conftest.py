from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from flows.cli.app import app
from tests.flows import states
from tests.planted import planted_settings
from tests.servers import btc, environment

# Small enough to train in a second, with every part of a real run.
QUICK = ("--set", "units=4", "--set", "lookback=10", "--set", "horizon=2", "--set", "epochs=2")


@dataclass(frozen=True)
class Run:
    """One `btc retrain` that ended well: its home, its JSON and what it printed."""

    home: Path
    summary: dict[str, Any]
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def retrain(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Run `btc retrain` in this process, against the real Prefect server."""

    def run(*arguments: str, home: Path | None = None, code: int = 0) -> Run:
        home = home or tmp_path_factory.mktemp("home")
        target = home / "summary.json"
        command = ["retrain", *arguments, "--json", str(target)]
        with (
            pytest.MonkeyPatch.context() as patch,
            temporary_settings({PREFECT_API_URL: prefect_api}),
        ):
            patch.setenv("BTC_HOME", str(home))
            os.environ.pop("MLFLOW_TRACKING_URI", None)
            done = CliRunner().invoke(app, command, catch_exceptions=False)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        assert done.exit_code == code, done.output
        return Run(home, json.loads(target.read_text()), done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def sample_run(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`btc retrain` as a user runs it, in a process of its own."""
    home = tmp_path_factory.mktemp("home")
    target = home / "summary.json"
    command = ("retrain", "--source", "sample", "--as-of", "2025-06-30", *QUICK)
    env = environment(home, **planted_settings(prefect_api))
    done = btc(*command, "--json", str(target), env=env, cwd=home)
    assert done.returncode == 0, done.stderr
    return Run(home, json.loads(target.read_text()), done.stdout, done.stderr)


@pytest.fixture
def empty_state(own_home: Path, prefect_api: str) -> Iterator[Path]:
    """A state folder without anything."""
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        yield own_home


@pytest.fixture
def one_day(empty_state: Path, prefect_api: str, shared_root: Path) -> Path:
    """See `make_one_day`."""
    made = states.share("one-day", states.make_one_day, prefect_api, shared_root)
    states.copy_state(made, empty_state)
    return empty_state


@pytest.fixture
def five_days(empty_state: Path, prefect_api: str, shared_root: Path) -> Path:
    """See `make_five_days`."""
    made = states.share("five-days", states.make_five_days, prefect_api, shared_root)
    states.copy_state(made, empty_state)
    return empty_state


@pytest.fixture
def run(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> states.Run:
    """Run a flow on the test's own state folder, see `run_flow`."""
    return partial(states.run_flow, monkeypatch, own_home)


@pytest.fixture
def client(own_home: Path) -> MlflowClient:
    uri = f"sqlite:///{own_home / 'mlflow.db'}"
    return MlflowClient(uri, uri)
