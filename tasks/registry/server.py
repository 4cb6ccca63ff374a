"""MLflow's own server, for looking at the runs that are kept in BTC_HOME."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import requests

from models.errors import RegistryError
from tasks.registry.connection import tracking_uri

START_SECONDS = 120


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_mlflow(base: str) -> subprocess.Popen[bytes]:
    """Start MLflow's server at a local address, for this machine alone."""
    port = base.rpartition(":")[2]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port]
    command += ["--workers", "1"]
    # Its job runners are for language models, and would be five more processes. The address may
    # hold a password, which everybody on this machine could read in the command.
    env = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": tracking_uri(),
    }
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_until_ready(base: str, process: subprocess.Popen[bytes]) -> None:
    """Return when the server answers; RegistryError where it ends, or takes two minutes."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RegistryError(
                f"MLflow's server did not start (status {process.returncode}); try another --port"
            )
        try:
            if requests.get(f"{base}/health", timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.3)
    raise RegistryError(f"MLflow's server did not answer at {base} in {START_SECONDS} s")
