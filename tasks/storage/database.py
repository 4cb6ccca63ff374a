"""Our own database: forecasts, scores, moves of aliases, alarms.

SQLite under `BTC_HOME`, or PostgreSQL by `BTC_DATABASE_URL`. The schema is what the migrations in
tasks/storage/migrations make; the tables here are what the code reads and writes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    IntegrityError,
    ProgrammingError,
)

from models.errors import InputError, LedgerError
from tasks.secrets import hide
from tasks.storage.home import home, make_private

MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0001"
BUSY_SECONDS = 15

metadata = MetaData()

forecasts = Table(
    "forecasts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("symbol", String(32), nullable=False),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("as_of", Date, nullable=False),
    Column("target_date", Date, nullable=False, index=True),
    Column("step", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("issued_at", DateTime(timezone=True), nullable=False),
    Column("source", String(200), nullable=False),
    Column("snapshot_sha256", String(64), nullable=False),
    Column("close_origin", Float, nullable=False),
    Column("levels", Text, nullable=False),
    Column("quantiles", Text, nullable=False),
    Column("note", Text, nullable=False),
    UniqueConstraint(
        "symbol", "model", "version", "as_of", "target_date", "kind", name="one_forecast"
    ),
)
"""Never updated. `levels` and `quantiles` are JSON lists; quantiles are log returns."""

scores = Table(
    "scores",
    metadata,
    Column("forecast_id", Integer, ForeignKey("forecasts.id"), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("scored_at", DateTime(timezone=True), nullable=False),
    Column("source", String(200), nullable=False),
    Column("actual_usd", Float, nullable=False),
    Column("actual", Float, nullable=False),
    Column("crps_bp", Float, nullable=False),
    Column("pinball_bp", Text, nullable=False),
    Column("pit", Float, nullable=False),
    Column("inside_50", Boolean),
    Column("inside_80", Boolean),
    Column("inside_90", Boolean),
    Column("inside_95", Boolean),
    Column("naive_crps_bp", Float),
    Column("ewma_crps_bp", Float),
    Column("note", Text, nullable=False),
)
"""The highest revision of a forecast is in force; a revised candle adds one, with a note."""

alias_history = Table(
    "alias_history",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(64), nullable=False),
    Column("alias", String(32), nullable=False),
    Column("action", String(16), nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("why", Text, nullable=False),
    Column("who", String(100), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("key", String(64), nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    UniqueConstraint("model", "alias", "key", name="one_move"),
)
"""`state`: begun before the registry is changed, done after, abandoned if it never was."""

alarms = Table(
    "alarms",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("model", String(64), nullable=False),
    Column("as_of", Date, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("value", Float, nullable=False),
    Column("limit", Float, nullable=False),
    Column("text", Text, nullable=False),
    UniqueConstraint("model", "as_of", "kind", "text", name="one_alarm"),
)


def database_url() -> str:
    """`BTC_DATABASE_URL`, or the SQLite file in the folder of all state."""
    return with_driver(os.environ.get("BTC_DATABASE_URL") or f"sqlite:///{home() / 'ledger.db'}")


def with_driver(url: str) -> str:
    """An address of PostgreSQL with the driver that is installed; any other as it is."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return "postgresql+psycopg://" + url.removeprefix(plain)
    return url


@contextmanager
def transaction() -> Iterator[Connection]:
    """One transaction on the database, whose schema is made or brought up to date before.

    Raises LedgerError in one line where the database cannot be reached, is locked or full, or is no
    database, InputError where BTC_DATABASE_URL is no address; what the block itself raises passes
    unchanged. Nothing is stored where anything is raised.
    """
    with _told_in_one_line(ArgumentError, ImportError, OSError):
        engine = _connect()
    try:
        with _told_in_one_line(DatabaseError, OSError):
            _migrate(engine)
            connection = engine.connect()
            begun = connection.begin()
        with connection:
            # A full disk or a lost connection may show at any statement.
            with _told_in_one_line(DatabaseError):
                yield connection
            with _told_in_one_line(DatabaseError, OSError):
                begun.commit()
    finally:
        engine.dispose()


def check_database() -> None:
    """Raise InputError or LedgerError, in one line, unless the ledger can be used."""
    with transaction() as connection:
        connection.execute(select(1))


@contextmanager
def _told_in_one_line(*kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError):
        raise  # These say something of the statement or its rows, not of the database.
    except kinds as error:
        reason = " ".join(hide(getattr(error, "orig", error)).split())
        told = f"ledger: cannot use {shown_url()} ({reason}); nothing was stored. "
        if isinstance(error, ArgumentError | ImportError):
            raise InputError(f"{told}Set BTC_DATABASE_URL to postgresql://… or unset it") from error
        raise LedgerError(f"{told}Free it or set BTC_DATABASE_URL, then run again") from error


def insert_new(
    connection: Connection, table: Table, rows: Sequence[Mapping[Any, Any]], *unique: str
) -> int:
    """Insert the rows whose `unique` columns are not there yet; returns how many were."""
    if not rows:
        return 0
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).on_conflict_do_nothing(index_elements=unique)
    # Told by the statement itself: a count before and after would have the rows of others in it.
    inserted = connection.execute(statement.returning(table.c[unique[0]]), list(rows))
    return len(inserted.all())


def read_rows(connection: Connection, query: Select[Any]) -> pd.DataFrame:
    """Rows of a query as a frame, with the query's columns also where there is none."""
    result = connection.execute(query)
    # Of SQLAlchemy's own rows pandas asks each what it is, which takes most of the time.
    return pd.DataFrame([tuple(row) for row in result], columns=list(result.keys()))


def _connect() -> Engine:
    url = database_url()
    if not url.startswith("sqlite"):
        return create_engine(url, connect_args={"connect_timeout": BUSY_SECONDS})
    if (file := make_url(url).database) and file != ":memory:":
        make_private(Path(file))
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    # Python's driver would begin late and as a reader; two writers could then not wait in turn.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _migrate(engine: Engine) -> None:
    """Bring the schema up to date; without a word, and at once where it is."""
    with engine.begin() as connection:
        if inspect(connection).has_table("alembic_version"):
            found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            if found == HEAD:
                return
            if found and found > HEAD:
                raise InputError(
                    f"ledger: {shown_url()} was made by a newer release (schema {found}, this one "
                    f"knows {HEAD}); install that release again, or set BTC_DATABASE_URL"
                )
        from alembic import command
        from alembic.config import Config

        logging.getLogger("alembic").setLevel(logging.WARNING)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        if connection.dialect.name == "postgresql":
            # Two processes that start at once must not both make the tables.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(20090103)")
        command.upgrade(config, "head")


def shown_url() -> str:
    """The address of the database without user, password and options."""
    return hide(database_url()).partition("?")[0]
