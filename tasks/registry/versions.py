"""Versions and aliases of the registered model: finding them, and moving the champion's."""

from __future__ import annotations

import datetime as dt
import getpass
import json
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from sqlalchemy import select, update

from models.config.recipe import Recipe
from models.decisions.promotion import Decision
from models.errors import InputError
from tasks.storage.database import alias_history, insert_new, read_rows, transaction

CHAMPION, CHALLENGER = "champion", "challenger"


def find_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Every version of a registered model, the newest first."""
    found = client.search_model_versions(f"name = '{name}'", max_results=10_000)
    return sorted(found, key=lambda version: -int(version.version))


def find_by_key(client: MlflowClient, name: str, key: str) -> ModelVersion | None:
    """The version that the same retrain registered before, if any."""
    found = client.search_model_versions(f"name = '{name}' and tags.retrain_key = '{key}'")
    return min(found, key=lambda version: int(version.version)) if found else None


def find_version(client: MlflowClient, name: str, number: str) -> ModelVersion:
    """One version by its number; raises InputError that names those there are."""
    versions = {str(version.version): version for version in find_versions(client, name)}
    if number not in versions:
        known = ", ".join(versions) or f"none yet; {say_where_to_look(client, name)}"
        raise InputError(f"{name} has no version {number!r}; known: {known}")
    return versions[number]


def say_where_to_look(client: MlflowClient, name: str) -> str:
    """What somebody can do who looks for a model that has no version."""
    if find_versions(client, f"{name}-synthetic"):
        return "those of the SYNTHETIC sample show with --synthetic"
    return "run `btc retrain`"


def find_champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """The version that serves, or None."""
    return _find_alias(client, name, CHAMPION)


def _find_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def read_recipe(version: ModelVersion) -> Recipe:
    """The recipe of a version, also one of an earlier release."""
    return Recipe.from_stored(json.loads(version.tags["recipe"]))


def read_decision(version: ModelVersion) -> Decision | None:
    """The decision about a version, None where there is none yet."""
    text = version.tags.get("decision")
    return Decision.model_validate_json(text) if text else None


def move_champion(
    client: MlflowClient,
    name: str,
    to: str,
    *,
    action: str,
    why: str,
    at: dt.datetime,
    key: str,
    pin: bool = False,
) -> None:
    """Point `@champion` at version `to`, and keep who, when, from, to and why.

    The history has the move as begun before the alias moves, and as done after: what was cut off
    in between is told apart by `settle_history`. The same `key` moves nothing twice.
    """
    if ((history := read_history(name))["key"].eq(key) & history["state"].eq("done")).any():
        return
    before = find_champion(client, name)
    _add_history(
        name,
        action=action,
        before=before,
        to=to,
        why=why,
        at=at,
        key=key,
        pinned=pin,
        state="begun",
    )
    client.set_registered_model_alias(name, CHAMPION, to)
    with transaction() as connection:
        chosen = (alias_history.c.model == name) & (alias_history.c.key == key)
        connection.execute(update(alias_history).where(chosen).values(state="done"))


def set_pin(client: MlflowClient, name: str, *, pinned: bool, why: str, at: dt.datetime) -> None:
    """Pin the champion so that no retrain moves it, or unpin it; InputError without one."""
    champion = find_champion(client, name)
    if champion is None:
        raise InputError(f"{name} has no champion yet; run `btc retrain`")
    _add_history(
        name,
        action="pin" if pinned else "unpin",
        before=champion,
        to=str(champion.version),
        why=why,
        at=at,
        key=at.isoformat(),
        pinned=pinned,
        state="done",
    )


def settle_history(client: MlflowClient, name: str) -> None:
    """Decide what became of moves that a crash cut off: done if the alias moved, else abandoned."""
    champion = find_champion(client, name)
    number = None if champion is None else int(champion.version)
    begun = (alias_history.c.model == name) & (alias_history.c.state == "begun")
    moved = alias_history.c.to_version == number
    with transaction() as connection:
        connection.execute(update(alias_history).where(begun, moved).values(state="done"))
        connection.execute(update(alias_history).where(begun).values(state="abandoned"))


def read_history(name: str) -> pd.DataFrame:
    """Every move of the champion's alias and every pin, oldest first."""
    query = select(alias_history).where(alias_history.c.model == name)
    with transaction() as connection:
        history = read_rows(connection, query.order_by(alias_history.c.id))
    return history.astype({"from_version": "Int64", "to_version": "Int64"})


def pin_reason(name: str) -> str:
    """Why the champion is pinned; empty where it is not."""
    history = read_history(name)
    done = history[history["state"] == "done"]
    if done.empty or not done["pinned"].iloc[-1]:
        return ""
    last = done.iloc[-1]
    return f"{last['action']} by {last['who']} on {last['at']:%Y-%m-%d}: {last['why']}"


def previous_champion(name: str, current: str) -> str | None:
    """The version that served before the current one came, rollbacks aside."""
    history = read_history(name)
    came = history[
        (history["state"] == "done")
        & (history["to_version"] == int(current))
        & history["action"].isin(["promote", "refresh", "manual"])
        & history["from_version"].notna()
    ]
    return None if came.empty else str(int(came["from_version"].iloc[-1]))


def champion_at(name: str, moment: dt.datetime) -> str | None:
    """The version that was champion at a moment, None before the first."""
    history = read_history(name)
    if history.empty:
        return None
    at = pd.to_datetime(history["at"], utc=True)
    known = history[(history["state"] == "done") & (at < moment)]
    return None if known.empty else str(int(known["to_version"].iloc[-1]))


def find_aliases(client: MlflowClient, name: str) -> dict[str, list[str]]:
    """Aliases by version number; a search for versions does not give them."""
    found: dict[str, list[str]] = {}
    for model in client.search_registered_models(f"name = '{name}'"):
        for alias, number in sorted(client.get_registered_model(model.name).aliases.items()):
            found.setdefault(str(number), []).append(alias)
    return found


def version_facts(version: ModelVersion, aliases: dict[str, list[str]]) -> dict[str, Any]:
    """What `btc models` shows of a version, as JSON types; see `find_aliases`."""
    decision = read_decision(version)
    scores = json.loads(version.tags.get("scores", "{}"))
    return {
        "version": int(version.version),
        "as_of": version.tags.get("as_of"),
        "recipe": version.tags.get("preset"),
        "cell": version.tags.get("cell"),
        "decision": decision.action if decision else None,
        "unproven": bool(decision and decision.unproven),
        "reasons": list(decision.reasons) if decision else [],
        "crps_bp": scores.get("crps_bp"),
        "naive_crps_bp": scores.get("naive_crps_bp"),
        "n_days": scores.get("n_days"),
        "inside_90": scores.get("inside_90"),
        "aliases": aliases.get(str(version.version), []),
        "verdict": version.tags.get("verdict"),
        "reason": version.tags.get("reason"),
        "parent": version.tags.get("parent"),
        "snapshot_sha256": version.tags.get("snapshot_sha256"),
        "code_version": version.tags.get("code_version"),
        "run_id": version.run_id,
    }


def _add_history(
    name: str,
    *,
    action: str,
    before: ModelVersion | None,
    to: str,
    why: str,
    at: dt.datetime,
    key: str,
    pinned: bool,
    state: str,
) -> None:
    row = {
        "model": name,
        "alias": CHAMPION,
        "action": action,
        "from_version": None if before is None else int(before.version),
        "to_version": int(to),
        "why": why,
        "who": getpass.getuser(),
        "at": at,
        "key": key,
        "pinned": pinned,
        "state": state,
    }
    with transaction() as connection:
        insert_new(connection, alias_history, [row], "model", "alias", "key")
