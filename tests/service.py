"""`btc up` for tests: on free ports, with runs asked for through the API, and killed as a whole."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
from requests.auth import HTTPBasicAuth

from tests.planted import planted_settings
from tests.servers import BIN, environment, free_port

# Loaded by every Python process whose PYTHONPATH names its folder. The function that BTC_TEST_HOLD
# names runs, touches the file BTC_TEST_FLAG, and never returns.
HOLDER = """
import importlib.abc, importlib.machinery, os, pathlib, sys, time
name = os.environ.get("BTC_TEST_HOLD", "")
module_name, _, function = name.rpartition(".")

class Loader(importlib.abc.Loader):
    def __init__(self, inner):
        self.inner = inner
    def create_module(self, spec):
        return self.inner.create_module(spec)
    def exec_module(self, module):
        self.inner.exec_module(module)
        original = getattr(module, function)
        def run_and_stay(*args, **kwargs):
            original(*args, **kwargs)
            pathlib.Path(os.environ["BTC_TEST_FLAG"]).touch()
            time.sleep(3600)
        setattr(module, function, run_and_stay)

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, asked, path, target=None):
        if asked != module_name:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(asked, path, target)
            if spec is not None:
                spec.loader = Loader(spec.loader)
                return spec

if name:
    sys.meta_path.insert(0, Finder())
"""


class Up:
    """A running `btc up`."""

    def __init__(self, home: Path, *arguments: str, hold: str = "", login: str = "") -> None:
        self.home, self.port = home, free_port()
        self.auth = HTTPBasicAuth(*login.split(":")) if login else None
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.flag = home.parent / "held"
        self.log = home.parent / "up.log"
        hooks = home.parent / "hooks"
        hooks.mkdir(parents=True, exist_ok=True)
        (hooks / "sitecustomize.py").write_text(textwrap.dedent(HOLDER))
        self.flag.unlink(missing_ok=True)
        more = {"PYTHONPATH": str(hooks), "BTC_TEST_HOLD": hold, "BTC_TEST_FLAG": str(self.flag)}
        self.env = environment(home, **(more if hold else {}))
        self.env.pop("HOME")
        self.env |= planted_settings()
        names = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING") if login else ()
        self.env |= dict.fromkeys(names, login)
        ports = ("--prefect-port", str(self.port), "--mlflow-port", str(free_port()))
        home.mkdir(exist_ok=True)
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [str(BIN / "btc"), "up", *ports, *arguments],
                env=self.env,
                cwd=home,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.wait(lambda: "next run" in self.said, 240)

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait(self, is_so: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > deadline or self.process.poll() is not None:
                logs = [path.read_text()[-2000:] for path in self.home.glob("service/*.log")]
                raise TimeoutError("\n".join([self.said, *logs]))
            time.sleep(0.3)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        method = "GET" if body is None else "POST"
        address = f"{self.api}{path}"
        reply = requests.request(method, address, json=body, auth=self.auth, timeout=30)
        reply.raise_for_status()
        return reply.json()

    def schedule(self, name: str, config: dict[str, Any], at: dt.datetime) -> str:
        """Ask for a run of the deployment of that name, scheduled at a moment; returns its id."""
        return schedule(self.api, name, config, at, self.auth)

    def state(self, run_id: str) -> str:
        return str(self.ask(f"/flow_runs/{run_id}")["state"]["type"])

    def wait_for(self, run_id: str, state: str, seconds: float = 300) -> None:
        self.wait(lambda: self.state(run_id) in (state, "FAILED", "CRASHED", "COMPLETED"), seconds)
        found = self.ask(f"/flow_runs/{run_id}")["state"]
        assert found["type"] == state, found

    def cut_power(self) -> None:
        """Kill everything at once, so that nobody can say goodbye."""
        root = psutil.Process(self.process.pid)
        family = [*root.children(recursive=True), root]
        for process in family:
            os.kill(process.pid, signal.SIGKILL)
        psutil.wait_procs(family, 30)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(120)


def schedule(
    api: str,
    name: str,
    config: dict[str, Any],
    at: dt.datetime,
    auth: HTTPBasicAuth | None = None,
) -> str:
    session = requests.Session()
    session.auth = auth
    deployment = session.get(f"{api}/deployments/name/{name}", timeout=30).json()
    body = {
        "state": {
            "type": "SCHEDULED",
            "state_details": {"scheduled_time": at.isoformat()},
        },
        "parameters": {"config": config},
    }
    address = f"{api}/deployments/{deployment['id']}/create_flow_run"
    # The server answers 503 while its SQLite file is locked, on a busy machine.
    deadline = time.monotonic() + 60
    while (reply := session.post(address, json=body, timeout=30)).status_code == 503:
        assert time.monotonic() < deadline, reply.text
        time.sleep(1)
    reply.raise_for_status()
    return str(reply.json()["id"])


@contextmanager
def btc_up(home: Path, *arguments: str, hold: str = "", login: str = "") -> Iterator[Up]:
    up = Up(home, *arguments, hold=hold, login=login)
    try:
        yield up
    finally:
        up.stop()
