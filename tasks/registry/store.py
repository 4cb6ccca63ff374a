"""MLflow's own database: whether it can be used, and paths in it after its folder has moved.

MLflow keeps absolute addresses of artifacts. A home that was moved, copied or restored elsewhere
would be read from, and written to, where it was before.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import ArgumentError, DatabaseError

from models.errors import InputError
from tasks.secrets import hide
from tasks.storage.home import home

DIALECTS = ("sqlite", "postgresql", "mysql", "mssql")
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns in which MLflow keeps where artifacts are."""
_FOLDER = "/mlartifacts/"


def check_store(uri: str, shown: str) -> None:
    """Raise InputError unless MLflow can keep its runs at a `uri` that is no server's.

    Where the folder of all state was moved, the addresses in its own database are mended first.
    """
    dialect = urlsplit(uri).scheme.partition("+")[0]
    if dialect not in DIALECTS:
        raise InputError(
            f"MLFLOW_TRACKING_URI: MLflow cannot keep runs at {shown}; expected http(s)://…, "
            "sqlite:///PATH or postgresql://…, or unset it to keep them in BTC_HOME"
        )
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return
    try:
        _check_once(uri, str(home()))
    except (DatabaseError, ArgumentError, ImportError) as error:
        reason = " ".join(hide(getattr(error, "orig", error)).split())[:150]
        raise InputError(
            f"MLflow's database {shown} cannot be used ({reason}); restore it from a backup, move "
            "it away to begin anew, or set MLFLOW_TRACKING_URI"
        ) from error


@cache
def _check_once(uri: str, _home: str) -> None:
    """Look at a database once in a process; what raises is not remembered."""
    engine = create_engine(uri)
    try:
        with engine.begin() as connection:
            _check_version(connection)
            if _is_own(uri):
                mend_addresses(connection, home())
    finally:
        engine.dispose()


def _is_own(uri: str) -> bool:
    """Whether it is this home's own database; another one may know other homes' artifacts."""
    if not uri.startswith("sqlite:///"):
        return False
    return Path(uri.removeprefix("sqlite:///")).resolve() == (home() / "mlflow.db").resolve()


def _check_version(connection: Connection) -> None:
    if not inspect(connection).has_table("alembic_version"):
        return
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from mlflow.store.db_migrations import versions

    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    config = Config()
    config.set_main_option("script_location", str(Path(versions.__path__[0]).parent))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found and found not in known:
        raise InputError(
            f"MLflow's database was made by a newer MLflow (schema {found}); install that release "
            "again, or set MLFLOW_TRACKING_URI to another database"
        )


def local_folder(address: str) -> Path | None:
    """The folder of an address of artifacts; None where only MLflow knows, as in a bucket."""
    place = urlsplit(address)
    return Path(unquote(place.path)) if place.scheme in ("", "file") else None


def mend_home(folder: Path) -> None:
    """Mend the addresses in the database of a state folder, if it has one, after it has moved."""
    path = folder / "mlflow.db"
    if not path.exists():
        return
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as connection:
            mend_addresses(connection, folder)
    finally:
        engine.dispose()


def mend_addresses(connection: Connection, here: Path) -> None:
    """Put the address of a state folder in place of that where its database was made.

    Nothing changes where both are the same folder, by another name.
    """
    tables = set(inspect(connection).get_table_names())
    if "experiments" not in tables:
        return
    rows = connection.execute(text("SELECT artifact_location FROM experiments")).scalars()
    olds = {row.partition(_FOLDER)[0] for row in rows if row and _FOLDER in f"{row}/"}
    for old in olds:
        folder = Path(unquote(urlsplit(old).path) if old.startswith("file:") else old)
        if "://" in old.removeprefix("file://") or folder.resolve() == here.resolve():
            continue
        if not (here / _FOLDER.strip("/")).exists():
            continue
        new = here.as_uri() if old.startswith("file:") else str(here)
        for table, column in ADDRESSES:
            if table not in tables or column not in {
                found["name"] for found in inspect(connection).get_columns(table)
            }:
                continue
            # The names are those of the table above.
            statement = (
                f"UPDATE {table} "  # nosec B608  # no text of a user
                f"SET {column} = :new || substr({column}, :n) "
                f"WHERE substr({column}, 1, :m) = :old"
            )
            prefix = f"{old}{_FOLDER}"
            values = {"new": f"{new}{_FOLDER}", "n": len(prefix) + 1, "m": len(prefix)}
            connection.execute(text(statement), values | {"old": prefix})
