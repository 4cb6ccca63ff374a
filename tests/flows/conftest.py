from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import btc, environment, prefect_server

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
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture(scope="session")
def retrain(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Run `btc retrain` in a process of its own, against the real Prefect server."""

    def run(*arguments: str, home: Path | None = None) -> Run:
        home = home or tmp_path_factory.mktemp("home")
        target = home / "summary.json"
        env = environment(home, PREFECT_API_URL=prefect_api)
        done = btc("retrain", *arguments, "--json", str(target), env=env, cwd=home)
        assert done.returncode == 0, done.stderr
        return Run(home, json.loads(target.read_text()), done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def sample_run(retrain: Callable[..., Run]) -> Run:
    return retrain("--source", "sample", "--as-of", "2025-06-30", *QUICK)
