"""What a service costs: a day's growth by part, and many runs against one Prefect server."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.servers import REPO, btc, environment, prefect_server

N_RUNS, PART = 1000, 100


def run(n_runs: int = N_RUNS) -> None:
    """Print the growth of the state folder in a day, and memory, files and seconds under load."""
    with tempfile.TemporaryDirectory() as name:
        _measure_growth(Path(name) / "home")
        home = Path(name) / "load"
        home.mkdir()
        with prefect_server(Path(name) / "prefect") as api:
            # In a process of its own: Prefect reads its settings when it is imported.
            env = environment(home, PREFECT_API_URL=api, BENCH_RUNS=str(n_runs))
            command = [sys.executable, "-m", "bench.service"]
            subprocess.run(command, env=env, cwd=REPO, check=True)


def _measure_growth(home: Path) -> None:
    home.mkdir()
    env = environment(home)
    sizes: list[dict[str, int]] = []
    for day in ("2025-06-28", "2025-06-29", "2025-06-30"):
        done = btc("retrain", "--source", "sample", "--as-of", day, env=env, cwd=home, timeout=900)
        if done.returncode:
            raise RuntimeError(done.stderr)
        sizes.append({path.name: size_of(path) for path in home.iterdir()})
    first, _, last = sizes
    grown = {part: (last[part] - first.get(part, 0)) / 2e6 for part in last}
    print(
        f"state folder after one day {sum(first.values()) / 1e6:.1f} MB, each day more "
        f"{sum(grown.values()):.2f} MB until it is cleaned after 90 days:"
    )
    for part, n in sorted(grown.items(), key=lambda pair: -pair[1]):
        if n > 0.001:
            print(f"  {part:<12} {n:6.3f} MB")


def size_of(path: Path) -> int:
    """Bytes of a file or of all in a folder; what is linked twice counts once."""
    files = [path] if path.is_file() else path.rglob("*")
    found = (file.lstat() for file in files if file.is_file())
    return sum({status.st_ino: status.st_size for status in found}.values())


def _measure_load(api: str, n_runs: int) -> None:
    """Runs that find another at work and end at once, in this process."""
    from tasks.storage.home import prepare_environment

    prepare_environment()
    from flows.retrain import retrain
    from models.config.flows import RetrainConfig
    from models.naming import model_name
    from tasks.storage.lock import hold

    port = int(api.rpartition(":")[2].partition("/")[0])
    server = next(
        process
        for process in psutil.process_iter(["cmdline"])
        if str(port) in (process.info["cmdline"] or []) and "server" in process.info["cmdline"]
    )
    config = RetrainConfig(source="sample", as_of=dt.date(2025, 6, 30))
    with hold(model_name(config.symbol, synthetic=False), day=config.as_of):
        for done in range(0, n_runs, PART):
            start, before = time.perf_counter(), [_cpu(server), _cpu(psutil.Process())]
            for _ in range(PART):
                retrain(config)
            print(
                f"runs {done + 1} to {done + PART}: {time.perf_counter() - start:.1f} s; "
                f"server {_weigh(server, before[0])}; "
                f"this process {_weigh(psutil.Process(), before[1])}",
                flush=True,
            )


def _cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def _weigh(process: psutil.Process, before: float) -> str:
    """CPU seconds since `before`, memory and open files; the clock alone would tell other work."""
    memory = process.memory_info().rss / 1e6
    return f"{_cpu(process) - before:.1f} s CPU, {memory:.0f} MB, {process.num_fds()} files"


if __name__ == "__main__":
    if "BENCH_RUNS" in os.environ:
        _measure_load(os.environ["PREFECT_API_URL"], int(os.environ["BENCH_RUNS"]))
    else:
        run(int(sys.argv[1]) if len(sys.argv) > 1 else N_RUNS)
