from __future__ import annotations

import datetime as dt
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

# Before the first import of Prefect, MLflow or TensorFlow, and gone when the tests end.
_state = tempfile.TemporaryDirectory(prefix="btc-daily-tests-", ignore_cleanup_errors=True)
os.environ |= {"BTC_HOME": _state.name, "PREFECT_HOME": f"{_state.name}/prefect"}
for _name in (
    "MLFLOW_TRACKING_URI",
    "PREFECT_API_URL",
    "PREFECT_PROFILE",
    "BTC_STORE",
    "BTC_DATABASE_URL",
):
    os.environ.pop(_name, None)

from tasks.storage.home import prepare_environment  # noqa: E402

# Nobody reads the log in a server that ends with the tests; sending it there delays their end.
os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
prepare_environment()

from models.config.flows import RetrainConfig  # noqa: E402
from models.config.judging import Judging  # noqa: E402
from models.config.recipe import READS_BOTH_WAYS, Recipe  # noqa: E402
from models.data.candles import digest_candles  # noqa: E402
from models.data.sample import make_sample  # noqa: E402
from models.forecasters.fit import fit_forecaster  # noqa: E402
from models.forecasters.forecaster import Forecaster  # noqa: E402
from models.learning.prepare import Prepared  # noqa: E402
from models.learning.windows import WindowSet  # noqa: E402
from models.records import CandlesRecord, ScaledRecord, SnapshotRecord  # noqa: E402
from tasks.scale import read_scaled, scale  # noqa: E402
from tasks.storage.files import write_frame  # noqa: E402
from tasks.window import window  # noqa: E402
from tests.servers import Postgres, postgres_server, shared_prefect_server  # noqa: E402

LAST_DAY = dt.date(2024, 12, 31)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all state, one for each test; not made yet."""
    monkeypatch.setenv("BTC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, started for the session from the system's packages."""
    with postgres_server() as server:
        if server is None:
            message = "PostgreSQL is not installed (initdb, pg_ctl): apt-get install postgresql"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """Its address."""
    return postgres.url


@pytest.fixture
def candles() -> pd.DataFrame:
    """Four hundred synthetic days."""
    return make_sample(LAST_DAY, n_days=400)


@pytest.fixture(scope="session")
def tiny_recipe() -> Callable[..., Recipe]:
    """Make a recipe that trains in a second."""

    def make(cell: str = "lstm", target: str = "log_return", **more: Any) -> Recipe:
        small: dict[str, Any] = {"units": 4, "lookback": 8, "horizon": 3}
        training: dict[str, Any] = {"epochs": 2}
        scaled = target in ("standardized_return", "rescaled_return")
        if scaled:
            small |= {"members": 2}
        else:
            small |= {"head": "point"}
        if scaled and not READS_BOTH_WAYS[cell]:
            training |= {"chunk_days": 40, "updates_per_epoch": 3}
        else:
            training |= {"batch_size": 64}
        training |= more.pop("training", {})
        return Recipe.model_validate(
            {"cell": cell, "target": target, "training": training} | small | more
        )

    return make


@dataclass(frozen=True)
class Stages:
    """What the stages before training leave."""

    config: RetrainConfig
    record: ScaledRecord
    prepared: Prepared

    @property
    def windows(self) -> WindowSet:
        return self.prepared.windows

    def fit(self) -> tuple[Forecaster, dict[str, list[float]]]:
        return fit_forecaster(self.prepared)


def body(task: Any) -> Callable[..., Any]:
    """The function of a stage, without Prefect."""
    return task.fn.__wrapped__  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def run_stages(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stages]:
    """Run the real stages scale and window on a candle frame, on disk but without Prefect."""

    def run(frame: pd.DataFrame, recipe: Recipe) -> Stages:
        folder = tmp_path_factory.mktemp("stages")
        config = RetrainConfig(recipe=recipe, judging=Judging(bootstrap_samples=100))
        path = folder / "candles.parquet"
        write_frame(frame, path)
        source = CandlesRecord(path=path, label="sample", synthetic=True, n_rows=len(frame))
        snapshot = SnapshotRecord(
            folder=folder,
            sha256=digest_candles(frame),
            symbol=config.symbol,
            source="sample",
            synthetic=True,
            n_rows=len(frame),
            first_day=frame["open_time"].iloc[0].date(),
            as_of=frame["open_time"].iloc[-1].date(),
        )
        record = body(scale)(source, snapshot, config)
        body(window)(record, recipe)
        return Stages(config, record, read_scaled(record, recipe))

    return run


@pytest.fixture(scope="session")
def fitted(
    run_stages: Callable[..., Stages], tiny_recipe: Callable[..., Recipe]
) -> Callable[..., tuple[Stages, Forecaster]]:
    """Fit a tiny recipe once for all tests."""

    @cache
    def fit(cell: str = "lstm", target: str = "log_return") -> tuple[Stages, Forecaster]:
        stages = run_stages(make_sample(LAST_DAY, n_days=400), tiny_recipe(cell, target))
        return stages, stages.fit()[0]

    return fit


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all workers of this session share."""
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "shared"
    root.mkdir(exist_ok=True)
    return root


@pytest.fixture(scope="session")
def prefect_api(shared_root: Path) -> Iterator[str]:
    """Address of the Prefect server of all workers."""
    with shared_prefect_server(shared_root) as url:
        yield url


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 100 MB in memory; the folder of all state is to be in it."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    monkeypatch.setenv("BTC_HOME", str(place / "home"))
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
