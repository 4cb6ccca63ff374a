"""Backup and restore, each on a state folder of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from flows.forecast import forecast
from models.errors import InputError
from tasks.service.doctor import examine
from tasks.storage.ledger import read_ledger
from tasks.storage.lock import hold
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
    (one_day / "service").mkdir(exist_ok=True)
    served = {"deployments": [{"parameters": {"config": {"symbols": ["BTC/USD", "ETH/USD"]}}}]}
    (one_day / "service" / "prefect.yaml").write_text(json.dumps(served))
    with hold("eth-usd"), pytest.raises(InputError, match="a run of ETH/USD is at work; back up"):
        btc("backup", str(file))
    assert list(tmp_path.glob("*backup.tar*")) == []
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
