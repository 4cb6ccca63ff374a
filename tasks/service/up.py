"""`btc up`: a Prefect server, an MLflow server, the deployments and a worker, watched over."""

from __future__ import annotations

import datetime as dt
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from models.errors import InputError, ServiceError
from tasks.secrets import hide
from tasks.service.processes import (
    BIN,
    REPO,
    Child,
    check_port,
    is_running,
    read_state,
    seconds_since_boot,
    start_child,
    state_path,
    wait_until_answers,
    write_state,
)
from tasks.service.runs import (
    POOL,
    answers,
    crash_dead_runs,
    delete_renamed,
    is_worker_online,
    next_run,
    recent_runs,
)
from tasks.storage.database import check_database
from tasks.storage.files import write_text
from tasks.storage.home import home, make_private

LOOK_SECONDS, SWEEP_SECONDS, ALARM_SECONDS = 3, 30, 60
WORKER_SECONDS, PLAN_SECONDS = 180, 60
CLOCK_SECONDS = 300
"""By how much the clock may be set back before runs are planned anew."""
# A server that ends this often within ten minutes is not started again.
RESTARTS, RESTART_SECONDS = 5, 600

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What `btc up` is asked: where servers listen, and what the deployments read."""

    host: str = "127.0.0.1"
    prefect_port: int = 4200
    mlflow_port: int = 5000
    source: str | None = None
    symbols: str | None = None
    """One symbol, or several with commas between them."""
    jobs: int | None = None
    """How many of them at a time."""


@dataclass
class Service:
    """What `btc up` has started; `watch` stays until it is told to end."""

    wanted: Wanted
    say: Say
    children: list[Child] = field(default_factory=list)
    addresses: dict[str, str] = field(default_factory=dict)
    restarts: list[float] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    clock: float = field(default_factory=lambda: time.time() - seconds_since_boot())
    unplanned: bool = False
    unwritten: bool = False
    gave_up: str = ""
    ui_api: str = ""

    def start(self) -> None:
        """Start everything in turn, and wait until all of it answers."""
        from tasks.registry.connection import check_tracking

        self._refuse_leftovers()
        check_database()
        check_tracking()
        self._start_prefect()
        self._start_mlflow()
        for name in crash_dead_runs(self.api, at_start=True):
            self.say(f"{name} was at work when everything stopped; it is marked as crashed")
        self._deploy()
        self._start_worker()
        for name, address in self.addresses.items():
            self.say(f"{name:<8} {address}")
        if found := self._wait_for_plan():
            self.say(f"next run {found[0]} at {found[1]:%Y-%m-%d %H:%M} UTC")
        for run in recent_runs(self.api):
            self.told[run["id"]] = run["state"]["id"]

    @property
    def api(self) -> str:
        """Address of the Prefect API."""
        return os.environ.get("PREFECT_API_URL") or f"{self.addresses['prefect']}/api"

    def _refuse_leftovers(self) -> None:
        left = [
            f"{name} (process {int(process['pid'])})"
            for name, process in (read_state() or {}).get("children", {}).items()
            if is_running(process)
        ]
        if left:
            raise InputError(
                f"an earlier `btc up` ended without stopping {', '.join(left)}; "
                "`btc down` stops what is left"
            )

    def _start_prefect(self) -> None:
        if named := os.environ.get("PREFECT_API_URL"):
            if not answers(named):
                raise InputError(f"PREFECT_API_URL: no Prefect server answers at {named}")
            self.addresses["prefect"] = hide(named).removesuffix("/api")
            return
        if os.environ.get("PREFECT_HOME") == str(home() / "prefect"):
            make_private(home() / "prefect" / "prefect.db")
        host, port = self.wanted.host, self.wanted.prefect_port
        check_port("prefect", host, port)
        # Its pages ask this address, which Prefect believes to be at port 4200.
        self.ui_api = f"http://{reachable(host)}:{port}/api"
        command = [str(BIN / "prefect"), "server", "start", "--host", host, "--port", str(port)]
        self._serve("prefect", command, f"http://{reachable(host)}:{port}", "/api")

    def _start_mlflow(self) -> None:
        if named := os.environ.get("MLFLOW_TRACKING_URI"):
            self.addresses["mlflow"] = hide(named)
            return
        host, port = self.wanted.host, self.wanted.mlflow_port
        check_port("mlflow", host, port)
        from tasks.registry.connection import make_store

        make_store(home() / "mlflow.db")
        # It shows the file that runs write to; a run goes on when it stops.
        store = f"sqlite:///{home() / 'mlflow.db'}"
        command = [str(BIN / "mlflow"), "server", "--host", host, "--port", str(port)]
        command += ["--workers", "1", "--backend-store-uri", store]
        command += ["--default-artifact-root", (home() / "mlartifacts").as_uri()]
        self._serve("mlflow", command, f"http://{reachable(host)}:{port}", "")

    def _serve(self, name: str, command: list[str], address: str, path: str) -> None:
        child = self._add(name, command)
        self.addresses[name] = address
        wait_until_answers(child, address + path)

    def _deploy(self) -> None:
        deployments = yaml.safe_load(_prefect_file().read_text(encoding="utf-8"))
        names = [name.strip() for name in (self.wanted.symbols or "").split(",") if name.strip()]
        given: dict[str, Any] = {"source": self.wanted.source}
        if names:
            given |= {"symbol": names[0]} if len(names) == 1 else {"symbols": names}
        if self.wanted.jobs:
            given["workers"] = {"jobs": self.wanted.jobs}
        for deployment in deployments["deployments"]:
            config = deployment["parameters"]["config"]
            config |= {key: value for key, value in given.items() if value is not None}
        path = home() / "service" / "prefect.yaml"
        write_text(yaml.safe_dump(deployments, sort_keys=False), path)
        self._run_prefect("work-pool", "create", POOL, "--type", "process", "--overwrite")
        self._run_prefect("deploy", "--all", "--prefect-file", str(path))
        delete_renamed(self.api)

    def _start_worker(self) -> None:
        name = f"{POOL}-{socket.gethostname()}"
        command = [str(BIN / "prefect"), "worker", "start", "--pool", POOL, "--limit", "1"]
        child = self._add("worker", [*command, "--name", name])
        deadline = time.monotonic() + WORKER_SECONDS
        while not is_worker_online(self.api):
            if child.process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"the worker did not start; see {child.log}")
            time.sleep(0.5)

    def _wait_for_plan(self) -> tuple[str, dt.datetime] | None:
        """The next run, which the server plans some seconds after the deployments are there."""
        deadline = time.monotonic() + PLAN_SECONDS
        while (found := next_run(self.api)) is None and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    def _add(self, name: str, command: list[str]) -> Child:
        child = start_child(name, command, self._env())
        self.children.append(child)
        write_state(self.addresses, self.children)
        return child

    def _env(self) -> dict[str, str]:
        own = {
            "BTC_HOME": str(home()),
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
            # Prefect itself deletes old events alone.
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            # For language models, and seven processes of 250 MB.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        if self.ui_api:
            own["PREFECT_SERVER_UI_API_URL"] = os.environ.get(
                "PREFECT_SERVER_UI_API_URL", self.ui_api
            )
        if "prefect" in self.addresses:
            own["PREFECT_API_URL"] = self.api
        return dict(os.environ) | own

    def _run_prefect(self, *arguments: str) -> None:
        done = subprocess.run(
            [str(BIN / "prefect"), "--no-prompt", *arguments],
            env=self._env() | {"PWD": str(REPO)},
            cwd=REPO,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode:
            said = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
            last = next((line for line in reversed(said) if line), "it said nothing")
            raise ServiceError(f"prefect {' '.join(arguments[:2])} failed: {last}")

    def watch(self, check_alarms: Callable[[str], list[str]]) -> None:
        """Print a line an event, sweep up dead runs, restart what ends, until interrupted.

        `check_alarms` tells people what is new, also why this ends: ServiceError is raised where
        something ends again and again.
        """
        swept = alarmed = 0.0
        while True:
            self._try(self._restart_ended)
            self._try(self._write_state)
            if self.gave_up:
                self._try(lambda: self._tell_lines(check_alarms(self.gave_up)))
                raise ServiceError(self.gave_up)
            self._try(self._mind_clock)
            self._try(self._tell_events)
            if time.monotonic() - swept > SWEEP_SECONDS:
                swept = time.monotonic()
                self._try(self._sweep)
            if time.monotonic() - alarmed > ALARM_SECONDS:
                alarmed = time.monotonic()
                self._try(lambda: self._tell_lines(check_alarms("")))
            time.sleep(LOOK_SECONDS)

    def _try(self, look: Callable[[], None]) -> None:
        """Do one thing of a look; where it fails, the others are done all the same."""
        try:
            look()
        except Exception as error:  # noqa: BLE001, what is watched may fail in any way
            self._line(" ".join(hide(error).split())[:500])

    def _sweep(self) -> None:
        names = crash_dead_runs(self.api)
        self._tell_lines(f"{name}: its process is gone; it is marked as crashed" for name in names)

    def _mind_clock(self) -> None:
        """Plan anew where the clock was set back: Prefect would wait until the old time comes."""
        before, self.clock = self.clock, time.time() - seconds_since_boot()
        if before - self.clock >= CLOCK_SECONDS:
            back = dt.timedelta(seconds=round(before - self.clock))
            self._line(f"the clock was set back by {back}; the runs are planned anew")
            self.unplanned = True
            for child in self.children:
                if child.name == "prefect":
                    child.stop()
                    self._restart_ended()
        if self.unplanned:  # also where an earlier look could not
            self._deploy()
            self._wait_for_plan()
            self.unplanned = False

    def _tell_events(self) -> None:
        for run in reversed(recent_runs(self.api)):
            if self.told.get(run["id"]) != run["state"]["id"]:
                self.told[run["id"]] = run["state"]["id"]
                message = run["state"].get("message") or ""
                self._line(f"{run['flow']} {run['name']}: {run['state']['name']} {message}".strip())

    def _tell_lines(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._line(text)

    def _line(self, text: str) -> None:
        self.say(f"{dt.datetime.now(dt.UTC):%H:%M:%S}  {text}")

    def _restart_ended(self) -> None:
        for place, child in enumerate(self.children):
            if child.process.poll() is None:
                continue
            now = time.monotonic()
            self.restarts = [at for at in self.restarts if now - at < RESTART_SECONDS]
            if len(self.restarts) >= RESTARTS:
                self.gave_up = f"{child.name} ends again and again; see {child.log}"
                return
            self._line(f"{child.name} ended ({child.process.returncode}); it is started again")
            if child.name != "worker":  # A run may go on without its worker.
                child.stop()
            again = start_child(child.name, child.command, child.env)
            self.children[place] = again
            self.restarts.append(now)
            self.unwritten = True
            if child.name == "prefect":
                self._try(partial(wait_until_answers, again, self.api))

    def _write_state(self) -> None:
        """Say which processes run now, again at each look while that fails, as on a full disk."""
        if self.unwritten:
            write_state(self.addresses, self.children)
            self.unwritten = False

    def stop(self) -> None:
        """End everything that was started, the worker first, and mark the runs that this ends.

        Where it gave up, `btc alerts check` goes on to know of the servers that are missing.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for child in reversed(self.children):
            child.stop()
            if child.name == "worker":
                try:
                    crash_dead_runs(self.api, at_start=True)
                except ServiceError as error:
                    self.say(str(error))
        if not self.gave_up:
            state_path().unlink(missing_ok=True)


def reachable(host: str) -> str:
    """The address of this machine at which a server that listens on `host` is reached."""
    everywhere = ("0.0.0.0", "::")  # nosec B104  # compared with, nothing is bound
    return "127.0.0.1" if host in everywhere else host


def _prefect_file() -> Path:
    path = REPO / "prefect.yaml"
    if not path.exists():
        raise InputError(f"btc up: no deployments at {path}; run it from a checkout")
    return path
