"""Decide: the new version against the champion, by scores that earlier stages made."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from prefect.artifacts import create_markdown_artifact

from models.config.flows import RetrainConfig
from models.decisions.promotion import (
    Champion,
    Decision,
    decide,
    describe_challenger,
    describe_champion,
)
from models.forecasters.forecaster import load_forecaster
from models.naming import run_labels
from models.records import (
    DecisionRecord,
    ForecasterRecord,
    RivalRecord,
    SnapshotRecord,
    Trained,
    VersionRecord,
)
from models.reporting.notes import escape
from models.scoring.ledger import select_scores
from models.scoring.promotion import last_origins, score_origins
from tasks.registry.aliases import pin_reason, settle_history
from tasks.registry.connection import connect
from tasks.registry.model_files import load_version
from tasks.registry.versions import find_version, read_decision, read_recipe
from tasks.stage import stage
from tasks.storage.files import read_frame
from tasks.storage.ledger import read_ledger
from tasks.storage.snapshots import read_candles


@stage("decide", retries=3)
def decide_on(
    config: RetrainConfig, trained: Trained, version: VersionRecord, rival: RivalRecord
) -> DecisionRecord:
    """Compare the new version with the champion and keep the decision with it.

    A decision that was made before, by a run that was cut off, stands.
    """
    client, snapshot = connect(), trained.snapshot
    settle_history(client, version.registered_model)
    registered = find_version(client, version.registered_model, version.version)
    decision = read_decision(registered)
    if decision is None:
        predictions = read_frame(trained.evaluated.predictions_path)
        challenger = describe_challenger(
            config.recipe,
            snapshot.as_of,
            predictions,
            config.promotion.judged_origins,
            _same_after_loading(registered, trained.serving, snapshot),
        )
        naive = last_origins(score_origins(predictions, "naive"), config.promotion.judged_origins)
        champion = _read_champion(client, registered.name, rival, naive)
        pinned = pin_reason(registered.name)
        decision = decide(challenger, champion, config.promotion, pinned)
        facts = json.dumps(challenger.model_dump(mode="json"))
        for key, value in (("scores", facts), ("decision", decision.model_dump_json())):
            client.set_model_version_tag(registered.name, registered.version, key, value)
    labels = run_labels(snapshot.synthetic, config.recipe.reproduction)
    _publish(client, version, decision, labels)
    return DecisionRecord(decision=decision)


def _read_champion(
    client: MlflowClient, name: str, rival: RivalRecord, naive: pd.DataFrame
) -> Champion | None:
    """The champion on the challenger's origins: its recipe's holdout, and what it forecast live."""
    if rival.version is None:
        return None
    current = find_version(client, name, rival.version)
    decision = read_decision(current)
    facts = Champion(
        version=rival.version,
        recipe=read_recipe(current).digest(),
        as_of=dt.date.fromisoformat(current.tags["as_of"]),
        unproven=decision is not None and decision.unproven,
    )
    return describe_champion(
        facts,
        read_frame(rival.challenger_path),
        read_frame(rival.champion_path) if rival.champion_path else None,
        select_scores(read_ledger(name)),
        naive,
    )


def _same_after_loading(
    registered: ModelVersion, serving: ForecasterRecord, snapshot: SnapshotRecord
) -> bool:
    """Whether the registered files forecast the newest day as the trained ones do, bit for bit."""
    candles: pd.DataFrame = read_candles(snapshot)
    ours = load_forecaster(serving.folder).predict(candles).quantiles
    return bool(np.array_equal(ours, load_version(registered).predict(candles).quantiles))


def _publish(
    client: MlflowClient, version: VersionRecord, decision: Decision, labels: list[str]
) -> None:
    title = f"# {decision.action}{' (unproven)' if decision.unproven else ''}"
    # Prefect shows it as Markdown; the reason of a pin is what somebody wrote.
    reasons = "\n".join(f"- {escape(reason)}" for reason in decision.reasons)
    text = "\n\n".join([title, *labels, reasons]) + "\n"
    client.log_text(version.run_id, text, "decision.md")
    client.log_dict(version.run_id, decision.model_dump(mode="json"), "decision.json")
    client.set_tag(version.run_id, "decision", decision.action)
    create_markdown_artifact(text, key=f"{version.registered_model}-decision")
