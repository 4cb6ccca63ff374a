"""Optuna's storage: private, usable with few rights, and blamed for its own errors alone."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from sqlalchemy import create_engine, text

from models.errors import LedgerError
from tasks.storage.database import database_url
from tasks.storage.studies import opened_studies


def test_the_file_and_its_folder_are_for_their_owner_alone(own_home: Path) -> None:
    with opened_studies() as storage:
        optuna.create_study(storage=storage, study_name="a")
    assert (own_home / "tuning.db").stat().st_mode & 0o777 == 0o600
    assert own_home.stat().st_mode & 0o777 == 0o700


def test_an_error_of_the_work_in_between_is_not_said_to_be_the_databases() -> None:
    with pytest.raises(FileNotFoundError), opened_studies():
        Path("no such candles").read_bytes()


def test_what_is_no_database_is_told(own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "tuning.db").write_bytes(b"no database, but long enough to be read as one" * 50)
    with pytest.raises(LedgerError, match="tuning: cannot use sqlite"), opened_studies():
        pass
    (own_home / "tuning.db").unlink()
    (own_home / "tuning.db").mkdir()
    with pytest.raises(LedgerError, match="tuning: cannot use sqlite"), opened_studies():
        pass


def test_a_user_who_may_not_make_schemas_uses_the_one_that_is_there(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTC_DATABASE_URL", postgres_url)
    with opened_studies():
        pass
    engine = create_engine(database_url())
    with engine.begin() as connection:
        for statement in (
            "CREATE ROLE plain LOGIN",
            "GRANT USAGE ON SCHEMA tuning TO plain",
            "GRANT ALL ON ALL TABLES IN SCHEMA tuning TO plain",
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA tuning TO plain",
        ):
            connection.execute(text(statement))
    monkeypatch.setenv("BTC_DATABASE_URL", postgres_url.replace("//btc@", "//plain@"))
    try:
        with opened_studies() as storage:
            optuna.create_study(storage=storage, study_name="of plain").add_trial(
                optuna.trial.create_trial(value=1.0)
            )
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP OWNED BY plain"))
            connection.execute(text("DROP ROLE plain"))
        engine.dispose()
