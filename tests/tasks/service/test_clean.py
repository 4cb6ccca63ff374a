"""Cleaning up: what goes, what stays, and what a deletion that was cut off leaves to the next."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.retrain import retrain
from models.config.judging import Retention
from models.decisions.alarms import IN_PART
from models.decisions.retention import StoredVersion, select_champions, select_old
from models.errors import CleaningError, InputError
from tasks.registry.connection import connect, find_experiment
from tasks.registry.versions import find_versions
from tasks.service.clean import MOST_FAILURES, clean_alone, delete
from tasks.service.items import Item, remove
from tasks.service.rubbish import find_rubbish
from tasks.service.runs import call
from tasks.storage.lock import hold
from tasks.storage.snapshots import list_snapshots
from tests.flows import states
from tests.flows.states import btc
from tests.simulation.days import NAME

STRICT = Retention(keep_days=1, keep_champions=0)
LATER = dt.date(2027, 6, 1)


@pytest.fixture
def five_days(own_home: Path, prefect_api: str, shared_root: Path) -> Path:
    """See `make_five_days`."""
    made = states.share("five-days", states.make_five_days, prefect_api, shared_root)
    states.copy_state(made, own_home)
    return own_home


def grow_old(home: Path) -> None:
    """Let every file and version be as if it were of a year ago."""
    then = time.time() - 365 * 86_400
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute("UPDATE model_versions SET creation_time = ?", [int(1000 * then)])
    for path in home.rglob("*"):
        os.utime(path, (then, then))


def numbers(client: MlflowClient) -> list[int]:
    return sorted(int(version.version) for version in find_versions(client, NAME))


def add_unused(client: MlflowClient) -> str:
    """Register a version that never forecast and never served; returns its model's id."""
    first = min(find_versions(client, NAME), key=lambda version: int(version.version))
    run = client.get_run(str(first.run_id))
    model = client.create_logged_model(run.info.experiment_id, "unused")
    folder = Path(str(model.artifact_location).removeprefix("file://"))
    folder.mkdir(parents=True)
    (folder / "weights.npz").write_bytes(b"x" * 1000)
    other = client.create_run(run.info.experiment_id)
    client.create_model_version(
        NAME,
        source=f"models:/{model.model_id}",
        run_id=other.info.run_id,
        tags={"as_of": "2026-10-01", "snapshot_sha256": "0" * 64},
    )
    return str(model.model_id)


def test_the_champion_and_its_last_predecessors_are_kept() -> None:
    assert select_champions(list(range(1, 50)), 30) == set(range(19, 50))
    assert select_champions([1, 2, 1], 0) == {1}
    first = dt.date(2026, 1, 1)
    versions = [
        StoredVersion(number=n, as_of=first + dt.timedelta(days=n), made=first, snapshot_sha256="")
        for n in range(1, 200)
    ]
    old = select_old(versions, {2, 3}, dt.date(2026, 3, 3))
    assert {one.number for one in old} == {n for n in range(1, 61) if n not in (2, 3)}


@pytest.mark.server
def test_what_the_champion_names_stays_whole_and_older_pictures_go(five_days: Path) -> None:
    grow_old(five_days)
    before = {path for path in five_days.rglob("*") if path.is_file()}
    assert "0 items" in btc("clean", "--dry-run")
    assert "pictures" not in btc("clean", "--dry-run", "--keep-days", "1")  # One was champion.
    listed = btc("clean", "--dry-run", "--keep-days", "1", "--keep-champions", "0")
    assert "pictures of 2026-10-01-btc-usd-v1" in listed and "-v2" not in listed
    assert before <= {path for path in five_days.rglob("*") if path.is_file()}
    btc("clean", "--keep-days", "1", "--keep-champions", "0")
    gone = {path for path in before if not path.exists()}
    parts = {"plots", "predictions.parquet", "pages"}
    assert {part for path in gone for part in path.parts} >= parts
    # Scores of a holdout are compared with by its successor alone; snapshots are still readable.
    assert all((parts | {"holdout", "holdouts", "snapshots"}) & set(path.parts) for path in gone)
    assert not any(fault for _, fault in list_snapshots())
    assert next(five_days.glob("reports/*-v1/summary.json")).exists()
    assert next(five_days.glob("reports/*-v2/predictions.parquet")).exists()
    assert next(five_days.glob(f"reports/{NAME}/2026-10-01.html")).exists()
    again = btc("clean", "--dry-run", "--keep-days", "1", "--keep-champions", "0")
    assert "0 items" in again


@pytest.mark.server
def test_a_version_that_nothing_names_goes_and_a_cut_off_deletion_is_finished(
    five_days: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect()
    known = numbers(client)
    model = add_unused(client)
    added = max(numbers(client))
    found = find_rubbish("BTC/USD", STRICT, LATER)
    [version] = [item for item in found if f"version {added}," in item.what]
    assert version.n_bytes == 1000 and model in version.place

    def fail(*_: object) -> None:
        raise OSError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr("tasks.registry.artifacts.ArtifactFolder.delete", fail)
        with pytest.raises(CleaningError, match="cut off"):
            delete([version])
    assert numbers(client) == known  # The registry first.
    folder = five_days / "mlartifacts" / NAME / "models" / model
    assert folder.exists()
    left = [item.what for item in find_rubbish("BTC/USD", STRICT, LATER)]
    assert "a model without a version" in left
    clean_alone("BTC/USD", STRICT, LATER)
    assert not folder.exists() and numbers(client) == known
    assert find_rubbish("BTC/USD", STRICT, LATER) == []


@pytest.mark.server
def test_what_another_database_or_ledger_may_name_stays(
    five_days: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A registry that was begun anew over the same files, and a ledger that was lost."""
    grow_old(five_days)
    models = sorted(five_days.glob("mlartifacts/*/models/*/artifacts/MLmodel"))
    (five_days / "ledger.db").unlink()
    clean_alone("BTC/USD", STRICT, LATER)
    assert len(numbers(connect())) == 2
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'other.db'}")
    client = connect()
    find_experiment(client, NAME)
    clean_alone("BTC/USD", STRICT, LATER)
    assert len(models) == 2 and all(path.exists() for path in models)


@pytest.mark.server
def test_what_was_made_lately_stays_though_its_candles_are_old(five_days: Path) -> None:
    client = connect()
    add_unused(client)
    before = numbers(client)
    clean_alone("BTC/USD", STRICT, dt.datetime.now(dt.UTC).date())
    assert numbers(client) == before and next(five_days.glob("reports/*-v1/plots"))


@pytest.mark.server
def test_the_daily_retrain_cleans_by_its_configuration_and_failing_to_spoils_nothing(
    five_days: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow_old(five_days)
    [plots, predictions] = (
        next(five_days.glob(f"reports/*-v1/{name}")) for name in ("plots", "predictions.parquet")
    )
    strict = STRICT.model_dump()

    def fail(path: Path) -> None:
        if path == plots:
            raise OSError(13, "Permission denied", str(plots))
        remove(path)

    with temporary_settings({PREFECT_API_URL: prefect_api}):
        with monkeypatch.context() as patch:
            patch.setattr("tasks.service.items.remove", fail)
            failed = states.run_flow(patch, five_days, retrain, 6, retention=strict)
        assert failed["cleaned"]["failed"].startswith("not deleted: pictures of 2026-10-01-btc-usd")
        assert "Permission denied" in failed["cleaned"]["failed"]
        assert failed["forecast"]["kind"] == "live" and plots.exists()
        assert not predictions.exists()  # One that cannot be deleted stops no other.
        asked = {"flow_runs": {"state": {"name": {"any_": [IN_PART]}}}}
        messages = [
            run["state"]["message"] for run in call(prefect_api, "/flow_runs/filter", asked)
        ]
        assert any("cleaning up failed (not deleted: pictures of" in text for text in messages)
        # The same day again makes nothing new, and cleans all the same.
        done = states.run_flow(monkeypatch, five_days, retrain, 6, retention=strict)
    assert done["done_before"] and done["cleaned"]["failed"] is None
    assert done["cleaned"]["items"] > 0 and done["cleaned"]["bytes"] > 10_000
    assert not plots.exists()


@pytest.mark.server
def test_a_file_that_is_kept_twice_takes_the_disk_once(prefect_api: str, shared_root: Path) -> None:
    made = states.share("five-days", states.make_five_days, prefect_api, shared_root)
    runs = made / "mlartifacts" / NAME
    for name in ("predictions.parquet", "plots/loss.svg", "summary.json"):
        [report] = made.glob(f"reports/*-v1/{name}")
        assert any(report.samefile(path) for path in runs.glob(f"*/artifacts/{name}")), name
    first, second = sorted(runs.glob("models/*/artifacts/code/models/pyfunc.py"))
    assert first.samefile(second)


def test_what_cannot_be_deleted_keeps_what_it_names_and_stops_no_other() -> None:
    gone: list[str] = []

    def item(what: str, snapshot: str = "", error: Exception | None = None) -> Item:
        def delete_it() -> None:
            if error:
                raise error
            gone.append(what)

        return Item(what, "", 1, delete_it, snapshot)

    forbidden = MlflowException("403: postgresql://me:hunter2@db forbids it")
    items = [item("version 1", "a", forbidden), item("version 2", "b"), item("snapshot a", "a")]
    with pytest.raises(CleaningError, match=r"^not deleted: version 1: 403: ") as told:
        delete([*items, item("snapshot b", "b"), item("scores")])
    assert gone == ["version 2", "snapshot b", "scores"]
    assert "hunter2" not in str(told.value) and "3 other items were" in str(told.value)
    gone.clear()
    # A server that is gone is not waited for again and again.
    items = [item(f"version {n}", str(n), forbidden) for n in range(MOST_FAILURES)]
    with pytest.raises(CleaningError, match="and 4 more; 0 other items"):
        delete([*items, item("scores")])
    assert gone == []
    with pytest.raises(KeyError):  # a defect of ours
        delete([item("version 1", error=KeyError())])


@pytest.mark.server
def test_artifacts_in_a_folder_of_another_machine_are_left_with_their_versions(
    five_days: Path,
) -> None:
    client = connect()
    add_unused(client)
    grow_old(five_days)
    known = numbers(client)
    folder = five_days / "mlartifacts"
    before = [item.what for item in find_rubbish("BTC/USD", STRICT, LATER)]
    assert any("pictures in the run" in what for what in before)
    assert any("which never forecast" in what for what in before)
    # As another machine sees them that shares the database.
    folder.rename(five_days.parent / "elsewhere")
    clean_alone("BTC/USD", STRICT, LATER)
    assert numbers(client) == known
    (five_days.parent / "elsewhere").rename(folder)
    after = [item.what for item in find_rubbish("BTC/USD", STRICT, LATER)]
    assert [what for what in before if "version" in what] == [
        what for what in after if "version" in what
    ]


def test_cleaning_by_hand_waits_for_no_retrain(own_home: Path) -> None:
    with hold(NAME) as mine, pytest.raises(InputError, match="at work; clean when"):
        assert mine
        clean_alone("BTC/USD", STRICT, LATER)


@pytest.mark.server
def test_clean_goes_through_every_symbol_and_one_at_work_stops_no_other(five_days: Path) -> None:
    grow_old(five_days)
    path = five_days / "service" / "prefect.yaml"
    path.parent.mkdir()
    path.write_text("deployments: [{parameters: {config: {symbols: [ETH/USD]}}}]")
    search = five_days / "tuning" / "old" / "candles.parquet"
    search.parent.mkdir(parents=True)
    search.write_bytes(b"x")
    os.utime(search, (0, 0))
    strict = ("--keep-days", "1", "--keep-champions", "0")
    listed = btc("clean", "--dry-run", *strict)
    assert "pictures of 2026-10-01-btc-usd-v1" in listed
    assert listed.count("candles of an old search") == 1
    assert "pictures" not in btc("clean", "--dry-run", *strict, "--symbol", "ETH/USD")
    with hold("eth-usd"), pytest.raises(InputError, match="of ETH/USD is at work"):
        btc("clean", *strict)
    assert not search.exists()
    assert "0 items" in btc("clean", "--dry-run", *strict)


def test_clean_takes_the_candles_of_an_old_search_and_leaves_its_recipe(own_home: Path) -> None:
    for name, days in (("old", 100), ("new", 1)):
        folder = own_home / "tuning" / name
        folder.mkdir(parents=True)
        for file in ("candles.parquet", "recipe.yaml"):
            (folder / file).write_bytes(b"x")
            then = time.time() - days * 86_400
            os.utime(folder / file, (then, then))
    btc("clean")
    left = {
        path.relative_to(own_home / "tuning").as_posix()
        for path in (own_home / "tuning").glob("*/*")
    }
    assert left == {"new/candles.parquet", "new/recipe.yaml", "old/recipe.yaml"}


@pytest.mark.server
def test_snapshots_and_scores_of_others_stay(five_days: Path) -> None:
    """What names those of another symbol was not looked at; a damaged manifest stops nobody."""
    [manifest, *_] = sorted(five_days.glob("snapshots/*/manifest.json"))
    text = manifest.read_text()
    for name, changed in (
        ("a" * 64, text),
        ("b" * 64, text.replace("BTC/USD", "ETH/USD")),
        ("c" * 64, "{"),
    ):
        shutil.copytree(manifest.parent, five_days / "snapshots" / name)
        (five_days / "snapshots" / name / "manifest.json").write_text(changed)
        (five_days / "holdouts" / f"{name[:16]}-x-y.parquet").write_bytes(b"x")
    (five_days / "snapshots" / ".d-going").mkdir()
    champion = {path.name for path in five_days.glob("holdouts/*")}
    used = {path.name for path in five_days.glob("snapshots/*")}
    clean_alone("BTC/USD", STRICT, dt.date(2026, 10, 20))  # All was asked for after that day.
    assert {path.name for path in five_days.glob("snapshots/*")} == used
    assert {path.name for path in five_days.glob("holdouts/*")} == champion
    grow_old(five_days)
    clean_alone("BTC/USD", STRICT, LATER)
    left = {path.name for path in five_days.glob("snapshots/*")}
    assert used - left == {"a" * 64, ".d-going"}
    scores = {path.name[:16] for path in five_days.glob("holdouts/*")}
    assert {"b" * 16, "c" * 16} < scores and "a" * 16 not in scores and len(scores) == 3
