"""The champion moved, pinned and shown by hand; each test on its own state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.forecast import forecast
from flows.retrain import retrain
from models.errors import InputError
from tasks.registry.aliases import pin_reason, read_history
from tasks.storage.lock import hold
from tests.flows.states import Run, btc, champion, date
from tests.simulation.days import NAME

pytestmark = pytest.mark.server


def test_rollback_moves_back_pins_and_is_recorded(five_days: Path, client: MlflowClient) -> None:
    now = champion(client)
    assert "version 1 is champion" in btc("rollback", "--to", "1", "--why", "odd bands")
    assert champion(client) == "1"
    last = read_history(NAME).iloc[-1]
    assert (last["action"], last["why"], last["state"]) == ("rollback", "odd bands", "done")
    assert (str(last["from_version"]), last["to_version"]) == (now, 1)
    assert "odd bands" in pin_reason(NAME)
    with pytest.raises(InputError, match="no champion before this one"):
        btc("rollback", "--why", "further")
    with pytest.raises(InputError, match="no version '99'; known:"):
        btc("rollback", "--to", "99", "--why", "typo")


def test_pinned_champion_stays_through_a_retrain(
    run: Run, five_days: Path, client: MlflowClient
) -> None:
    btc("rollback", "--to", "1", "--why", "odd bands")
    summary = run(retrain, 6)
    assert summary["decision"]["action"] == "keep"
    assert "odd bands" in summary["decision"]["reasons"][0]
    assert champion(client) == "1"
    btc("unpin", "--why", "bands explained")
    assert pin_reason(NAME) == ""
    assert run(retrain, 7)["decision"]["action"] == "refresh"
    assert champion(client) != "1"


def test_rollback_without_a_number_goes_to_the_champion_before(
    five_days: Path, client: MlflowClient
) -> None:
    now = champion(client)
    btc("rollback", "--why", "again")
    assert champion(client) == "1"
    btc("promote", str(now), "--why", "no, it was good")
    assert champion(client) == now


def test_models_are_listed_and_shown(five_days: Path, client: MlflowClient) -> None:
    btc("rollback", "--to", "1", "--why", "odd bands")
    facts = json.loads(btc("models", "--json"))
    by_alias = {alias: fact["version"] for fact in facts for alias in fact["aliases"]}
    assert str(by_alias["champion"]) == champion(client)
    assert "@champion" in btc("models")
    shown = btc("models", "show", "1")
    assert "rollback" in shown
    assert "odd bands" in shown
    assert json.loads(btc("models", "show", "1", "--json"))["history"][0]["action"] == "promote"


def test_second_retrain_at_once_ends_saying_so(
    run: Run, five_days: Path, client: MlflowClient
) -> None:
    n_versions = len(client.search_model_versions(f"name = '{NAME}'"))
    with hold(NAME, day=date(8)) as mine:
        assert mine
        assert "does a later day" in run(forecast, 7)["skipped"]
        assert "is at work" in run(retrain, 8)["skipped"]
        asked = ("--source", "sample", "--as-of", date(8).isoformat())
        assert "another retrain of BTC/USD is at work; this one ends" in btc("retrain", *asked)
        with pytest.raises(InputError, match="is at work"):
            btc("rollback", "--why", "now")
    assert len(client.search_model_versions(f"name = '{NAME}'")) == n_versions
