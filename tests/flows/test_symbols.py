"""Several symbols in one run: a model, a ledger and a page each; one that fails stops no other."""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled
from typer.testing import CliRunner

from flows import symbols
from flows.cli.app import app
from flows.closing import end_run
from flows.run_names import name_forecast
from models.config.flows import RetrainConfig, Workers
from models.data.sample import make_sample
from models.decisions.alarms import SKIPPED
from models.reporting.summaries import Skipped, SymbolsSummary
from tasks.service.runs import WATCHED, call
from tasks.turns import read_clock
from tests.flows.conftest import QUICK, Run
from tests.servers import btc, environment


@pytest.fixture(scope="module")
def three(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two symbols retrained, and one between them whose history is too short."""
    home = tmp_path_factory.mktemp("coins")
    for base, days in (("ADA", 700), ("NEW", 60), ("XRP", 720)):
        candles = make_sample(dt.date(2025, 6, 30)).tail(days).reset_index(drop=True)
        prices = ["open", "high", "low", "close"]
        candles[prices] *= {"ADA": 1e-5, "NEW": 1.0, "XRP": 2e-5}[base]
        candles.assign(date=candles.pop("open_time").dt.date).to_csv(
            home / f"{base}.csv", index=False
        )
    source = f"csv:{home}/{{base}}.csv"
    symbols = "ADA/USD,NEW/USD,XRP/USD"
    command = ("retrain", "--source", source, "--symbols", symbols, "--as-of", "2025-06-30", *QUICK)
    env = environment(home, PREFECT_API_URL=prefect_api)
    done = btc(*command, "--json", str(home / "all.json"), env=env, cwd=home)
    assert done.returncode == 1, done.stderr
    return Run(home, json.loads((home / "all.json").read_text()), done.stdout, done.stderr)


def ask(home: Path, *arguments: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BTC_HOME", str(home))
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_each_has_its_own_version_and_forecast_and_the_failed_one_says_why(three: Run) -> None:
    done = three.summary["symbols"]
    assert list(done) == ["ADA/USD", "XRP/USD"]
    assert {s["model_version"] for s in done.values()} == {"1"}
    medians = [s["forecast"]["rows"][0]["median"] for s in done.values()]
    assert medians[1] / medians[0] == pytest.approx(2, rel=0.2)
    assert list(three.summary["failed"]) == ["NEW/USD"]
    assert "60" in three.summary["failed"]["NEW/USD"]
    assert "NEW/USD" in three.stderr and "Traceback" not in three.stderr + three.stdout


def test_the_alarms_look_at_the_end_of_all_and_at_no_part(three: Run, prefect_api: str) -> None:
    by_hand = WATCHED | {"deployment_id": {"is_null_": True}}
    flows = {"name": {"any_": ["retrain"]}}
    filters = {"flows": flows, "flow_runs": by_hand, "sort": "START_TIME_DESC"}
    runs = call(prefect_api, "/flow_runs/filter", filters)
    asked = [(run["parameters"].get("config", {}), run["state"]) for run in runs]
    # The failed one is not the last, so that a look at the newest run would see nothing.
    assert not any(config.get("symbol") in three.summary["symbols"] for config, _ in asked)
    [end] = [state for config, state in asked if "NEW/USD" in (config.get("symbols") or [])]
    assert end["type"] == "FAILED"
    assert "1 of 3 symbols failed (NEW/USD: " in end["message"]


def test_models_and_ledger_show_a_line_each(three: Run) -> None:
    for command in ("models", "ledger"):
        shown = ask(three.home, command)
        assert "ADA/USD" in shown and "XRP/USD" in shown and "NEW/USD" not in shown


def test_a_forecast_without_a_symbol_is_of_each_that_the_source_has(
    three: Run, prefect_api: str
) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        day = ("--as-of", "2025-06-30")
        shown = ask(three.home, "forecast", "--source", f"csv:{three.home}/{{base}}.csv", *day)
    assert "Every symbol that was forecast before (2)" in shown
    for symbol in ("ADA/USD", "XRP/USD"):
        [line] = [line for line in shown.splitlines() if line.startswith(symbol)]
        assert "Nothing to judge yet" in line and "2025-07-01" in line and " – " in line


def test_a_line_leads_with_the_range_and_fits_80_columns(
    three: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = three.stdout.splitlines()
    assert any("range vs naive" in line for line in table)
    assert not any("no evidence of skill" in line for line in table)
    monkeypatch.setenv("COLUMNS", "80")
    lines = ask(three.home, "ledger").splitlines()
    assert len(lines) == 3 and max(map(len, lines)) <= 80


def test_each_has_a_page(three: Run) -> None:
    pages = {path.parent.name for path in three.home.glob("reports/*/2025-06-30.html")}
    assert pages == {"ada-usd", "xrp-usd"}


def test_a_skipped_run_ends_in_a_state_of_its_own_name() -> None:
    skipped = Skipped(skipped="another one is at work")
    for summary in (skipped, SymbolsSummary(symbols={"ADA/USD": skipped}, failed={})):
        ended: Any = end_run(summary)
        assert (ended.type.value, ended.name) == ("COMPLETED", SKIPPED)
        assert (ended.message, ended.data) == ("another one is at work", summary)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_symbol_does_the_day_of_a_late_run_by_the_clock_of_today(
    jobs: int, prefect_api: str, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    @flow(flow_run_name=name_forecast)
    def look(config: RetrainConfig) -> Skipped:
        seen.append((flow_run.name, *read_clock()))
        return Skipped(skipped="only looks")

    @flow
    def whole(config: RetrainConfig) -> Any:
        seen.append(("whole", *read_clock()))
        return symbols.run_each(look, config)

    # What workers call, in this process.
    monkeypatch.setitem(sys.modules, "flows.look", SimpleNamespace(look=look))  # type: ignore[arg-type]
    monkeypatch.setattr(
        symbols,
        "run_side_by_side",
        lambda task, calls, _: enumerate(task(**call) for call in calls),
    )
    late = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
    asked = RetrainConfig(symbols=("ADA/USD", "XRP/USD"), workers=Workers(jobs=jobs))
    with temporary_settings({PREFECT_API_URL: prefect_api}), get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(whole), f"late-{jobs}")
        run = client.create_flow_run_from_deployment(
            deployment, state=Scheduled(scheduled_time=late)
        )
        run_flow(whole, flow_run=run, parameters={"config": asked})
    assert [due for _, due, _ in seen] == [late] * 3
    now = dt.datetime.now(dt.UTC)
    assert all(now - dt.timedelta(minutes=5) < at <= now for _, _, at in seen)
    day = (late - dt.timedelta(days=1)).date()
    assert [name for name, *_ in seen[1:]] == [f"forecast {day} ADA/USD", f"forecast {day} XRP/USD"]
