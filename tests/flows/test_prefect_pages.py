"""Prefect's own pages in a browser, of a retrain that ran on a real server."""

from __future__ import annotations

import pytest
import requests
from playwright.sync_api import expect

from tests.browser import open_browser
from tests.flows.conftest import Run

pytestmark = pytest.mark.server

NAME = "retrain 2025-06-30 gru + regression"


def test_run_page_and_report_show_what_the_run_found(sample_run: Run, prefect_api: str) -> None:
    base = prefect_api.removesuffix("/api")
    asked = {"flow_runs": {"name": {"any_": [NAME]}}, "sort": "START_TIME_ASC"}
    found = requests.post(f"{prefect_api}/flow_runs/filter", json=asked, timeout=30).json()
    run = next(run for run in found if run["parameters"]["config"]["recipe"]["units"] == 4)
    asked = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    artifacts = requests.post(f"{prefect_api}/artifacts/filter", json=asked, timeout=30).json()
    by_key = {artifact["key"]: artifact["id"] for artifact in artifacts}
    with open_browser(width=1440, height=1000) as page:
        page.goto(f"{base}/runs/flow-run/{run['id']}")
        expect(page.get_by_text(NAME).first).to_be_visible()
        expect(page.get_by_text("Completed").first).to_be_visible()
        page.goto(f"{base}/artifacts/artifact/{by_key['btc-usd-synthetic-report']}")
        expect(page.get_by_text("Where in that range: nobody knows")).to_be_visible()
        expect(page.get_by_text("SYNTHETIC").first).to_be_visible()
        page.goto(f"{base}/artifacts/artifact/{by_key['btc-usd-synthetic-forecast']}")
        expect(page.get_by_text("90 % band", exact=True)).to_be_visible()
        rows = page.get_by_role("row").all_inner_texts()
        assert len(rows) == 3 and "2025-07-01" in rows[1] and "–" in rows[1]
