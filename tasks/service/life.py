"""Which flow runs have a living process on this machine: each holds a lock file in its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.storage.home import home
from tasks.storage.lock import locked


@contextmanager
def living(run_id: str) -> Iterator[None]:
    """Hold the lock of a flow run; it ends with the process, also in a power cut."""
    with locked(_path(run_id), wait=True):
        yield
    _path(run_id).unlink(missing_ok=True)


def is_alive(run_id: str) -> bool:
    """Whether a process on this machine is doing the flow run."""
    path = _path(run_id)
    if not path.exists():
        return False
    with locked(path, wait=False) as dead:
        if dead:
            path.unlink(missing_ok=True)
        return not dead


def _path(run_id: str) -> Path:
    return home() / "locks" / "runs" / run_id
