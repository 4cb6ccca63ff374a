"""Simulated days, one process a day: undisturbed, and killed between and inside stages."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.servers import prefect_server
from tests.simulation.days import FIRST_DAY, Days, end_state, start_runner
from tests.simulation.runner import INSIDE, POINTS

pytestmark = [pytest.mark.server, pytest.mark.timeout(1500)]
# The days on which the kills fall; another recipe has come and gone by then.
N_KILLED_DAYS = 7
# Inside every stage, at its last place.
FEW_POINTS = tuple({point.split(",")[0]: point for point in POINTS if point in INSIDE}.values())


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


@dataclass(frozen=True)
class Undisturbed:
    """Days that nothing disturbed, their state at the end and on the way."""

    n_days: int
    days: Days
    on_the_way: dict[str, Any]
    state: dict[str, Any]


@pytest.fixture(scope="module", params=[10, pytest.param(30, marks=pytest.mark.soak)])
def undisturbed(
    runner: subprocess.Popen[str],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Undisturbed:
    days = Days(runner, tmp_path_factory.mktemp("undisturbed"))
    for number in range(request.param):
        assert days.run(number) == 0
        if number == N_KILLED_DAYS - 1:
            on_the_way = end_state(days.home)
    return Undisturbed(request.param, days, on_the_way, end_state(days.home))


def test_ledger_is_complete_and_every_closed_target_is_scored(undisturbed: Undisturbed) -> None:
    ledger = pd.DataFrame(undisturbed.state["ledger"])
    assert len(ledger) == 3 * undisturbed.n_days
    assert not ledger.duplicated(["as_of", "target_date"]).any()
    assert set(ledger["kind"]) == {"live"}
    last = (FIRST_DAY + dt.timedelta(days=undisturbed.n_days - 1)).isoformat()
    closed = ledger["target_date"] <= last
    assert (ledger["crps_bp"] != "none").equals(closed)
    assert (ledger.loc[closed, "naive_crps_bp"].astype(float) > 0).all()


def test_each_day_has_one_version_whose_decision_is_what_the_alias_did(
    undisturbed: Undisturbed,
) -> None:
    state = undisturbed.state
    assert [number for number, _ in state["versions"]] == list(range(1, undisturbed.n_days + 1))
    assert all(tags["finished"] == "true" for _, tags in state["versions"])
    decided = [
        str(number)
        for number, tags in state["versions"]
        if tags["decision"].partition(", ")[0] in ("promote", "refresh")
    ]
    assert [row["to_version"] for row in state["history"]] == decided
    assert len(decided) > undisturbed.n_days // 2
    aliases = {alias: str(number) for alias, number in state["aliases"].items()}
    assert aliases == {"champion": decided[-1], "challenger": str(undisturbed.n_days)}


@pytest.mark.soak
@pytest.mark.parametrize("points", [FEW_POINTS, POINTS])
def test_killed_days_end_as_undisturbed_ones(
    points: tuple[str, ...], runner: subprocess.Popen[str], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    days = Days(runner, tmp_path / "killed")
    for number in range(N_KILLED_DAYS):
        for point in points[number::N_KILLED_DAYS]:
            assert days.run(number, kill=point) == -signal.SIGKILL, point
        assert days.run(number) == 0
    killed = end_state(days.home)
    for part, value in undisturbed.on_the_way.items():
        assert killed[part] == value, part


def test_doing_a_day_again_changes_nothing(undisturbed: Undisturbed) -> None:
    assert undisturbed.days.run(undisturbed.n_days - 1) == 0
    assert undisturbed.days.summary()["done_before"]
    assert end_state(undisturbed.days.home) == undisturbed.state


def test_of_two_retrains_at_once_one_does_the_day_and_the_other_says_so(
    undisturbed: Undisturbed,
) -> None:
    days = undisturbed.days
    assert days.run_at_once(undisturbed.n_days, 2) == [0, 0]
    skipped, done = sorted((days.summary(place) for place in (0, 1)), key=len)
    assert skipped == {
        "schema": 1,
        "skipped": "another retrain of BTC/USD is at work; this one ends",
        "done": False,
    }
    assert done["model_version"] == str(undisturbed.n_days + 1)
    before, after = undisturbed.state, end_state(days.home)
    for part, n_more in (("versions", 1), ("runs", 1), ("snapshots", 1), ("ledger", 3)):
        assert len(after[part]) == len(before[part]) + n_more, part
    assert after["rubbish"] == []
