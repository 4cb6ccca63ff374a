"""Locks between processes; they end with the process that holds them, however it ends.

Where the ledger is in PostgreSQL the machines that share it share its locks too (advisory locks, by
name). Elsewhere a lock is a file, which other processes of the same machine respect.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from models.errors import InputError, LedgerError
from tasks.secrets import hide
from tasks.storage.files import write_text
from tasks.storage.home import home, make_folder, told_when_full

if TYPE_CHECKING:
    import psycopg

# The server notices within a minute that a machine is gone which lost its power or network.
_KEEPALIVE = "tcp_keepalives_idle=20", "tcp_keepalives_interval=10", "tcp_keepalives_count=3"
CONNECT_SECONDS = 15


@contextmanager
def hold(name: str, *, wait: bool = False, day: dt.date | None = None) -> Iterator[bool]:
    """Give True if nobody else holds the lock of that name; else False at once, or wait for it.

    The lock of all machines that share a PostgreSQL ledger, else of this machine's BTC_HOME.
    `day`: what the holder is doing, for `day_at_work`. Raises LedgerError where the database cannot
    be reached.
    """
    if shares_locks():
        with _held_in_postgres(name, wait, day) as mine:
            yield mine
        return
    note = _note(name)
    with locked(home() / "locks" / f"{name}.lock", wait=wait) as mine:
        if mine and day:
            write_text(day.isoformat(), note)
        elif mine:
            note.unlink(missing_ok=True)  # as left by a holder that was killed
        try:
            yield mine
        finally:
            if mine:
                note.unlink(missing_ok=True)


def day_at_work(name: str) -> dt.date | None:
    """The day that the holder of a lock is doing; None where nobody holds it, or says which."""
    if not shares_locks():
        try:
            return dt.date.fromisoformat(_note(name).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
    with _told_in_one_line(name), _connect() as connection:
        found = connection.execute(
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
            " AND granted AND classid::bigint = %s AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())",
            [_day_class(name) % 2**32],
        ).fetchone()
    return dt.date.fromordinal(found[0]) if found else None


def _note(name: str) -> Path:
    return home() / "locks" / f"{name}.day"


def shares_locks() -> bool:
    """Whether locks hold between machines: where BTC_DATABASE_URL names PostgreSQL."""
    return os.environ.get("BTC_DATABASE_URL", "").startswith("postgres")


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file at `path`; give False where another holds it and `wait` is off.

    Raises InputError on a file system that knows no locks, such as a mounted object store.
    """
    lock = FileLock(path, blocking=wait, fallback_to_soft=False)
    try:
        with told_when_full():
            make_folder(path.parent)
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


@contextmanager
def _held_in_postgres(name: str, wait: bool, day: dt.date | None) -> Iterator[bool]:
    """Hold an advisory lock by a connection of its own, which the server gives up with it.

    The day is a second lock, of two numbers: the name's and the day's.
    """
    import psycopg

    with _told_in_one_line(name):
        connection = _connect()
    with connection:
        with _told_in_one_line(name):
            mine = _try_lock(connection, name, wait)
            if mine and day:
                noted = [_day_class(name), day.toordinal()]
                connection.execute("SELECT pg_advisory_lock_shared(%s::int, %s::int)", noted)
        yield mine
        try:
            connection.execute("SELECT 1")
        except psycopg.Error as error:
            logging.getLogger(__name__).warning(
                "lock %s: PostgreSQL ended its connection (%s); another process may have held it "
                "at the same time", name, _one_line(error),
            )  # fmt: skip


def _connect() -> psycopg.Connection:
    import psycopg

    from tasks.storage.database import database_url

    return psycopg.connect(
        database_url().replace("postgresql+psycopg", "postgresql", 1),
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
        options=" ".join(f"-c {setting}" for setting in _KEEPALIVE),
    )


def _try_lock(connection: psycopg.Connection, name: str, wait: bool) -> bool:
    key = int.from_bytes(hashlib.sha256(f"btc-daily {name}".encode()).digest()[:8], signed=True)
    if wait:
        connection.execute("SELECT pg_advisory_lock(%s)", [key])
        return True
    found = connection.execute("SELECT pg_try_advisory_lock(%s)", [key]).fetchone()
    return bool(found and found[0])


def _day_class(name: str) -> int:
    digest = hashlib.sha256(f"btc-daily day of {name}".encode()).digest()
    return int.from_bytes(digest[:4], signed=True)


@contextmanager
def _told_in_one_line(name: str) -> Iterator[None]:
    import psycopg

    from tasks.storage.database import shown_url

    try:
        yield
    except psycopg.Error as error:
        raise LedgerError(
            f"lock {name}: cannot use {shown_url()} ({_one_line(error)}); run again when it answers"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(hide(error).split())
