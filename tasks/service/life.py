"""Which flow runs have a living process: each holds a lock in its name.

A file on its machine, and where the ledger is in PostgreSQL also a lock there, so that no machine
takes the runs of the others for dead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tasks.storage.home import home
from tasks.storage.lock import hold, locked, shares_locks


@contextmanager
def living(run_id: str) -> Iterator[None]:
    """Hold the lock of a flow run; it ends with the process, also in a power cut."""
    shared = hold(f"run {run_id}", wait=True) if shares_locks() else nullcontext()
    with locked(_path(run_id), wait=True), shared:
        yield
    _path(run_id).unlink(missing_ok=True)


def is_alive(run_id: str) -> bool:
    """Whether a process is doing the flow run, here or on a machine that shares our locks."""
    path = _path(run_id)
    if path.exists():
        with locked(path, wait=False) as dead:
            if not dead:
                return True
            path.unlink(missing_ok=True)
    if not shares_locks():
        return False
    with hold(f"run {run_id}") as dead:
        return not dead


def _path(run_id: str) -> Path:
    return home() / "locks" / "runs" / run_id
