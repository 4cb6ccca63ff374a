"""What years of running cost: a day's growth, and a thousand runs against one Prefect server."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
from pathlib import Path

import psutil

from tests.servers import btc, environment, prefect_server

N_RUNS = 1000


def run() -> None:
    """Print the growth of the state folder in a day, and memory, files and seconds under load."""
    with tempfile.TemporaryDirectory() as name:
        _measure_growth(Path(name) / "home")
        with prefect_server(Path(name) / "prefect") as api:
            _measure_load(Path(name) / "load", api)


def _measure_growth(home: Path) -> None:
    home.mkdir()
    env = environment(home)
    sizes = [0]
    for day in ("2025-06-28", "2025-06-29", "2025-06-30"):
        done = btc("retrain", "--source", "sample", "--as-of", day, env=env, cwd=home, timeout=900)
        if done.returncode:
            raise RuntimeError(done.stderr)
        sizes.append(_size(home))
    parts = {path.name: _size(path) for path in home.iterdir()}
    largest = sorted(parts.items(), key=lambda part: -part[1])[:5]
    print(
        f"state folder after one day {sizes[1] / 1e6:.1f} MB, each day more "
        f"{(sizes[3] - sizes[1]) / 2e6:.2f} MB; of three days: "
        + ", ".join(f"{part} {n / 1e6:.1f}" for part, n in largest)
    )


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _measure_load(home: Path, api: str) -> None:
    """Runs that find another at work and end at once, in this process."""
    os.environ |= {"BTC_HOME": str(home), "PREFECT_API_URL": api}
    from tasks.storage.home import prepare_environment

    home.mkdir()
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
    with hold(model_name(config.symbol, synthetic=False)):
        for hundred in range(N_RUNS // 100):
            start = time.perf_counter()
            for _ in range(100):
                retrain(config)
            seconds = time.perf_counter() - start
            if hundred in (0, 4, N_RUNS // 100 - 1):
                print(f"runs {100 * hundred + 1} to {100 * hundred + 100}: {seconds:.1f} s; "
                      f"server {_weigh(server)}; this process {_weigh(psutil.Process())}",
                      flush=True)  # fmt: skip


def _weigh(process: psutil.Process) -> str:
    return f"{process.memory_info().rss / 1e6:.0f} MB, {process.num_fds()} files"


if __name__ == "__main__":
    run()
