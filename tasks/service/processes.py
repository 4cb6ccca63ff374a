"""The processes that `btc up` starts: their commands, ports and ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from models.errors import InputError, ServiceError
from tasks.service.runs import answers
from tasks.storage.files import write_text
from tasks.storage.home import home, make_folder, make_private

BIN = Path(sys.executable).parent
REPO = Path(__file__).parents[2]
START_SECONDS, END_SECONDS = 180, 20
LOG_BYTES = 20_000_000


@dataclass
class Child:
    """A process that runs in the background, with its log file."""

    name: str
    command: list[str]
    env: dict[str, str]
    process: subprocess.Popen[bytes]
    stopped: bool = False

    @property
    def log(self) -> Path:
        """What the process says."""
        return log_path(self.name)

    def stop(self) -> None:
        """End it and all that it started, once: the system gives the number out again."""
        if not self.stopped:
            stop(self.process.pid)
            self.stopped = True


def log_path(name: str) -> Path:
    """The log file of a process."""
    return home() / "service" / f"{name}.log"


def start_child(name: str, command: list[str], env: dict[str, str]) -> Child:
    """Start a process in a session of its own, so that a Ctrl-C reaches `btc up` alone."""
    path = log_path(name)
    make_folder(path.parent)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    make_private(path)  # What a library says of an error may hold anything.
    with path.open("ab") as log:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=home(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(name, command, env, process)


def wait_until_answers(child: Child, url: str) -> None:
    """Wait for a server; raises ServiceError with the last line of its log if it ends instead."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(url):
        if child.process.poll() is not None or time.monotonic() > deadline:
            raise ServiceError(_explain(child))
        time.sleep(0.2)


def _explain(child: Child) -> str:
    text = child.log.read_text(encoding="utf-8", errors="replace")[-20_000:]
    if "Can't locate revision" in text or "out-of-date database schema" in text:
        return (
            f"{child.name}: its database in {home()} was made by another version; install the "
            "version that made it, or restore a backup from before (`btc restore FILE`)"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{child.name} did not start: {lines[-1] if lines else 'it said nothing'} ({child.log})"


def check_port(name: str, host: str, port: int) -> None:
    """Raise InputError unless a server can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"{name}: {host}:{port} cannot be used ({error.strerror}); stop what listens "
                f"there, or name another with --{name}-port"
            ) from error


def stop(pid: int) -> None:
    """End a process and all that it started: first by asking, then by force.

    Also where the process itself is gone and others of its group are left, as a killed server's.
    """
    family = {found for found in psutil.process_iter() if _group(found.pid) == pid}
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        family |= {*root.children(recursive=True), root}
    for process in family:
        _signal(process, kill=False)
    _, left = psutil.wait_procs(family, END_SECONDS)
    for process in left:
        _signal(process, kill=True)
    psutil.wait_procs(left, END_SECONDS)


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def seconds_since_boot() -> float:
    """A clock that nobody sets, and that goes on while the machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def _signal(process: psutil.Process, *, kill: bool) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill() if kill else process.terminate()


def state_path() -> Path:
    """Where `btc up` keeps what it started."""
    return home() / "service" / "state.json"


def write_state(addresses: dict[str, str], children: list[Child]) -> None:
    """Keep addresses and processes, for `btc status` and `btc down`."""
    started = {child.name: describe(child.process.pid) for child in children}
    state = {"up": describe(os.getpid()), "addresses": addresses, "children": started}
    write_text(json.dumps(state, indent=2), state_path())


def read_state() -> dict[str, Any] | None:
    """What `btc up` keeps, None where it never ran or ended in order."""
    try:
        return dict(json.loads(state_path().read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def stop_earlier() -> list[str]:
    """Stop what an earlier `btc up` left running; returns the names of what was stopped."""
    state: dict[str, Any] = read_state() or {}
    found = [("up", state["up"])] if "up" in state else []
    found += sorted(state.get("children", {}).items(), reverse=True)
    stopped = []
    for name, process in found:
        if is_running(process):
            stop(int(process["pid"])) if name != "up" else _ask_to_end(process)
            stopped.append(name)
    state_path().unlink(missing_ok=True)
    return stopped


def _ask_to_end(process: dict[str, Any]) -> None:
    """Let `btc up` stop its own processes, and stop it by force if it does not."""
    os.kill(int(process["pid"]), signal.SIGTERM)
    deadline = time.monotonic() + 120
    while is_running(process) and time.monotonic() < deadline:
        time.sleep(0.2)
    if is_running(process):
        os.kill(int(process["pid"]), signal.SIGKILL)


def describe(pid: int) -> dict[str, Any]:
    """A process by its id and command, since the system gives ids out again.

    Not by its start, which the system reckons from the clock: that may be set.
    """
    return {"pid": pid, "command": _command(pid)}


def is_running(process: dict[str, Any]) -> bool:
    """Whether a described process still runs."""
    return bool(process["command"]) and _command(int(process["pid"])) == process["command"]


def _command(pid: int) -> list[str]:
    try:
        found = psutil.Process(pid)
        return [] if found.status() == psutil.STATUS_ZOMBIE else found.cmdline()
    except psutil.NoSuchProcess:
        return []
