"""Locks between processes; they end with the process that holds them, however it ends.

Where the ledger is in PostgreSQL the machines that share it share its locks too (advisory locks, by
name). Elsewhere a lock is a file, which other processes of the same machine respect.
"""

from __future__ import annotations

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
from tasks.storage.home import home, make_folder, told_when_full

if TYPE_CHECKING:
    import psycopg

# The server notices within a minute that a machine is gone which lost its power or network.
_KEEPALIVE = "tcp_keepalives_idle=20", "tcp_keepalives_interval=10", "tcp_keepalives_count=3"
CONNECT_SECONDS = 15


@contextmanager
def hold(name: str, *, wait: bool = False) -> Iterator[bool]:
    """Give True if nobody else holds the lock of that name; else False at once, or wait for it.

    The lock of all machines that share a PostgreSQL ledger, else of this machine's BTC_HOME. Raises
    LedgerError where the database cannot be reached.
    """
    if shares_locks():
        with _held_in_postgres(name, wait) as mine:
            yield mine
    else:
        with locked(home() / "locks" / f"{name}.lock", wait=wait) as mine:
            yield mine


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
def _held_in_postgres(name: str, wait: bool) -> Iterator[bool]:
    """Hold an advisory lock by a connection of its own, which the server gives up with it."""
    import psycopg

    with _told_in_one_line(name):
        connection = _connect()
    with connection:
        with _told_in_one_line(name):
            mine = _try_lock(connection, name, wait)
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
