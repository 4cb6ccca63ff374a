"""Ctrl-C in `btc up`, as a terminal sends it: all of its own ends, in time, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.service import btc_up

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(600)]


def test_ctrl_c_ends_all_that_was_started(tmp_path: Path) -> None:
    home = tmp_path / "home"
    other = subprocess.Popen(["sleep", "600"])
    with btc_up(home) as up:
        family = psutil.Process(up.process.pid).children(recursive=True)
        state = json.loads((home / "service" / "state.json").read_text())
        started = {int(child["pid"]) for child in state["children"].values()}
        assert started <= {process.pid for process in family} and len(started) == 3
        began = time.monotonic()
        os.killpg(up.process.pid, signal.SIGINT)
        status = up.process.wait(60)
        took = time.monotonic() - began
        _, left = psutil.wait_procs(family, 1)
    assert left == []
    # It is told to end, and that is how it ends; five seconds where nothing else is at work.
    assert status == 0 and took < 15, (status, took, up.said)
    print(f"{took:.1f} s")
    assert up.said.splitlines()[-1] == "stopping"
    assert not (home / "service" / "state.json").exists()
    assert other.poll() is None  # nor what it did not start
    other.kill()
    other.wait()
