"""`btc up` over a bad day and a good one: what it tells, and servers that end under it."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.servers import btc
from tests.service import btc_up
from tests.simulation.days import RECIPE
from tests.tasks.service.test_alerts import Receiver
from tests.tasks.service.test_power_cut import write_candles

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(900)]


def spoil(path: Path) -> None:
    """A price below zero."""
    lines = path.read_text().splitlines()
    names, last = lines[0].split(","), lines[-2].split(",")
    last[names.index("close")] = "-5"
    path.write_text("\n".join([*lines[:-2], ",".join(last), lines[-1]]))


def test_a_bad_day_is_told_once_and_so_is_its_end_and_an_ended_server_comes_back(
    tmp_path: Path,
) -> None:
    Receiver.got, Receiver.status = [], 200
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    hook = f"http://127.0.0.1:{receiver.server_address[1]}/hook"
    now = dt.datetime.now(dt.UTC)
    path = write_candles(tmp_path / "data", now.date() - dt.timedelta(days=1))
    good = path.read_text()
    config: dict[str, Any] = {
        "source": f"csv:{path}",
        "recipe": RECIPE | {"training": {"kind": "windows", "epochs": 1}},
        "judging": {"bootstrap_samples": 100},
    }
    home = tmp_path / "home"
    with btc_up(home) as up:
        for kind, address in (("webhook", hook), ("ping", f"{hook}/ping")):
            assert btc("alerts", "add", kind, address, env=up.env, cwd=home).returncode == 0
        spoil(path)
        up.wait_for(up.schedule("retrain/daily-retrain", config, now), "FAILED")
        up.wait(lambda: "run retrain" in topics(), 120)
        path.write_text(good)
        up.wait_for(up.schedule("retrain/daily-retrain", config, now), "COMPLETED")
        up.wait(lambda: any(where.endswith("/ping") for where, _ in Receiver.got), 120)

        mlflow = json.loads((home / "service" / "state.json").read_text())["children"]["mlflow"]
        os.kill(mlflow["pid"], signal.SIGKILL)
        up.wait(lambda: "mlflow ended (-9); it is started again" in up.said, 60)
        address = json.loads(btc("status", "--json", env=up.env, cwd=home).stdout)["addresses"]
        up.wait(lambda: is_well(f"{address['mlflow']}/health"), 120)
    receiver.shutdown()
    assert sorted(topics()) == ["champion BTC/USD", "run retrain"]
    told = [body["text"] for where, body in Receiver.got if not where.endswith("/ping")]
    [failed] = [text for text in told if "retrain failed" in text]
    assert "close" in failed and "What to do: " in failed and "/runs/flow-run/" in failed
    assert sum("well again: run retrain" in text for text in told) == 1
    assert sum(where.endswith("/ping") for where, _ in Receiver.got) == 1


def topics() -> list[str]:
    return [body["alarm"]["topic"] for _, body in Receiver.got if "alarm" in body]


def is_well(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False
