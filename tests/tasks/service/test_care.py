"""Backup, restore and doctor, each on a state folder of its own."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from flows.cli.app import app
from flows.forecast import forecast
from models.errors import InputError
from tasks.registry.aliases import find_champion
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
