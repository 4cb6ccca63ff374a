"""Each thing that `btc doctor` looks for, broken on a state folder of its own."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import psutil
import pytest
import requests
from mlflow import MlflowClient
from typer.testing import CliRunner

from flows.cli.app import app
from models.data.sample import make_sample
from tasks.service import doctor, runs
from tasks.service.doctor import examine
from tasks.storage.candle_store import CandleStore
from tests.flows import states
from tests.flows.states import btc
from tests.servers import free_port
from tests.simulation.days import FIRST_DAY, NAME


@pytest.fixture
def one_day(own_home: Path, prefect_api: str, shared_root: Path) -> Path:
    """See `make_one_day`."""
    made = states.share("one-day", states.make_one_day, prefect_api, shared_root)
    states.copy_state(made, own_home)
    return own_home


def change(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()


def flip_a_byte(path: Path, at: int = 1000) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def leave_work(home: Path) -> None:
    (home / "work" / "half").mkdir(parents=True)


def leave_half_a_file(home: Path) -> None:
    path = home / "reports" / ".index.html.part"
    path.touch()
    os.utime(path, (0, 0))


def open_to_others(home: Path) -> None:
    (home / "alerts.json").touch(mode=0o644)


def cut_a_move_off(home: Path) -> None:
    change(home / "ledger.db", "UPDATE alias_history SET state = 'begun'")


def orphan_artifacts(home: Path) -> None:
    for place in ("m-0", "models/m-0"):
        folder = home / "mlartifacts" / NAME / place / "artifacts"
        folder.mkdir(parents=True)
        (folder / "weights.npz").touch()


def move_the_alias(home: Path) -> None:
    change(home / "ledger.db", "UPDATE alias_history SET to_version = 7")


def drop_the_alias(home: Path) -> None:
    uri = f"sqlite:///{home / 'mlflow.db'}"
    MlflowClient(uri, uri).delete_registered_model_alias(NAME, "champion")


def forget_a_version(home: Path) -> None:
    change(home / "ledger.db", "UPDATE forecasts SET version = 9")


def damage_a_manifest(home: Path) -> None:
    next(home.glob("snapshots/*/manifest.json")).write_text("{")


def date_a_candle_ahead(home: Path) -> None:
    path = next(home.glob("snapshots/*/manifest.json"))
    ahead = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=3)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"as_of": ahead.isoformat()}))


def damage_a_snapshot(home: Path) -> None:
    flip_a_byte(next(home.glob("snapshots/*/candles.parquet")))


def damage_stored_candles(home: Path) -> None:
    store = CandleStore("exchange:bitstamp", "BTC/USD")
    frame = make_sample(FIRST_DAY, n_days=40)
    frame = frame.assign(**{n: 1 for n in store.schema.names if n not in frame})
    table = store.schema.empty_table()
    import pyarrow as pa

    store.write(pa.Table.from_pandas(frame[store.schema.names], schema=store.schema), table)
    flip_a_byte(Path(store.years()[0]), 100)


def damage_the_champion(home: Path) -> None:
    for path in home.rglob("weights.npz"):
        flip_a_byte(path)


def lose_the_champion(home: Path) -> None:
    shutil.rmtree(next((home / "mlartifacts" / NAME / "models").iterdir()))


def damage_the_ledger(home: Path) -> None:
    path = home / "ledger.db"
    path.write_bytes(path.read_bytes()[:100] + b"x" * 5000)


def halve_the_ledger(home: Path) -> None:
    change(home / "ledger.db", "DROP TABLE alarms")


def age(name: str, revision: str) -> Callable[[Path], None]:
    """Make a database of another release."""

    def do(home: Path) -> None:
        change(home / name, f"UPDATE alembic_version SET version_num = '{revision}'")

    do.__name__ = f"{name} {revision}"
    return do


def halve_mlflow(home: Path) -> None:
    change(home / "mlflow.db", "DROP TABLE model_version_tags")


def halve_prefect(home: Path) -> None:
    (home / "prefect").mkdir(mode=0o700)
    path = home / "prefect" / "prefect.db"
    path.touch(mode=0o600)
    change(path, "CREATE TABLE flow (id INTEGER)")


def make_prefect_newer(home: Path) -> None:
    halve_prefect(home)
    change(
        home / "prefect" / "prefect.db",
        "CREATE TABLE alembic_version (version_num TEXT)",
        "INSERT INTO alembic_version VALUES ('ffffffffffff')",
    )


MENDED = [
    (leave_work, "work/half was left by a run that was cut off"),
    (leave_half_a_file, ".index.html.part was left by a run that was cut off"),
    (open_to_others, "others may read"),
    (cut_a_move_off, "a move of the champion was cut off"),
]
TOLD = [
    (orphan_artifacts, "m-0 belongs to no run and no model"),
    (move_the_alias, "@champion is version 1, and the history's last move is to 7"),
    (drop_the_alias, "there is no @champion, and the history's last move is to 1"),
    (forget_a_version, "forecasts of version 9, which the registry lacks"),
    (damage_a_manifest, "manifest of snapshot"),
    (date_a_candle_ahead, "that has closed"),
    (damage_a_snapshot, "snapshots/"),
    (damage_stored_candles, "the store's file"),
    (damage_the_champion, "files are not those that were registered"),
    (lose_the_champion, "the champion: its files cannot be had"),
    (damage_the_ledger, "ledger.db is damaged"),
    (halve_the_ledger, "ledger.db is half-made (it lacks alarms)"),
    (age("ledger.db", "9999"), "ledger.db was made by a newer release"),
    (halve_mlflow, "mlflow.db is half-made (it lacks model_version_tags)"),
    (age("mlflow.db", "ffffffffffff"), "mlflow.db was made by a newer release"),
    (age("mlflow.db", "451aebb31d03"), "mlflow.db is of an older release"),
    (halve_prefect, "prefect.db is half-made"),
    (make_prefect_newer, "prefect.db was made by a newer release"),
]


def what(findings: list[doctor.Finding]) -> list[str]:
    return [f"{one.what} | {one.todo}" for one in findings]


@pytest.mark.server
@pytest.mark.parametrize(("damage", "said"), MENDED)
def test_doctor_mends_what_loses_nothing(
    one_day: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(one_day)
    found = what(examine())
    assert found and all(said in line for line in found)
    fixed = CliRunner().invoke(app, ["doctor", "--fix"])
    assert fixed.exit_code == 0 and "mended: " in fixed.output, fixed.output
    assert btc("doctor") == "nothing found\n"


@pytest.mark.server
@pytest.mark.parametrize(("damage", "said"), TOLD)
def test_doctor_tells_what_a_person_must_mend_and_leaves_it(
    one_day: Path, damage: Callable[[Path], None], said: str
) -> None:
    damage(one_day)
    found = [one for one in examine() if said in one.what]
    assert found and all(one.fix is None and one.todo for one in found)


@pytest.mark.server
def test_doctor_says_a_finding_and_its_command_and_ends_with_one(one_day: Path) -> None:
    assert btc("doctor") == "nothing found\n"
    move_the_alias(one_day)
    for words in (["doctor"], ["doctor", "--fix"]):
        told = CliRunner().invoke(app, words)
        assert told.exit_code == 1
        assert told.output.splitlines()[1] == "  btc promote 1 --why 'moved outside btc'"


def forecast_another(home: Path) -> None:
    """Let the ledger know a second symbol, of which the registry knows nothing."""
    columns = (
        "version, as_of, target_date, step, kind, issued_at, source, snapshot_sha256,"
        " close_origin, levels, quantiles, note"
    )
    names = f"INSERT INTO forecasts (symbol, model, {columns})"
    change(home / "ledger.db", f"{names} SELECT 'ETH/USD', 'eth-usd', {columns} FROM forecasts")


@pytest.mark.server
def test_doctor_looks_at_every_symbol_and_says_once_what_is_none_s(one_day: Path) -> None:
    leave_work(one_day)
    orphan_artifacts(one_day)
    forecast_another(one_day)
    cut_a_move_off(one_day)
    everywhere = ["work/half was left", "m-0 belongs to no run", "m-0 belongs to no run"]
    eth = "ETH/USD: the ledger has forecasts of version 1, which the registry lacks"
    mine = "BTC/USD: a move of the champion was cut off"
    for symbol, told in (("", [eth, mine, *everywhere]), ("BTC/USD", [mine[9:], *everywhere])):
        found = what(examine(symbol))
        assert len(found) == len(told), found
        assert all(any(text in line for line in found) for text in told), found


def old_package(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(doctor, "version", lambda name: {"fastapi": "0.155.1"}.get(name, "2.0"))


def missing_package(patch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "prefect":
            raise metadata.PackageNotFoundError
        return "0.1"

    patch.setattr(doctor, "version", version)


def little_memory(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(doctor, "LEAST_MEMORY_BYTES", psutil.virtual_memory().total + 1)


def unknown_zone(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("TZ", "Europe/Nowhere")


def no_server(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (old_package, "fastapi 0.155.1: `prefect deploy` fails | make setup"),
        (missing_package, "prefect is not installed | make setup"),
        (little_memory, "MB of memory are left, training wants 1,000 | stop"),
        (unknown_zone, "TZ names no time zone (Europe/Nowhere)"),
        (no_server, "prefect does not answer | btc down, then btc up"),
    ],
)
def test_doctor_finds_what_is_wrong_with_the_machine(
    change: Callable[[pytest.MonkeyPatch], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    assert [line for line in what(examine()) if said in line], what(examine())


def test_doctor_finds_a_nearly_full_disk(small_disk: Path) -> None:
    assert [line for line in what(examine()) if "MB of disk are left | btc clean" in line]


@pytest.mark.server
def test_doctor_marks_a_run_without_a_process_as_crashed(
    own_home: Path, prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    flow = requests.post(f"{prefect_api}/flows/", json={"name": "retrain"}, timeout=30).json()
    monkeypatch.setitem(runs.GRACE, "RUNNING", 0)
    state = {"type": "RUNNING", "name": "Running"}
    body = {"flow_id": flow["id"], "name": "dead", "state": state}
    run = requests.post(f"{prefect_api}/flow_runs/", json=body, timeout=30).json()
    [finding] = [one for one in examine() if "the run dead is said to be at work" in one.what]
    assert finding.fix is not None
    finding.fix()
    assert not [one for one in examine() if "the run dead" in one.what]
    found = requests.get(f"{prefect_api}/flow_runs/{run['id']}", timeout=30).json()
    assert found["state"]["type"] == "CRASHED"
    os.environ.pop("MLFLOW_TRACKING_URI", None)
