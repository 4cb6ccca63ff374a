"""What may be wrong with what is stored: databases, candles, snapshots, registry, artifacts."""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.config.data import USUAL_SYMBOL
from models.errors import InputError, ServiceError
from models.naming import model_name
from tasks.secrets import hide
from tasks.service.facts import all_symbols, is_registry_there
from tasks.storage.candle_store import list_stores
from tasks.storage.home import home

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

RESTORE = "btc restore FILE, in a new BTC_HOME"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be: what, the command that mends it, and how `--fix` does.

    `fix` is None where mending may lose something, or is somebody's decision.
    """

    what: str
    todo: str
    fix: Callable[[], None] | None = None


@dataclass(frozen=True)
class Schema:
    """What a release makes of a database: its tables, and its revisions, the newest first.

    `upgrade`: the command for a database of an older revision; empty where its owner does it.
    """

    tables: set[str]
    revisions: list[str]
    upgrade: str = ""


def examine_stores(symbol: str = "") -> Iterator[Finding]:
    """Everything that is found wrong with what is stored, of every symbol that is known or one."""
    databases = [*_databases(), *_servers_databases()]
    yield from databases
    yield from _candles()
    yield from _snapshots()
    # What reads a damaged database would only say the same again, or write into it.
    if not databases:
        yield from _registry(symbol)


def _databases() -> Iterator[Finding]:
    for path in sorted([*home().glob("*.db"), *home().glob("prefect/*.db")]):
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
                [said] = database.execute("PRAGMA quick_check(1)").fetchone()
                tables = {
                    name
                    for (name,) in database.execute("SELECT name FROM sqlite_master")
                    if said == "ok"
                }
                revision = None
                if "alembic_version" in tables:
                    row = database.execute("SELECT version_num FROM alembic_version").fetchone()
                    revision = row[0] if row else None
        except sqlite3.Error as error:
            said = str(error)
        if said != "ok":
            yield Finding(f"{path.name} is damaged ({said})", _give_up(path))
        elif tables and path.name in SCHEMAS:
            schema = SCHEMAS[path.name](f"sqlite:///{path}")
            yield from _schema(path.name, schema, tables, revision, _give_up(path))


def _servers_databases() -> Iterator[Finding]:
    """Databases in PostgreSQL."""
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    from tasks.storage.database import BUSY_SECONDS, with_driver

    for variable, make in SERVED.items():
        address = with_driver(os.environ.get(variable, ""))
        if not address.startswith("postgresql"):
            continue
        name = f"the database of {variable}"
        schema = make(f'"${variable}"')
        try:
            engine = create_engine(address, connect_args={"connect_timeout": BUSY_SECONDS})
            with engine.connect() as connection:
                tables = set(inspect(connection).get_table_names())
                revision = None
                if "alembic_version" in tables:
                    asked = "SELECT version_num FROM alembic_version"
                    revision = connection.exec_driver_sql(asked).scalar()
            engine.dispose()
        except (SQLAlchemyError, ImportError, OSError) as error:
            reason = " ".join(hide(getattr(error, "orig", None) or error).split())
            yield Finding(f"{name} cannot be used ({reason})", f"start it, or set {variable}")
            continue
        if revision or tables & schema.tables:  # else it is new, or holds what is others'
            yield from _schema(name, schema, tables, revision, "restore a backup of it")


def _schema(
    name: str, schema: Schema, tables: set[str], revision: str | None, give_up: str
) -> Iterator[Finding]:
    missing = sorted(schema.tables - tables)
    newest = schema.revisions[0]
    if revision is not None and revision not in schema.revisions:
        yield Finding(
            f"{name} was made by a newer release (schema {revision}, this one knows {newest})",
            f"install that release again, or {give_up}",
        )
    elif revision is None or (revision == newest and missing):
        lacks = f"it lacks {missing[0]}" if missing else "it does not say of which release it is"
        yield Finding(f"{name} is half-made ({lacks})", give_up)
    elif revision != newest and schema.upgrade:
        yield Finding(
            f"{name} is of an older release (schema {revision}, now {newest})", schema.upgrade
        )


def _give_up(path: Path) -> str:
    """What to do about a database that cannot be used; of Prefect's only the history is lost."""
    if path.parent != home():
        return f"btc down, mv {path} {path}.old; btc up makes a new one"
    return RESTORE


def _of_ledger(_address: str) -> Schema:
    from tasks.storage.database import HEAD, metadata

    return Schema(set(metadata.tables), [HEAD])


def _of_mlflow(address: str) -> Schema:
    import mlflow.store.db_migrations
    from mlflow.store.db.base_sql_model import Base

    folder = Path(mlflow.store.db_migrations.__path__[0])
    save = "btc backup FILE" if address.startswith("sqlite") else "back it up"
    upgrade = f"{save}, then mlflow db upgrade {address}"
    return Schema(set(Base.metadata.tables), _revisions(folder), upgrade)


def _of_prefect(_address: str) -> Schema:
    import prefect.server.database
    from prefect.server.database.orm_models import Base

    folder = Path(prefect.server.database.__path__[0]) / "_migrations"
    return Schema(set(Base.metadata.tables), _revisions(folder, folder / "versions" / "sqlite"))


def _revisions(folder: Path, versions: Path | None = None) -> list[str]:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(folder))
    if versions:
        config.set_main_option("version_locations", str(versions))
        config.set_main_option("path_separator", "os")
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]


# By the name of a file, and by the variable that names a server.
SCHEMAS: dict[str, Callable[[str], Schema]] = {
    "ledger.db": _of_ledger,
    "mlflow.db": _of_mlflow,
    "prefect.db": _of_prefect,
}
SERVED = {"BTC_DATABASE_URL": _of_ledger, "MLFLOW_TRACKING_URI": _of_mlflow}


def _candles() -> Iterator[Finding]:
    try:
        stores = list_stores()
    except ServiceError as error:
        yield Finding(str(error), "mend BTC_STORE or the AWS_… variables")
        return
    for store in stores:
        try:
            store.read()
        except (InputError, ServiceError) as error:
            what, _, todo = str(error).partition(": remove")
            yield Finding(what, f"remove{todo}" if todo else "btc ingest, when it answers again")


def _snapshots() -> Iterator[Finding]:
    from tasks.storage.snapshots import advise, find_unreadable, list_snapshots

    for folder in find_unreadable():
        yield Finding(f"the manifest of snapshot {folder} cannot be read", advise(folder))
    # Once for all that are kept as changes from the same damaged one.
    for fault in dict.fromkeys(fault for _, fault in list_snapshots() if fault):
        what, _, todo = fault.rpartition(": ")
        yield Finding(what, todo)


def _registry(symbol: str) -> Iterator[Finding]:
    """Of every symbol that is known, or of one; what no symbol names is said once, at the end."""
    if not is_registry_there():
        return
    from tasks.registry.connection import connect, told_in_one_line

    try:
        symbols = (symbol,) if symbol else all_symbols()
        with told_in_one_line():
            client = connect()
        for one in symbols:
            with told_in_one_line():
                found = [*_model(client, one)]
            several = f"{one}: " if len(symbols) > 1 else ""
            yield from (replace(finding, what=several + finding.what) for finding in found)
        with told_in_one_line():
            found = [*_artifacts(client)]
        yield from found
    except (InputError, ServiceError, OSError) as error:
        yield Finding(f"registry or ledger cannot be read ({error})", "btc models")


def _model(client: MlflowClient, symbol: str) -> Iterator[Finding]:
    """What is wrong with a symbol's champion, its history and its forecasts."""
    from tasks.registry.aliases import find_champion, read_history
    from tasks.registry.model_files import find_fault
    from tasks.registry.versions import find_versions
    from tasks.storage.ledger import read_ledger

    name = model_name(symbol, synthetic=False)
    option = "" if symbol == USUAL_SYMBOL else f" --symbol {shlex.quote(symbol)}"
    champion, history = find_champion(client, name), read_history(name)
    known = {int(version.version) for version in find_versions(client, name)}
    fault = "" if champion is None else find_fault(champion)
    forecast = {int(number) for number in read_ledger(name)["version"].unique()}
    yield from _moves(client, name, history, champion, option)
    if gone := sorted(forecast - known):
        yield Finding(
            f"the ledger has forecasts of version {gone[0]}, which the registry lacks", RESTORE
        )
    if fault:
        yield Finding(f"the champion: {fault}", f"btc rollback{option} --why …")


def _moves(
    client: MlflowClient,
    name: str,
    history: pd.DataFrame,
    champion: ModelVersion | None,
    option: str,
) -> Iterator[Finding]:
    """Where the history of the champion's alias and the alias itself differ."""
    from tasks.registry.aliases import settle_history

    if history["state"].eq("begun").any():
        yield Finding(
            "a move of the champion was cut off",
            "btc doctor --fix",
            lambda: settle_history(client, name),
        )
    moves = history[history["state"].eq("done") & ~history["action"].isin(["pin", "unpin"])]
    last = None if moves.empty else int(moves["to_version"].iloc[-1])
    serves = None if champion is None else int(champion.version)
    if last is not None and serves != last:
        now = f"@champion is version {serves}" if champion else "there is no @champion"
        yield Finding(
            f"{now}, and the history's last move is to {last}",
            f"btc promote {serves or last}{option} --why 'moved outside btc'",
        )


def _artifacts(client: MlflowClient) -> Iterator[Finding]:
    """Folders of artifacts on this machine that no run and no model of MLflow's has."""
    from mlflow.entities import ViewType

    from tasks.registry.store import local_folder

    for experiment in client.search_experiments(ViewType.ALL):
        folder = local_folder(str(experiment.artifact_location))
        if folder is None or home() not in folder.parents:
            continue
        there = [*folder.glob("*/"), *folder.glob("models/*/")]
        named = _named_in(client, experiment.experiment_id) | {"models"}
        for path in there:
            if path.name not in named:
                # Another database, moved away or on a server, may know it: a person must look.
                yield Finding(
                    f"{path.relative_to(home())} belongs to no run and no model",
                    f"if no other MLflow database of yours knows it: rm -r {path}",
                )


def _named_in(client: MlflowClient, experiment: str) -> set[str]:
    """Ids of all models and runs of an experiment, also of runs that a person may bring back."""
    from mlflow.entities import ViewType

    runs = partial(client.search_runs, [experiment], run_view_type=ViewType.ALL)
    models = partial(client.search_logged_models, [experiment])
    return {run.info.run_id for run in _all(runs)} | {model.model_id for model in _all(models)}


def _all(search: Callable[..., Any]) -> Iterator[Any]:
    """All that a search finds, page by page."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return
