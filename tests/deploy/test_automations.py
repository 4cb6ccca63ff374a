"""deploy/automations.yaml on a real Prefect server, with a real worker and receiver."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.servers import BIN, REPO, call, environment, prefect_server, running
from tests.service import HOLDER, schedule
from tests.tasks.service.test_alerts import Receiver, receiving

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(900)]
OVERDUE_SECONDS = 20


@pytest.fixture
def address() -> Iterator[str]:
    """Address of an HTTP receiver."""
    with receiving() as address:
        yield address


def wait_until(is_so: Callable[[], object], seconds: float, what: str) -> float:
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < seconds, what
        time.sleep(0.2)
    return time.monotonic() - began


def documented(env: dict[str, str], cwd: Path, address: str) -> str:
    """Run the lines of the operations page about automations, one after the other."""
    page = (REPO / "docs" / "operations.md").read_text()
    block = page[page.index("```sh\npython -c") :].split("```")[1].removeprefix("sh\n")
    said = ""
    for line in block.splitlines():
        line = line.replace("https://hooks.example.org/abc", address)
        line = line.replace("ID/'", f"{said.strip()}/'")
        done = subprocess.run(
            ["sh", "-c", line], env=env, cwd=cwd, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout
    return said


def test_failures_late_runs_and_missing_heartbeats_are_told(tmp_path: Path, address: str) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(textwrap.dedent(HOLDER))
    home, flag = tmp_path / "home", tmp_path / "held"
    home.mkdir()
    shown = {"PREFECT_UI_URL": "http://prefect.example.org"}
    with prefect_server(tmp_path / "prefect", **shown) as api:
        env = environment(home, PREFECT_API_URL=api)

        def state(run_id: str) -> dict[str, Any]:
            found = requests.get(f"{api}/flow_runs/{run_id}", timeout=30).json()
            return dict(found["state"])

        # An hour is too long for a test.
        text = (REPO / "deploy" / "automations.yaml").read_text()
        assert text.count("within: 3600") == 1
        (tmp_path / "deploy").mkdir()
        (tmp_path / "deploy" / "automations.yaml").write_text(
            text.replace("within: 3600", f"within: {OVERDUE_SECONDS}")
        )
        assert "Created 3 automation(s)" in documented(env, tmp_path, address)
        prefect = str(BIN / "prefect")
        for words in (["work-pool", "create", "btc", "--type", "process"], ["deploy", "--all"]):
            call(
                "env",
                *(f"{k}={v}" for k, v in env.items()),
                prefect,
                "--no-prompt",
                *words,
                cwd=REPO,
            )

        now = dt.datetime.now(dt.UTC)
        nothing = {"source": f"csv:{tmp_path / 'none.csv'}"}
        run_id = schedule(api, "retrain/daily-retrain", nothing, now - dt.timedelta(minutes=5))
        took = wait_until(lambda: Receiver.got, 120, "nothing was told of a late run")
        print(f"late run: told {took:.0f} s after it was asked for")
        print(Receiver.got[-1][1]["text"])
        assert "retrain has not run" in Receiver.got[-1][1]["text"]

        more = {"PYTHONPATH": str(hooks), "BTC_TEST_FLAG": str(flag)}
        more |= {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
        worker = [prefect, "worker", "start", "--pool", "btc", "--limit", "1"]
        with running(worker, env=env | more, cwd=REPO, log=tmp_path / "worker.log"):
            took = wait_until(lambda: state(run_id)["type"] == "FAILED", 180, "it did not run")
            took = wait_until(lambda: len(Receiver.got) == 2, 60, "nothing was told of a failure")
            print(f"failure: told after {took:.1f} s")
            print(Receiver.got[-1][1]["text"])
        told = Receiver.got[-1][1]["text"]
        for part in (
            "retrain Failed",
            f"Due {now:%Y-%m-%d}",
            "none.csv",
            "What to do",
            f"See: {shown['PREFECT_UI_URL']}/runs/flow-run/{run_id}",
        ):
            assert part in told, part

        more |= {"BTC_TEST_HOLD": "tasks.preflight.check_request"}
        log = tmp_path / "worker.log"
        with log.open("w") as out:
            process = subprocess.Popen(worker, env=env | more, cwd=REPO, stdout=out, stderr=out)
        run_id = schedule(api, "retrain/daily-retrain", {"source": "sample"}, now)
        wait_until(flag.exists, 180, "the run did not begin")
        time.sleep(5)
        family = [*psutil.Process(process.pid).children(recursive=True), process]
        for one in family:
            os.kill(one.pid, signal.SIGKILL)
        process.wait()
        took = wait_until(
            lambda: state(run_id)["type"] == "CRASHED", 240, "never marked as crashed"
        )
        print(f"heartbeat: crashed {took:.0f} s after the power cut")
        assert "no heartbeat" in state(run_id)["message"]
        took = wait_until(lambda: len(Receiver.got) == 3, 60, "nothing was told of the crash")
        print(Receiver.got[-1][1]["text"])
        time.sleep(10)
        assert [body["text"].splitlines()[0] for _, body in Receiver.got] == [
            "btc-daily: retrain has not run",
            "btc-daily: retrain Failed",
            "btc-daily: retrain Crashed",
        ]
