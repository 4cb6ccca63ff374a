"""Where Optuna keeps its studies: tuning.db under `BTC_HOME`, or a PostgreSQL schema of its own.

Optuna and the ledger both keep their version in a table `alembic_version`, so that they cannot
share a schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from models.errors import LedgerError
from tasks.storage.database import BUSY_SECONDS, database_url, shown_url
from tasks.storage.home import home, make_private

SCHEMA = "tuning"


@contextmanager
def opened_studies() -> Iterator[RDBStorage]:
    """Optuna's storage; raises LedgerError in one line where it cannot be used.

    What the block itself raises of files, training or MLflow passes unchanged.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    url, shown = database_url(), shown_url()
    settings: dict[str, object] = {"options": f"-csearch_path={SCHEMA}"}
    settings["connect_timeout"] = BUSY_SECONDS
    if url.startswith("sqlite"):
        shown = url = f"sqlite:///{home() / 'tuning.db'}"
        settings = {"timeout": BUSY_SECONDS}
    with _told_in_one_line(shown, SQLAlchemyError, OptunaError, OSError):
        if url.startswith("sqlite"):
            make_private(home() / "tuning.db")
        else:
            _make_schema(url)
        storage = RDBStorage(url, engine_kwargs={"connect_args": settings})
    try:
        with _told_in_one_line(shown, SQLAlchemyError, OptunaError):
            yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextmanager
def _told_in_one_line(shown: str, *kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise LedgerError(
            f"tuning: cannot use {shown} ({reason}); trials that were finished before are kept. "
            "Free it or set BTC_DATABASE_URL, then run again"
        ) from error


def _make_schema(url: str) -> None:
    engine = create_engine(url, connect_args={"connect_timeout": BUSY_SECONDS})
    try:
        with engine.begin() as connection:
            # PostgreSQL wants the right to make a schema also where it is there already.
            if not inspect(connection).has_schema(SCHEMA):
                connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    finally:
        engine.dispose()
