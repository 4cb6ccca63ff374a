"""`btc up` with a password before Prefect, set as docs/operations.md says."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import requests

from tests.servers import btc
from tests.service import btc_up
from tests.simulation.days import RECIPE

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(600)]


def test_strangers_stay_out_and_the_day_is_done(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with btc_up(home, login="admin:aSecretOfOurs") as up:
        for auth in (None, ("admin", "wrong")):
            reply = requests.post(f"{up.api}/flow_runs/filter", json={}, auth=auth, timeout=30)
            assert reply.status_code == 401
        config = {"source": "sample", "recipe": RECIPE, "as_of": "2025-06-30"}
        run_id = up.schedule("retrain/daily-retrain", config, dt.datetime.now(dt.UTC))
        up.wait_for(run_id, "COMPLETED")
        up.wait(lambda: "Completed" in up.said, 60)
        status = btc("status", env=up.env, cwd=home)
        assert "retrain" in status.stdout and "Traceback" not in status.stderr
        logs = "".join(path.read_text() for path in home.glob("service/*.log"))
        assert "aSecretOfOurs" not in up.said + status.stdout + status.stderr + logs
