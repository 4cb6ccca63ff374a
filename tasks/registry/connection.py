"""Where MLflow is, and whether it answers."""

from __future__ import annotations

import getpass
import logging
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from models.errors import InputError, RegistryError
from tasks.registry.store import check_store
from tasks.secrets import hide, part_credentials
from tasks.storage.archive import is_of_bucket
from tasks.storage.database import with_driver
from tasks.storage.files import whole_file
from tasks.storage.home import home, make_private
from tasks.storage.lock import locked

CONNECT_SECONDS, ANSWER_SECONDS = 5, 30
"""A server that is there may be busy: it has longer to answer than one to be found."""


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or the SQLite file in the folder of all state."""
    part_credentials()
    named = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"
    return with_driver(named)


def shown_uri() -> str:
    """The address of MLflow without a password."""
    return hide(tracking_uri())


def compare_command(experiment: str, symbol: str, synthetic: bool) -> str:
    """Address of an experiment's runs in MLflow, or the command that opens it."""
    if tracking_uri().startswith("http"):
        return compare_address(shown_uri(), experiment)
    named = "" if symbol == "BTC/USD" else f" --symbol {shlex.quote(symbol)}"
    kind = {"backtest": " --backtests", "tuning": " --tuning"}.get(
        experiment.rpartition("-")[2], ""
    )
    return f"btc ui{named}{' --synthetic' if synthetic else ''}{kind}"


def compare_address(base: str, experiment: str) -> str:
    """Address of an experiment's runs, in the view of our own, at MLflow's server `base`."""
    found = MlflowClient(tracking_uri()).get_experiment_by_name(experiment)
    if found is None:
        return f"{base.rstrip('/')}/#/experiments?workflowType=machine_learning"
    key = {"backtest": "backtests", "tuning": "tuning"}.get(experiment.rpartition("-")[2], "diary")
    # Without the workflow the UI opens in its mode for language models.
    view = f"workflowType=machine_learning&viewStateShareKey={key}"
    return f"{base.rstrip('/')}/#/experiments/{found.experiment_id}/runs?{view}"


def run_address(client: MlflowClient, run_id: str) -> str:
    """Address of a run in MLflow's UI; empty where there is no server that shows it."""
    uri = shown_uri()
    if not uri.startswith("http"):
        return ""
    experiment = client.get_run(run_id).info.experiment_id
    run = f"#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"
    return f"{uri.rstrip('/')}/{run}"


def artifact_address(run_id: str, path: str) -> str:
    """Address of an artifact for MLflow's own pages, relative to its server."""
    return f"get-artifact?path={quote(path, safe='')}&run_uuid={run_id}"


def prefect_run_address() -> str:
    """Address of the running flow in Prefect's UI; empty where no server was named."""
    from prefect.runtime import flow_run
    from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

    address, identity = PREFECT_UI_URL.value(), flow_run.get_id()
    if not address or not identity or not PREFECT_API_URL.value():
        return ""
    return f"{hide(address).rstrip('/')}/runs/flow-run/{identity}"


def check_tracking() -> None:
    """Raise InputError unless MLflow can be used: a server that answers, or a database.

    A server must also know the user of MLFLOW_TRACKING_USERNAME, where it asks for one.
    """
    if not tracking_uri().startswith("http"):
        check_store(tracking_uri(), shown_uri())
        return
    address = f"{tracking_uri().rstrip('/')}/version"
    try:
        answer = requests.get(
            address, auth=_credentials(), timeout=(CONNECT_SECONDS, ANSWER_SECONDS)
        )
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise InputError(
                f"MLFLOW_TRACKING_URI: the server at {shown_uri()} does not know this user; set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        answer.raise_for_status()
    except requests.RequestException as error:
        raise InputError(
            f"MLFLOW_TRACKING_URI: no MLflow server answers at {shown_uri()} "
            f"({type(error).__name__}); start it with `mlflow server`, or unset the variable to "
            "keep runs in BTC_HOME"
        ) from error


def _credentials() -> tuple[str, str] | None:
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    return (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", "")) if user else None


def connect() -> MlflowClient:
    """Point MLflow at its store, quietly, and return a client."""
    # Seven, its default, would wait for minutes; a stage is tried again as a whole.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    # Its bars would stand between the lines of the stages where a disk is slow.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # A server's client prints two lines with addresses each time that a run is taken up again.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    _hush_migrations()
    # It warns that a virtual environment made by uv has no pip; the requirements are given anyway.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    address = tracking_uri()
    if address.startswith("sqlite:///"):
        make_store(Path(address.removeprefix("sqlite:///")))
    mlflow.set_tracking_uri(address)
    return MlflowClient()


def _hush_migrations() -> None:
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)


def make_store(path: Path) -> None:
    """Make MLflow's SQLite store where there is none, whole or not at all.

    MLflow makes its tables one by one, and cannot go on where a process was killed between two.
    """
    _hush_migrations()
    if not path.exists() or path.stat().st_size == 0:
        with locked(home() / "locks" / "mlflow-store.lock"):
            if not path.exists() or path.stat().st_size == 0:
                _fill_store(path)
    make_private(path)


def _fill_store(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # Nobody else makes it now: these are of processes that were killed.
    for half in path.parent.glob(f".{path.name}-*"):
        half.unlink(missing_ok=True)
    with whole_file(path) as temporary:
        store = SqlAlchemyStore(f"sqlite:///{temporary}", (home() / "mlartifacts").as_uri())  # type: ignore[no-untyped-call]
        store.engine.dispose()


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Raise RegistryError, in one line, where MLflow fails, or the bucket of its artifacts."""
    try:
        yield
    except Exception as error:
        if not is_trouble(error):
            raise
        reason = " ".join(hide(error).split())[:200]
        raise RegistryError(
            f"MLflow at {shown_uri()} failed in the middle of the run ({reason}); what was done "
            "before stands, run again to finish"
        ) from error


def is_trouble(error: Exception) -> bool:
    """Whether an error is MLflow's, its server's, or that of a bucket which it calls itself."""
    return is_of_bucket(error) or isinstance(error, MlflowException | requests.RequestException)


def check_experiment(client: MlflowClient, name: str) -> str | None:
    """Return the id of the experiment `name`, None where there is none yet.

    Raises InputError where it was deleted: MLflow would refuse every run of it.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        return None
    if found.lifecycle_stage == "deleted":
        raise InputError(
            f"MLflow's experiment {name!r} was deleted; bring it back with `mlflow experiments "
            f"restore --experiment-id {found.experiment_id}` (MLFLOW_TRACKING_URI={shown_uri()})"
        )
    return str(found.experiment_id)


def find_experiment(client: MlflowClient, name: str) -> str:
    """Return the id of the experiment `name`, made if it is not there."""
    if found := check_experiment(client, name):
        return found
    # A server knows where its artifacts go; without one they stay in the folder of all state, or go
    # where MLflow's own variable says, so that machines that share a database find them.
    root = os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") or (home() / "mlartifacts").as_uri()
    own = not tracking_uri().startswith("http")
    location = f"{root.rstrip('/')}/{name}" if own else None
    return str(client.create_experiment(name, artifact_location=location))


def user_name() -> str:
    """The user's name; the number where it has none, as of `docker run --user`."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid())


def code_version() -> str:
    """Return the commit of the running code, '-dirty' if changed; without git, the version.

    An image, which has no git, is told its commit when it is built: BTC_CODE_VERSION.
    """
    if told := os.environ.get("BTC_CODE_VERSION"):
        return told
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    root = Path(__file__).parent.parent
    try:
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return version("btc-daily")
    return found.stdout.strip()
