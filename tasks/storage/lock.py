"""Locks between processes of this machine; they end with the process, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from models.errors import InputError
from tasks.storage.home import home


@contextmanager
def hold(name: str) -> Iterator[bool]:
    """Give True if nobody else holds the lock of that name, else False, at once."""
    with locked(home() / "locks" / f"{name}.lock", wait=False) as mine:
        yield mine


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file at `path`; give False where another holds it and `wait` is off.

    Raises InputError on a file system that knows no locks, such as a mounted object store.
    """
    lock = FileLock(path, blocking=wait, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        yield False
        return
    except OSError as error:
        raise InputError(
            f"cannot lock {path} ({error}): keep the state on a disk that knows file locks, "
            "such as a local one (BTC_HOME, BTC_STORE)"
        ) from error
    try:
        yield True
    finally:
        lock.release()
