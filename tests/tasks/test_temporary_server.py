"""The Prefect server of one command: it is up when needed, and gone with the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.servers import REPO, environment

SCRIPT = """
import os, sys
from tasks.storage.home import prepare_environment
prepare_environment()
from tasks.temporary_server import start_temporary_server
wait = start_temporary_server()
if wait:
    wait()
print(os.environ.get("PREFECT_API_URL", "none"), flush=True)
if sys.argv[1:] == ["wait"]:
    sys.stdin.read()
"""


def answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).ok
    except requests.RequestException:
        return False


def start(home: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        env=environment(home, PYTHONPATH=str(REPO), **more),
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.server
def test_server_ends_with_its_command_even_when_that_is_killed(tmp_path: Path) -> None:
    command = start(tmp_path, "wait")
    assert command.stdout
    url = command.stdout.readline().strip()
    assert answers(url)
    os.kill(command.pid, signal.SIGKILL)
    command.wait()
    deadline = time.monotonic() + 30
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not answers(url)


def test_no_server_is_started_where_the_user_names_one(tmp_path: Path) -> None:
    named = start(tmp_path, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert named.communicate(timeout=60)[0].strip() == "http://127.0.0.1:9/api"
    own = start(tmp_path, PREFECT_HOME=str(tmp_path / "own"))
    assert own.communicate(timeout=60)[0].strip() == "none"
