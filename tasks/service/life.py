"""Which flow runs have a living process: each holds a lock in its name.

A file on its machine, and where the ledger is in PostgreSQL also a lock there, so that no machine
takes the runs of the others for dead, unless PostgreSQL was restarted while they were at work.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from uuid import uuid4

from models.errors import InputError
from tasks.storage.files import write_text
from tasks.storage.home import home
from tasks.storage.lock import hold, locked, shares_locks


@contextmanager
def living(run_id: str) -> Iterator[None]:
    """Hold the lock of a flow run; it ends with the process, also in a power cut.

    What killed runs left of theirs is removed.
    """
    for other in _path(run_id).parent.glob("*"):
        is_alive(other.name)
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


def home_id() -> str:
    """The id of the folder of all state, the same on all machines that share it."""
    path = home() / "locks" / "id"
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            write_text(uuid4().hex, path)
        return path.read_text(encoding="utf-8")


def check_same_home(other: str) -> None:
    """Raise InputError unless our folder of state is the `other` one."""
    _refuse_unless(home_id() == other, "")


def check_same_records(other: str) -> None:
    """Raise InputError unless registry and ledger are those of the run in the `other` folder.

    The same folder is, and so are an MLflow server and a ledger that machines share.
    """
    shared = shares_locks() and not os.environ.get("MLFLOW_TRACKING_URI", "sqlite").startswith(
        "sqlite"
    )
    _refuse_unless(
        shared or home_id() == other,
        ", or share a PostgreSQL ledger (BTC_DATABASE_URL) and an MLflow server "
        "(MLFLOW_TRACKING_URI)",
    )


def _refuse_unless(shared: bool, or_else: str) -> None:
    if not shared:
        raise InputError(
            f"this worker keeps its state in {home()}, which is not the folder of the run that "
            f"gave it work: start it with the same BTC_HOME on a shared disk{or_else}"
        )


def _path(run_id: str) -> Path:
    return home() / "locks" / "runs" / run_id
