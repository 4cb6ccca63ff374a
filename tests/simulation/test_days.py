"""Simulated days, one process a day: undisturbed, and killed between and inside stages."""

from __future__ import annotations

import datetime as dt
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.servers import prefect_server
from tests.simulation.days import FIRST_DAY, Days, end_state, start_runner
from tests.simulation.runner import POINTS

pytestmark = [pytest.mark.server, pytest.mark.timeout(1500)]
N_DAYS = 12


@pytest.fixture(scope="module")
def api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as url:
        yield url


@pytest.fixture(scope="module")
def runner(
    api_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[str]]:
    with start_runner(api_url, tmp_path_factory.mktemp("runner") / "log") as process:
        yield process


@pytest.fixture(scope="module")
def undisturbed(runner: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    days = Days(runner, tmp_path_factory.mktemp("undisturbed"))
    for number in range(N_DAYS):
        assert days.run(number) == 0
    return days.home


def test_ledger_is_complete_and_every_closed_target_is_scored(undisturbed: Path) -> None:
    ledger = pd.DataFrame(end_state(undisturbed)["ledger"])
    assert len(ledger) == 3 * N_DAYS
    assert not ledger.duplicated(["as_of", "target_date"]).any()
    assert set(ledger["kind"]) == {"live"}
    last = (FIRST_DAY + dt.timedelta(days=N_DAYS - 1)).isoformat()
    closed = ledger["target_date"] <= last
    assert (ledger["crps_bp"] != "none").equals(closed)
    assert (ledger.loc[closed, "naive_crps_bp"].astype(float) > 0).all()


def test_each_day_has_one_version_whose_decision_is_what_the_alias_did(undisturbed: Path) -> None:
    state = end_state(undisturbed)
    assert [number for number, _ in state["versions"]] == list(range(1, N_DAYS + 1))
    assert all(tags["finished"] == "true" for _, tags in state["versions"])
    decided = [
        str(number)
        for number, tags in state["versions"]
        if json.loads(tags["decision"])["action"] in ("promote", "refresh")
    ]
    assert [row["to_version"] for row in state["history"]] == decided
    assert len(decided) > N_DAYS // 2
    aliases = {alias: str(number) for alias, number in state["aliases"].items()}
    assert aliases == {"champion": decided[-1], "challenger": str(N_DAYS)}


def test_killed_days_end_as_undisturbed_ones(
    runner: subprocess.Popen[str], undisturbed: Path, tmp_path: Path
) -> None:
    days = Days(runner, tmp_path / "killed")
    queue = list(POINTS)
    assert len(queue) >= 30
    for number in range(N_DAYS):
        share = -(-len(queue) // (N_DAYS - number))
        for point in queue[:share]:
            assert days.run(number, kill=point) == -signal.SIGKILL, point
        queue = queue[share:]
        assert days.run(number) == 0
    killed, expected = end_state(days.home), end_state(undisturbed)
    for part, value in expected.items():
        assert killed[part] == value, part


def test_doing_a_day_again_changes_nothing(
    runner: subprocess.Popen[str], undisturbed: Path
) -> None:
    before = end_state(undisturbed)
    days = Days(runner, undisturbed)
    assert days.run(N_DAYS - 1) == 0
    assert days.summary()["done_before"]
    assert end_state(undisturbed) == before
