"""A whole retrain on a warm Prefect server, by stage, and its fit against the classroom fit."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.servers import btc, environment, prefect_server

LEARNING = ("ingest", "validate", "snapshot", "scale", "window", "train", "evaluate")
TRACKING = ("register", "report")


def run(source: str) -> None:
    """Print wall time by stage, the share of orchestration and tracking, and the fits' ratio."""
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name) / "prefect") as api:
        home = Path(name) / "home"
        home.mkdir()
        env = environment(home, PREFECT_API_URL=api)
        # The first run makes databases and caches; the second is a day like any other.
        _retrain(source, env=env, cwd=home)
        wall, summary = _retrain(source, env=env, cwd=home)
        _, classroom = _retrain(source, "--preset", "assignment", env=env, cwd=home)
    seconds = summary["seconds"]
    learning = sum(seconds[stage] for stage in LEARNING)
    tracking = sum(seconds[stage] for stage in TRACKING)
    print(f"retrain, warm server: {wall:.1f} s")
    for stage, value in seconds.items():
        print(f"  {stage:<9} {value:6.2f} s")
    rest = wall - learning - tracking
    print(f"  learning and judging {learning:.1f} s")
    print(f"  tracking (register, report) {tracking:.1f} s")
    print(f"  imports and orchestration {rest:.1f} s")
    print(f"  share of orchestration, tracking and imports {(wall - learning) / wall:.0%}")
    ours, theirs = seconds["train"], classroom["seconds"]["train"]
    print(f"train: default {ours:.1f} s, assignment {theirs:.1f} s, ratio {theirs / ours:.1f}")
    for text in (summary["verdict_text"], classroom["verdict_text"]):
        print(f"  {text}")


def _retrain(
    source: str, *arguments: str, env: dict[str, str], cwd: Path
) -> tuple[float, dict[str, Any]]:
    target = cwd / "summary.json"
    command = ("retrain", "--source", source, *arguments, "--json", str(target))
    start = time.perf_counter()
    done = btc(*command, env=env, cwd=cwd, timeout=900)
    wall = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(done.stderr)
    return wall, json.loads(target.read_text())
