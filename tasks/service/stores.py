"""What may be wrong with what is stored: databases, candles, snapshots, registry, artifacts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError, ServiceError
from models.naming import model_name
from tasks.service.facts import is_registry_there
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


def examine_stores(symbol: str) -> Iterator[Finding]:
    """Everything that is found wrong with what is stored."""
    databases = [*_databases()]
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
            yield from _schema(path, tables, revision)


def _schema(path: Path, tables: set[str], revision: str | None) -> Iterator[Finding]:
    schema = SCHEMAS[path.name](path)
    missing = sorted(schema.tables - tables)
    newest = schema.revisions[0]
    if revision is not None and revision not in schema.revisions:
        yield Finding(
            f"{path.name} was made by a newer release (schema {revision}, this one knows {newest})",
            "install that release again, or btc restore a backup of before, in a new BTC_HOME",
        )
    elif revision is None or (revision == newest and missing):
        lacks = f"it lacks {missing[0]}" if missing else "it does not say of which release it is"
        yield Finding(f"{path.name} is half-made ({lacks})", _give_up(path))
    elif revision != newest and schema.upgrade:
        yield Finding(
            f"{path.name} is of an older release (schema {revision}, now {newest})", schema.upgrade
        )


def _give_up(path: Path) -> str:
    """What to do about a database that cannot be used; of Prefect's only the history is lost."""
    if path.parent != home():
        return f"btc down, mv {path} {path}.old; btc up makes a new one"
    return RESTORE


def _of_ledger(_path: Path) -> Schema:
    from tasks.storage.database import HEAD, metadata

    return Schema(set(metadata.tables), [HEAD])


def _of_mlflow(path: Path) -> Schema:
    import mlflow.store.db_migrations
    from mlflow.store.db.base_sql_model import Base

    folder = Path(mlflow.store.db_migrations.__path__[0])
    upgrade = f"btc backup FILE, then mlflow db upgrade sqlite:///{path}"
    return Schema(set(Base.metadata.tables), _revisions(folder), upgrade)


def _of_prefect(_path: Path) -> Schema:
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


SCHEMAS: dict[str, Callable[[Path], Schema]] = {
    "ledger.db": _of_ledger,
    "mlflow.db": _of_mlflow,
    "prefect.db": _of_prefect,
}


def _candles() -> Iterator[Finding]:
    for store in list_stores():
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
    if not is_registry_there():
        return
    from tasks.registry.aliases import find_champion, read_history
    from tasks.registry.connection import connect, told_in_one_line
    from tasks.registry.model_files import find_fault
    from tasks.registry.versions import find_versions
    from tasks.storage.ledger import read_ledger

    name = model_name(symbol, synthetic=False)
    try:
        with told_in_one_line():
            client = connect()
            champion, history = find_champion(client, name), read_history(name)
            known = {int(version.version) for version in find_versions(client, name)}
            fault = "" if champion is None else find_fault(champion)
            orphans = [*_artifacts(client)]
        forecast = {int(number) for number in read_ledger(name)["version"].unique()}
    except (InputError, ServiceError, OSError) as error:
        yield Finding(f"registry or ledger cannot be read ({error})", "btc models")
        return
    yield from _moves(client, name, history, champion)
    if gone := sorted(forecast - known):
        yield Finding(
            f"the ledger has forecasts of version {gone[0]}, which the registry lacks", RESTORE
        )
    if fault:
        yield Finding(f"the champion: {fault}", "btc rollback --why …")
    yield from orphans


def _moves(
    client: MlflowClient, name: str, history: pd.DataFrame, champion: ModelVersion | None
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
            f"btc promote {serves or last} --why 'moved outside btc'",
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
