"""A whole retrain on a warm Prefect server, by stage, and its fit against the classroom fit."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.servers import btc, environment, prefect_server

LEARNING = ("ingest", "validate", "snapshot", "scale", "window", "train", "evaluate", "refit")
# Why a stage takes what it takes.
LEFT = {
    "train": "the recipe's networks as one batch: graph traced once, then updates on one core",
    "refit": "the same again on all candles, a graph of its own, since shapes differ",
    "evaluate": "forecasts of every test day, and the bootstrap of the intervals",
    "register": "MLflow writes the model's files and code, loads them once for the signature",
    "report": "five plots are drawn, and a page is rendered",
}


def run(source: str, last_day: dt.date) -> None:
    """Print wall time by stage, the share of orchestration and tracking, and the fits' ratio."""
    before = str(last_day - dt.timedelta(days=1))
    with tempfile.TemporaryDirectory() as name, prefect_server(Path(name) / "prefect") as api:
        home = Path(name) / "home"
        home.mkdir()
        env = environment(home, PREFECT_API_URL=api)
        first, _ = _retrain(source, "--as-of", before, env=env, cwd=home)
        # The first run made databases and caches; the second is a day like any other.
        wall, summary = _retrain(source, env=env, cwd=home)
        _, classroom = _retrain(source, "--preset", "assignment", env=env, cwd=home)
    seconds = summary["seconds"]
    learning = sum(seconds[stage] for stage in LEARNING)
    tracking = sum(seconds.values()) - learning
    libraries = _import_seconds()
    print(f"retrain, warm server: {wall:.1f} s; the first one of a new home {first:.1f} s")
    for stage, value in seconds.items():
        print(f"  {stage:<9} {value:6.2f} s  {LEFT.get(stage, '')}".rstrip())
    rest = wall - learning - tracking - libraries
    print(f"  data, learning and judging: {learning:.1f} s in {', '.join(LEARNING)}")
    print(f"  importing TensorFlow: {libraries:.1f} s, native libraries are mapped and initialised")
    print(f"  tracking and deciding: {tracking:.1f} s in the other stages")
    print(
        f"  the rest: {rest:.1f} s, importing Prefect and MLflow, about 0.1 s of calls to the "
        "server for each stage, and its last events at the end"
    )
    ours, theirs = seconds["train"], classroom["seconds"]["train"]
    print(f"train: default {ours:.1f} s, assignment {theirs:.1f} s, ratio {theirs / ours:.1f}")
    for text in (summary["verdict_text"], classroom["verdict_text"]):
        print(f"  {text}")


def _import_seconds() -> float:
    """Seconds that a new process takes to load Keras with TensorFlow: what any trainer pays."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import keras"], check=True, capture_output=True)
    return time.perf_counter() - start


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
