"""Work folders: passing files of a run, gone when it ends, and by the next run where it was killed.

A run holds the lock in its folder as long as its process lives.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.storage.home import home
from tasks.storage.lock import locked

_held: dict[Path, FileLock] = {}


def make_work_folder(name: str) -> Path:
    """Make a work folder of this process, of a name that begins with `name`; dead ones go first."""
    with locked(home() / "locks" / "work.lock"):
        for left in find_dead_work():
            shutil.rmtree(left, ignore_errors=True)
        root = home() / "work"
        root.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=root, prefix=f"{name}-"))
        lock = FileLock(folder / ".lock", thread_local=False)
        lock.acquire()
        _held[folder] = lock
    return folder


def find_dead_work() -> list[Path]:
    """Work folders whose process is gone."""
    return [path for path in sorted((home() / "work").glob("*/")) if not _is_held(path)]


@contextmanager
def discarded_after(folder: Path) -> Iterator[None]:
    """Remove a work folder, with all that is in it, however the block ends."""
    try:
        yield
    finally:
        discard(folder)


def discard(folder: Path) -> None:
    """Remove a work folder, with all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    if lock := _held.pop(folder, None):
        lock.release()


def _is_held(folder: Path) -> bool:
    lock = FileLock(folder / ".lock", thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False
