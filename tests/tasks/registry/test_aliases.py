"""Moves of the champion's alias on a real MLflow store."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from models.config.recipe import Recipe
from models.decisions.promotion import Decision
from models.errors import InputError
from models.naming import run_labels
from tasks.registry.aliases import (
    Move,
    find_champion,
    move_by_hand,
    move_champion,
    pin_reason,
    read_history,
)
from tasks.registry.connection import connect
from tasks.registry.facts import list_facts
from tasks.registry.versions import find_version, read_action, read_decision, read_recipe

NAME = "btc-usd-synthetic"
NOW = dt.datetime(2026, 10, 2, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with two versions: 1 may serve, 2 is a reproduction on made-up candles."""
    folder = tmp_path_factory.mktemp("registry")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}", f"sqlite:///{folder / 'mlflow.db'}")
    client.create_registered_model(NAME)
    for preset in ("default", "assignment"):
        recipe = Recipe(preset=preset)
        tags = {
            "recipe": recipe.model_dump_json(),
            "label": "; ".join(run_labels(True, recipe.reproduction)),
        }
        client.create_model_version(NAME, source=(folder / preset).as_uri(), tags=tags)
    return folder


@pytest.fixture
def client(store: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store / 'mlflow.db'}")
    # No model lies behind the versions; that they load is tested with real ones.
    monkeypatch.setattr("tasks.registry.model_files.load_version", lambda version: None)
    found = connect()
    if find_champion(found, NAME):
        found.delete_registered_model_alias(NAME, "champion")
    return found


def wanted(to: str, action: str = "manual") -> Move:
    return Move(
        model=NAME, to=to, action=action, why="a test", at=NOW, key=f"{to}-{action}", pin=True
    )


@pytest.mark.parametrize("action", ["manual", "rollback"])
def test_a_synthetic_reproduction_is_never_promoted_by_hand(
    client: MlflowClient, action: str
) -> None:
    """Its label begins with SYNTHETIC: what counts is the recipe."""
    with pytest.raises(InputError, match="version 2 is a reproduction"):
        move_by_hand(client, "BTC/USD", wanted("2", action))
    assert find_champion(client, NAME) is None
    assert read_history(NAME).empty


@pytest.mark.parametrize("action", ["promote", "refresh"])
def test_a_reproduction_is_never_promoted_by_a_retrain(client: MlflowClient, action: str) -> None:
    with pytest.raises(InputError, match="version 2 is a reproduction"):
        move_champion(client, wanted("2", action))
    assert find_champion(client, NAME) is None
    assert read_history(NAME).empty


def test_a_move_by_hand_is_kept_and_pins(client: MlflowClient) -> None:
    before, number = move_by_hand(client, "BTC/USD", wanted("1"))
    assert (before, number) == (None, "1")
    champion = find_champion(client, NAME)
    assert champion is not None and str(champion.version) == "1"
    assert read_history(NAME)["state"].tolist() == ["done"]
    assert pin_reason(NAME).endswith("on 2026-10-02: a test")
    told = client.get_model_version(NAME, "1").description
    assert told.startswith("Champion since 2026-10-02: manual; a test\n\n")
    # The same move again changes nothing.
    move_by_hand(client, "BTC/USD", wanted("1"))
    assert len(read_history(NAME)) == 1
    assert client.get_model_version(NAME, "1").description == told


def test_a_rollback_needs_a_champion_before(client: MlflowClient) -> None:
    with pytest.raises(InputError, match="no champion before this one"):
        move_by_hand(client, "BTC/USD", wanted("", "rollback"))


def test_a_version_of_somebody_else_is_told(client: MlflowClient) -> None:
    client.create_model_version(NAME, source="file:///nowhere")
    with pytest.raises(InputError, match="has no recipe"):
        move_by_hand(client, "BTC/USD", wanted("3"))


def test_a_version_of_an_earlier_release_is_read_from_its_tags(client: MlflowClient) -> None:
    decision = Decision(action="refresh", reasons=("a; b", "c"), unproven=True)
    recipe = Recipe(cell="lstm")
    tags = {
        "recipe": recipe.model_dump_json(), "decision": decision.model_dump_json(),
        "scores": '{"crps_bp": 120.5, "score": 0.98, "n_days": 180}', "as_of": "2025-06-30",
        "preset": "default", "cell": "lstm", "code_version": "abc", "parent": "1",
    }  # fmt: skip
    made = client.create_model_version(NAME, source="file:///nowhere", tags=tags)
    version = find_version(client, NAME, str(made.version))
    assert read_decision(version) == decision
    assert read_action(version) == "refresh"
    assert read_recipe(version) == recipe
    [fact] = [f for f in list_facts(client, NAME) if f["version"] == int(made.version)]
    assert (fact["decision"], fact["unproven"], fact["reasons"]) == ("refresh", True, ["a; b", "c"])
    assert (fact["crps_bp"], fact["n_days"], fact["score"]) == (120.5, 180, 0.98)
    assert (fact["model"], fact["recipe"], fact["code_version"]) == ("lstm", "default", "abc")
    client.delete_model_version(NAME, str(made.version))


def test_a_replay_tells_nothing_of_a_move_that_was_taken_back(client: MlflowClient) -> None:
    """A retrain that is repeated after a rollback by hand, and after its version was deleted."""
    tags = {"recipe": Recipe().model_dump_json()}
    first, second = (
        str(client.create_model_version(NAME, source="file:///nowhere", tags=tags).version)
        for _ in range(2)
    )
    for to in (first, second):
        move = Move(model=NAME, to=to, action="promote", why="a test", at=NOW, key="replayed " + to)
        move_champion(client, move)
    client.set_registered_model_alias(NAME, "champion", first)
    client.update_model_version(NAME, second, "Champion until today")
    replayed = Move(
        model=NAME, to=second, action="promote", why="a test", at=NOW, key=f"replayed {second}"
    )
    move_champion(client, replayed)
    assert client.get_model_version(NAME, second).description == "Champion until today"
    client.delete_model_version(NAME, second)
    move_champion(client, replayed)
    champion = find_champion(client, NAME)
    assert champion is not None and str(champion.version) == first
    client.delete_model_version(NAME, first)


def test_only_a_deleted_decision_reads_as_deleted(
    client: MlflowClient, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that does not answer has deleted nothing: the stage is tried again."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    experiment = client.create_experiment("decided", artifact_location=(store / "x").as_uri())
    run = client.create_run(experiment).info
    decision = Decision(action="reject", reasons=("worse",), unproven=True)
    client.log_dict(run.run_id, decision.model_dump(mode="json"), "decision.json")
    made = client.create_model_version(
        NAME, "file:///nowhere", run.run_id, tags={"decision": "reject, unproven"}
    )
    assert read_action(made) == "reject"
    assert read_decision(made) == decision
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    for read in (read_decision, read_recipe):
        with pytest.raises(MlflowException, match="refused"):
            read(made)
    mlflow.set_tracking_uri(f"sqlite:///{store / 'mlflow.db'}")
    assert list(tmp_path.iterdir()) == []  # what was downloaded is gone
    client.delete_model_version(NAME, str(made.version))
    (store / "x" / run.run_id / "artifacts" / "decision.json").unlink()
    gone = read_decision(made)
    assert gone is not None and (gone.action, gone.unproven) == ("reject", True)
    made._run_id = "0" * 32  # one that `mlflow gc` took
    assert read_decision(made) == gone
