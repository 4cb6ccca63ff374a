"""Ten years of days: a real retrain on top of 3,650 days against one on top of 100."""

from __future__ import annotations

import json
import os
import resource
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.history import NAME, multiply
from bench.service import size_of
from models.data.sample import make_sample
from tests.servers import btc, environment

N_DAYS = (100, 3650)
LOOKS = (("ledger",), ("models",), ("status",), ("clean", "--dry-run"))
# What is asked of ten years: bytes, seconds of `btc ledger`, and a day against the hundredth.
MOST_BYTES, MOST_SECONDS, MOST_SLOWER = 2e9, 3.0, 1.2


@dataclass(frozen=True)
class Measured:
    """What a day costs on top of a history: (wall, CPU) seconds, and bytes."""

    n_days: int
    n_bytes: int
    index_bytes: int
    day: tuple[float, float]
    stages: dict[str, float]
    looks: dict[str, tuple[float, float]]


def run(candles: pd.DataFrame | None = None) -> None:
    """Print size and seconds after 100 and after 3,650 days, and how they meet the bars."""
    if candles is None:
        candles = make_sample(pd.Timestamp("2025-06-30").date(), n_days=max(N_DAYS) + 1500)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        csv = root / "candles.csv"
        dates = candles["open_time"].dt.date
        candles.assign(date=dates).drop(columns="open_time").to_csv(csv, index=False)
        asked = ("retrain", "--source", f"csv:{csv}", "--as-of")
        _measure(root / "real", *asked, str(dates.iloc[-2]))
        last = (*asked, str(dates.iloc[-1]))
        few, many = (_look(root, n_days, candles, last) for n_days in N_DAYS)
        # The real homes have a second run in Prefect's history, this one has the first alone.
        first = size_of(root / "real" / "prefect")
        growth = size_of(root / f"{few.n_days}-days" / "prefect") - first
    _print(few, many, growth)


def _look(root: Path, n_days: int, candles: pd.DataFrame, asked: tuple[str, ...]) -> Measured:
    home = root / f"{n_days}-days"
    shutil.copytree(root / "real", home)
    before = os.environ.get("BTC_HOME")
    os.environ["BTC_HOME"] = str(home)
    try:
        multiply(home, candles[:-1], n_days)
    finally:
        os.environ.pop("BTC_HOME")
        os.environ.update({"BTC_HOME": before} if before else {})
    day = _measure(home, *asked, "--json", str(root / "summary.json"))
    summary: dict[str, Any] = json.loads((root / "summary.json").read_text())
    looks = {" ".join(command): _measure(home, *command) for command in LOOKS}
    index = home / "reports" / NAME / "index.html"
    return Measured(n_days, size_of(home), index.stat().st_size, day, summary["seconds"], looks)


def _measure(home: Path, *arguments: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command."""
    home.mkdir(exist_ok=True)
    before, start = _cpu(), time.perf_counter()
    done = btc(*arguments, env=environment(home), cwd=home, timeout=900)
    # The status of a service that does not run is 1.
    if done.returncode and arguments[0] != "status":
        raise RuntimeError(done.stderr)
    return time.perf_counter() - start, _cpu() - before


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _print(few: Measured, many: Measured, a_day_of_prefect: int) -> None:
    history = 90 * a_day_of_prefect / 1e6
    print(f"home after {many.n_days:,} days: {many.n_bytes / 1e6:,.0f} MB and at most "
          f"{history:,.0f} MB of Prefect's last 90 days; bar {MOST_BYTES / 1e6:,.0f} MB. "
          f"After {few.n_days}: {few.n_bytes / 1e6:,.0f} MB")  # fmt: skip
    wall, cpu = (late / early for late, early in zip(many.day, few.day, strict=True))
    print(
        f"a day's retrain on top: {many.day[0]:.1f} s wall, {many.day[1]:.1f} s CPU, which is "
        f"{wall:.2f} and {cpu:.2f} times day {few.n_days}; bar {MOST_SLOWER}"
    )
    for stage, seconds in many.stages.items():
        print(f"  {stage:<9} {few.stages.get(stage, 0):6.2f} s → {seconds:6.2f} s")
    for command, (wall, cpu) in many.looks.items():
        bar = f"; bar {MOST_SECONDS} s" if command == "ledger" else ""
        early = few.looks[command]
        print(f"btc {command}: {wall:.1f} s wall, {cpu:.1f} s CPU (after {few.n_days} days "
              f"{early[0]:.1f} and {early[1]:.1f}){bar}")  # fmt: skip
    print(f"index of all days: {few.index_bytes / 1e3:,.0f} kB → {many.index_bytes / 1e3:,.0f} kB")


if __name__ == "__main__":
    run()
