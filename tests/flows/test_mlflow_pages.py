"""MLflow's own pages in a browser, on a real server that holds one retrain and one backtest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Page, expect

from tasks.registry.connection import compare_address
from tests.browser import open_browser
from tests.flows.conftest import Run
from tests.flows.states import copy_state
from tests.servers import BIN, btc, environment, free_port, running, wait_for

pytestmark = [pytest.mark.server, pytest.mark.soak]

NAME = "btc-usd-synthetic"
# Three models over six weeks, two days ahead.
BACKTEST = (
    "backtest", "--source", "sample", "--start", "2025-05-20", "--end", "2025-06-30",
    "--recipes", "gru", "--baselines", "naive,garch", "--horizon", "2",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A server, a page of a browser, and what the server's store holds."""

    base: str
    page: Page
    client: MlflowClient
    run_id: str

    def open(self, path: str) -> Page:
        # The pages differ in what comes after #, which alone loads nothing.
        self.page.goto("about:blank")
        self.page.goto(path if path.startswith("http") else f"{self.base}/#/{path}")
        return self.page


@pytest.fixture(scope="module")
def shown(
    sample_run: Run, prefect_api: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shown]:
    home = tmp_path_factory.mktemp("ui") / "home"
    copy_state(sample_run.home, home)
    env = environment(home, PREFECT_API_URL=prefect_api)
    done = btc(*BACKTEST, env=env, cwd=home, timeout=500)
    assert done.returncode == 0, done.stderr
    store, port, log = f"sqlite:///{home / 'mlflow.db'}", free_port(), home / "mlflow.log"
    command = [str(BIN / "mlflow"), "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store, "--default-artifact-root", str(home / "mlartifacts")]
    env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with running(command, env=env, cwd=home, log=log):
        wait_for(f"http://127.0.0.1:{port}/health", log)
        with open_browser(width=2200, height=1000) as page:
            run_id = sample_run.summary["run_id"]
            base = f"http://127.0.0.1:{port}"
            yield Shown(base, page, MlflowClient(store, store), run_id)


def headers(page: Page) -> list[str]:
    """Titles of the columns of MLflow's table of runs, from left to right, none of them cut."""
    page.wait_for_selector(".ag-center-cols-container .ag-row")
    titles = page.locator(".ag-header-cell")
    found = []
    for cell in sorted(titles.all(), key=lambda one: one.bounding_box()["x"]):
        text = cell.inner_text().strip()
        if text and text not in ("Created", "Run Name"):
            # The handle that resizes a column stands out by four pixels.
            assert cell.evaluate("e => e.scrollWidth <= e.clientWidth + 4"), text
            found.append(text)
    return found


def cells(page: Page, column: str) -> list[str]:
    """The values of a column, from top to bottom."""
    return [
        cell.inner_text().strip()
        for cell in page.locator(f'[role=gridcell][col-id="{column}"]').all()
    ]


def test_compare_line_opens_the_diary_with_its_columns(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shown.base)
    page = shown.open(compare_address(shown.base, NAME))
    run = shown.client.get_run(shown.run_id)
    page.get_by_text(run.info.run_name, exact=True).first.wait_for()
    expect(page.get_by_text("You're viewing a shared view.")).to_be_visible()
    assert headers(page) == [
        "skill_vs_naive_h1", "skill_vs_best_h1", "crps_bp_h1", "coverage_90_h1", "skill_rmse_h1",
        "Duration",
    ]  # fmt: skip
    assert cells(page, "metrics.`crps_bp_h1`") == [f"{run.data.metrics['crps_bp_h1']:g}"]
    link = page.get_by_text(run.info.run_name, exact=True).first
    assert link.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_view_of_cells_and_view_of_backtests(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", shown.base)
    page = shown.open(compare_address(shown.base, NAME).replace("=diary", "=cells"))
    assert headers(page)[:3] == ["model", "units", "lookback"]
    assert cells(page, "tags.`model`") == ["gru + regression"]
    page = shown.open(compare_address(shown.base, f"{NAME}-backtest"))
    assert headers(page)[:2] == ["crps_bp_h1", "skill_vs_naive_h1"]
    # The parent and its children, the best first.
    values = [float(text) for text in cells(page, "metrics.`crps_bp_h1`") if text not in ("", "-")]
    assert len(values) == 3 and values == sorted(values)
    assert page.get_by_text("best: ").count() >= 1


def test_run_page_has_metrics_in_order_and_the_description_with_its_picture(shown: Shown) -> None:
    experiment = shown.client.get_experiment_by_name(NAME).experiment_id
    page = shown.open(f"experiments/{experiment}/runs/{shown.run_id}")
    page.get_by_text("skill_vs_naive_h1", exact=True).wait_for()
    names = page.get_by_role("row").all_inner_texts()
    metrics = [
        line.split()[0]
        for line in names
        if "".join(line.split()[:1]) in ("crps_bp_h1", "skill_vs_naive_h1", "seconds/train")
    ]
    assert metrics[:2] == ["skill_vs_naive_h1", "crps_bp_h1"]
    page.get_by_text("Show more", exact=True).first.click()
    # MLflow leaves out what a picture shows (alt), so it is found by its address.
    picture = page.locator("img[src*='-fan.svg']")
    picture.wait_for()
    assert picture.evaluate("e => e.decode().then(() => e.naturalWidth)") > 300
    expect(page.get_by_text("btc retrain")).to_be_visible()


def test_version_page_begins_with_the_decision_and_has_six_tags(shown: Shown) -> None:
    page = shown.open(f"models/{NAME}/versions/1")
    page.get_by_text("Champion since").wait_for()
    for tag in ("as_of", "decision", "finished", "model", "model_sha256", "snapshot_sha256"):
        expect(page.get_by_text(tag, exact=True).first).to_be_visible()
    version = shown.client.get_model_version(NAME, "1")
    assert len(version.tags) == 6


def test_two_runs_are_compared(shown: Shown) -> None:
    experiment = shown.client.get_experiment_by_name(f"{NAME}-backtest").experiment_id
    runs = shown.client.search_runs([experiment], "tags.model != ''")
    asked = json.dumps([run.info.run_id for run in runs[:2]])
    page = shown.open(f"compare-runs?runs={asked}&experiments={json.dumps([experiment])}")
    page.get_by_text("crps_bp_h1").first.wait_for()
    for run in runs[:2]:
        assert page.get_by_text(f"{run.data.metrics['crps_bp_h1']:g}").count()
