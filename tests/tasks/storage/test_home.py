"""The folder of all state is its owner's alone; a Prefect profile that is named must be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import InputError
from tasks.registry.connection import connect
from tasks.service.doctor import examine
from tasks.storage.candle_store import CandleStore
from tasks.storage.database import check_database
from tasks.storage.files import write_text
from tasks.storage.home import check_home, check_profile, make_private
from tasks.storage.lock import locked
from tests.replay.market import made_candles, table_of


def test_a_profile_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    check_profile()
    monkeypatch.setenv("PREFECT_PROFILE", "mine")
    with pytest.raises(InputError, match=r"no profile 'mine' .*ephemeral.*unset the variable"):
        check_profile()
    (tmp_path / "profiles.toml").write_text("[profiles.mine]\n")
    check_profile()
    (tmp_path / "profiles.toml").write_text("[profiles")
    with pytest.raises(InputError, match="cannot read"):
        check_profile()


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("first", ["home", "ledger", "registry", "file", "lock", "candles"])
def test_whatever_makes_the_home_makes_it_for_its_owner(own_home: Path, first: str) -> None:
    table = table_of(made_candles("2024-01-01", 3))
    if first == "home":
        check_home()
    elif first == "ledger":
        check_database()
    elif first == "registry":
        connect().search_experiments()
    elif first == "file":
        write_text("x", own_home / "reports" / "x")
    elif first == "lock":
        with locked(own_home / "locks" / "x"):
            pass
    else:
        CandleStore("exchange:x", "BTC/USD").write(table, table.slice(0, 0))
    assert rights(own_home) == 0o700
    databases = list(own_home.glob("*.db*"))
    assert {rights(path) for path in databases} <= {0o600}
    assert bool(databases) == (first in ("ledger", "registry"))


def test_rights_of_an_earlier_release_are_mended(own_home: Path) -> None:
    check_database()
    connect().search_experiments()
    own_home.chmod(0o755)
    make_private(own_home / "prefect" / "prefect.db")
    for path in own_home.rglob("*.db"):
        path.chmod(0o644)
    found = [one for one in examine() if "others may read" in one.what]
    assert [Path(one.what.split()[3]).name for one in found] == [
        "home", "ledger.db", "mlflow.db", "prefect.db",
    ]  # fmt: skip
    check_database()
    connect()
    assert rights(own_home / "ledger.db") == rights(own_home / "mlflow.db") == 0o600
    for one in found:
        assert one.fix is not None
        one.fix()
    assert rights(own_home) == 0o700
    assert not [one for one in examine() if "others may read" in one.what]
