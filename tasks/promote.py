"""Promote: the aliases move, the last thing that a retrain does to the registry."""

from __future__ import annotations

import datetime as dt

from models.config.flows import RetrainConfig
from models.records import DecisionRecord, VersionRecord
from tasks.registry.aliases import CHALLENGER, CHAMPION, Move, move_champion, pin_reason
from tasks.registry.connection import connect
from tasks.stage import stage


@stage("promote", retries=3)
def promote(
    config: RetrainConfig, version: VersionRecord, decided: DecisionRecord, at: dt.datetime
) -> VersionRecord:
    """Move the aliases.

    The newest version that is no reproduction is the challenger; the decision moves the champion.
    """
    client = connect()
    name, number, decision = version.registered_model, version.version, decided.decision
    aliases: list[str] = []
    if not config.recipe.reproduction:
        client.set_registered_model_alias(name, CHALLENGER, number)
        aliases.append(CHALLENGER)
    if decision.moves and not pin_reason(name):
        move = Move(
            model=name,
            to=number,
            action=decision.action,
            why="; ".join(filter(None, [*decision.reasons, config.reason])),
            at=at,
            key=version.key,
        )
        move_champion(client, move)
        aliases.append(CHAMPION)
    client.set_model_version_tag(name, number, "finished", "true")
    return version.model_copy(update={"aliases": tuple(aliases)})
