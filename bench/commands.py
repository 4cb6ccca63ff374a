"""What a command costs before it works: CPU seconds of the whole process, its children with it."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

from tests.servers import btc, environment

COMMANDS = (("--help",), ("--version",), ("retrain", "--sauce"), ("presets",), ("data", "show"))


def run(source: str) -> None:
    """Print CPU seconds of the light commands, and both seconds of a retrain of a new home."""
    with tempfile.TemporaryDirectory() as name:
        env = environment(Path(name))
        btc("--version", env=env, cwd=Path(name))  # reads the files from disk once
        for arguments in COMMANDS:
            cpu, _ = _measure(*arguments, env=env, cwd=Path(name))
            print(f"btc {' '.join(arguments)}: {cpu:.2f} s CPU")
        # Another seed is another recipe, so that all is done again.
        for label, seed in (("first retrain of a new home", 7), ("the next one", 8)):
            asked = ("retrain", "--source", source, "--set", f"seed={seed}")
            cpu, wall = _measure(*asked, env=env, cwd=Path(name))
            print(f"{label}, no Prefect server running: {wall:.1f} s, {cpu:.1f} s CPU")


def _measure(*arguments: str, env: dict[str, str], cwd: Path) -> tuple[float, float]:
    """CPU and wall seconds of a command."""
    before, start = _children(), time.perf_counter()
    btc(*arguments, env=env | {"PYTHONDONTWRITEBYTECODE": "1"}, cwd=cwd, timeout=900)
    return _children() - before, time.perf_counter() - start


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
