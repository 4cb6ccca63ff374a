"""The champion's alias: who moved it, when and why, and whether it is pinned."""

from __future__ import annotations

import datetime as dt

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, update

from models.errors import InputError
from models.naming import model_name
from models.reporting.notes import escape
from models.reporting.runs import ended_status, with_status
from tasks.registry.connection import told_in_one_line, user_name
from tasks.registry.versions import check_promotable, find_version
from tasks.storage.database import alias_history, insert_new, read_rows, transaction
from tasks.storage.lock import hold

CHAMPION, CHALLENGER = "champion", "challenger"


class Move(BaseModel):
    """A move of the champion's alias to version `to` of a model.

    The same `key` moves nothing twice. `pin`: whether retrains leave the champion there from then
    on.
    """

    model_config = ConfigDict(frozen=True)
    model: str
    to: str
    action: str
    why: str
    at: dt.datetime
    key: str
    pin: bool = False


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


def find_aliases(client: MlflowClient, name: str) -> dict[str, list[str]]:
    """Aliases by version number; a search for versions does not give them."""
    found: dict[str, list[str]] = {}
    for model in client.search_registered_models(f"name = '{name}'"):
        for alias, number in sorted(client.get_registered_model(model.name).aliases.items()):
            found.setdefault(str(number), []).append(alias)
    return found


def move_champion(client: MlflowClient, move: Move) -> None:
    """Point `@champion` at a version, and keep who, when, from, to and why.

    The history has the move as begun before the alias moves, and as done after: what was cut off
    in between is told apart by `settle_history`. Raises InputError for a version that may never
    serve.
    """
    history = read_history(move.model)
    done = history[history["key"].eq(move.key) & history["state"].eq("done")]
    if len(done):
        champion = find_champion(client, move.model)
        if champion is None or str(champion.version) != move.to:
            return  # somebody has moved it since
        before = done["from_version"].iloc[0]
        _describe_move(client, move, None if pd.isna(before) else str(before))
        return
    check_promotable(find_version(client, move.model, move.to))
    former = find_champion(client, move.model)
    _add_history(move, former, "begun")
    client.set_registered_model_alias(move.model, CHAMPION, move.to)
    _describe_move(client, move, None if former is None else str(former.version))
    with transaction() as connection:
        chosen = (alias_history.c.model == move.model) & (alias_history.c.key == move.key)
        connection.execute(update(alias_history).where(chosen).values(state="done"))


def _describe_move(client: MlflowClient, move: Move, before: str | None) -> None:
    """Let the descriptions of both versions begin with what became of them."""
    day = move.at.date()
    if before is not None and before != move.to:
        text = str(find_version(client, move.model, before).description or "")
        client.update_model_version(move.model, before, with_status(text, ended_status(text, day)))
    text = str(find_version(client, move.model, move.to).description or "")
    status = f"Champion since {day}: {move.action}; {escape(move.why)}"
    client.update_model_version(move.model, move.to, with_status(text, status))


@told_in_one_line()
def move_by_hand(
    client: MlflowClient, symbol: str, wanted: Move
) -> tuple[ModelVersion | None, str]:
    """Make a version the champion by hand; returns the champion before and the new number.

    An empty `to` stands for the champion before the present one. Raises InputError while a retrain
    of the symbol is at work, and for a version that does not load or may never serve.
    """
    with hold(model_name(symbol, synthetic=False)) as mine:
        if not mine:
            raise InputError(f"a retrain of {symbol} is at work; try again when it has ended")
        settle_history(client, wanted.model)
        before = find_champion(client, wanted.model)
        to = wanted.to or (before and previous_champion(wanted.model, str(before.version)))
        if not to:
            raise InputError(
                f"{wanted.model}: no champion before this one; name a version with --to"
            )
        target = find_version(client, wanted.model, to)
        check_promotable(target)
        from tasks.registry.model_files import load_version  # not at the top: it imports TensorFlow

        load_version(target)
        move_champion(client, wanted.model_copy(update={"to": to}))
    return before, to


@told_in_one_line()
def set_pin(client: MlflowClient, name: str, *, pinned: bool, why: str, at: dt.datetime) -> None:
    """Pin the champion so that no retrain moves it, or unpin it; InputError without one."""
    champion = find_champion(client, name)
    if champion is None:
        raise InputError(f"{name} has no champion yet; run `btc retrain`")
    kept = Move(
        model=name,
        to=str(champion.version),
        action="pin" if pinned else "unpin",
        why=why,
        at=at,
        key=at.isoformat(),
        pin=pinned,
    )
    _add_history(kept, champion, "done")


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


def _add_history(move: Move, before: ModelVersion | None, state: str) -> None:
    row = {
        "model": move.model,
        "alias": CHAMPION,
        "action": move.action,
        "from_version": None if before is None else int(before.version),
        "to_version": int(move.to),
        "why": move.why,
        "who": user_name(),
        "at": move.at,
        "key": move.key,
        "pinned": move.pin,
        "state": state,
    }
    with transaction() as connection:
        insert_new(connection, alias_history, [row], "model", "alias", "key")
