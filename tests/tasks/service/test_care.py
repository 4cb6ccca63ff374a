"""Backup, restore, doctor and clean, each on a state folder of its own."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from flows.cli.app import app
from flows.forecast import forecast
from models.decisions.retention import StoredVersion, select_kept, select_old, select_unnamed
from models.errors import InputError
from tasks.registry.aliases import find_champion
from tasks.service.clean import delete, find_rubbish
from tasks.service.doctor import examine
from tasks.storage.ledger import read_ledger
from tests.flows import states
from tests.flows.states import btc
from tests.simulation.days import NAME


@pytest.fixture
def one_day(own_home: Path, prefect_api: str, shared_root: Path) -> Path:
    """See `make_one_day`."""
    made = states.share("one-day", states.make_one_day, prefect_api, shared_root)
    states.copy_state(made, own_home)
    return own_home


@pytest.mark.server
def test_a_backup_forecasts_in_another_folder_when_the_first_is_gone(
    one_day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: str
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    file, other = tmp_path / "backup.tar.gz", tmp_path / "elsewhere" / "home"
    before = read_ledger(NAME)
    btc("backup", str(file))
    with pytest.raises(InputError, match="is not empty"):
        btc("restore", str(file))
    one_day.rename(tmp_path / "gone")
    monkeypatch.setenv("BTC_HOME", str(other))
    btc("restore", str(file))
    shutil.rmtree(tmp_path / "gone")
    assert read_ledger(NAME).equals(before)
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        made = states.run_flow(monkeypatch, other, forecast, 1)
    assert made["version"] == "1"
    assert examine() == []


def test_what_is_no_backup_is_told(own_home: Path, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot restore it"):
        btc("restore", str(tmp_path / "x.tar.gz"))
    assert not own_home.exists()
    with pytest.raises(InputError, match="nothing to back up"):
        btc("backup", str(tmp_path / "y.tar.gz"))
    assert list(tmp_path.glob("*y.tar*")) == []


def leave_work(home: Path) -> None:
    (home / "work" / "half").mkdir(parents=True)


def cut_a_move_off(home: Path) -> None:
    with sqlite3.connect(home / "ledger.db") as database:
        database.execute("UPDATE alias_history SET state = 'begun'")


def move_the_alias(home: Path) -> None:
    with sqlite3.connect(home / "ledger.db") as database:
        database.execute("UPDATE alias_history SET to_version = 7")


def damage_a_snapshot(home: Path) -> None:
    next(home.glob("snapshots/*/candles.parquet")).write_bytes(b"damaged")


def damage_the_champion(home: Path) -> None:
    uri = f"sqlite:///{home / 'mlflow.db'}"
    found = find_champion(MlflowClient(uri, uri), NAME)
    assert found is not None
    for path in home.rglob("weights.npz"):
        path.write_bytes(b"damaged")


def damage_the_ledger(home: Path) -> None:
    path = home / "ledger.db"
    path.write_bytes(path.read_bytes()[:100] + b"x" * 5000)


@pytest.mark.server
@pytest.mark.parametrize(
    ("damage", "said", "mended"),
    [
        (leave_work, "left by a run that was cut off", True),
        (cut_a_move_off, "a move of the champion was cut off", True),
        (move_the_alias, "the history's last move is to 7", False),
        (damage_a_snapshot, "is not what was stored", False),
        (damage_the_champion, "files are not those registered", False),
        (damage_the_ledger, "ledger.db is damaged", False),
    ],
)
def test_doctor_finds_what_is_broken_and_mends_what_loses_nothing(
    one_day: Path, damage: Callable[[Path], None], said: str, mended: bool
) -> None:
    assert examine() == []
    damage(one_day)
    told = CliRunner().invoke(app, ["doctor"])
    assert told.exit_code == 1 and said in told.output
    fixed = CliRunner().invoke(app, ["doctor", "--fix"])
    assert (fixed.exit_code == 0) is mended, fixed.output
    if mended:
        assert btc("doctor") == "nothing found\n"


def test_what_forecasts_or_served_lately_is_kept() -> None:
    champions = list(range(1, 50))
    kept = select_kept([2, 3], champions)
    assert kept == {2, 3, *range(19, 50)}
    first = dt.date(2026, 1, 1)
    versions = [
        StoredVersion(number=n, as_of=first + dt.timedelta(days=n), snapshot_sha256="")
        for n in range(1, 200)
    ]
    old = select_old(versions, kept, dt.date(2026, 6, 1), keep_days=90)
    assert {one.number for one in old} == {n for n in range(1, 61) if n not in kept}
    assert select_unnamed(["a", "b"], ["b", "c"]) == {"a"}


@pytest.mark.server
def test_clean_takes_old_pictures_alone_and_only_when_it_is_meant(one_day: Path) -> None:
    kept = {path for path in one_day.rglob("*") if path.is_file() and "report" not in str(path)}
    assert "0 items" in btc("clean", "--dry-run")
    listed = btc("clean", "--dry-run", "--keep-days", "1")
    assert "pictures of" in listed
    plots = next(one_day.glob("reports/*/plots"))
    assert plots.exists()
    btc("clean", "--keep-days", "1")
    assert not plots.exists()
    assert next(one_day.glob("reports/*/summary.json")).exists()
    assert "0 items" in btc("clean", "--dry-run", "--keep-days", "1")
    gone = {path for path in kept if not path.exists()}
    assert all({"plots", "predictions.parquet"} & {*path.parts, path.name} for path in gone)


def test_clean_takes_the_candles_of_an_old_search_and_leaves_its_recipe(own_home: Path) -> None:
    for name, days in (("old", 100), ("new", 1)):
        folder = own_home / "tuning" / name
        folder.mkdir(parents=True)
        for file in ("candles.parquet", "recipe.yaml"):
            (folder / file).write_bytes(b"x")
            then = time.time() - days * 86_400
            os.utime(folder / file, (then, then))
    delete(find_rubbish())
    left = {
        path.relative_to(own_home / "tuning").as_posix()
        for path in (own_home / "tuning").glob("*/*")
    }
    assert left >= {"new/candles.parquet", "new/recipe.yaml", "old/recipe.yaml"}
    assert "old/candles.parquet" not in left


def test_clean_leaves_the_snapshots_of_other_symbols(own_home: Path) -> None:
    """What names them was not looked at, and a damaged manifest stops nobody."""
    for name, text in (
        ("ours", '{"symbol": "BTC/USD", "as_of": "2020-01-01"}'),
        ("eth", '{"symbol": "ETH/USD", "as_of": "2020-01-01"}'),
        ("damaged", "{"),
    ):
        folder = own_home / "snapshots" / name
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(text)
    delete(find_rubbish())
    assert {path.name for path in (own_home / "snapshots").iterdir()} == {"eth", "damaged"}
