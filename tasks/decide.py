"""Decide: the new version against the champion, by scores that earlier stages made."""

from __future__ import annotations

import datetime as dt

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
from models.reporting.runs import decision_metrics, describe_version, name_run
from models.scoring.holdout import Evaluation
from models.scoring.ledger import select_scores
from models.scoring.promotion import last_origins, score_origins
from tasks.registry.aliases import pin_reason, settle_history
from tasks.registry.connection import connect
from tasks.registry.model_files import load_version
from tasks.registry.runs import log_points
from tasks.registry.versions import (
    DECISION,
    find_version,
    read_decision,
    read_recipe,
    say_decision,
)
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
        log_points(client, version.run_id, decision_metrics(challenger, decision))
        client.log_dict(version.run_id, challenger.model_dump(mode="json"), "scores.json")
        _keep(client, version, decision)
    _publish(client, config, trained, version, decision)
    return DecisionRecord(decision=decision)


def _keep(client: MlflowClient, version: VersionRecord, decision: Decision) -> None:
    """Keep the decision with the run, whole before the version's tag says that there is one."""
    client.log_dict(version.run_id, decision.model_dump(mode="json"), DECISION)
    client.set_tag(version.run_id, "reasons", "\n".join(decision.reasons))
    client.set_tag(version.run_id, "decision", say_decision(decision))
    name, number = version.registered_model, version.version
    client.set_model_version_tag(name, number, "decision", say_decision(decision))


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
    client: MlflowClient,
    config: RetrainConfig,
    trained: Trained,
    version: VersionRecord,
    decision: Decision,
) -> None:
    """Name the run by its result, describe the version, and show the decision in Prefect."""
    snapshot, recipe = trained.snapshot, config.recipe
    evaluation = Evaluation.model_validate_json(trained.evaluated.evaluation_path.read_text())
    labels = run_labels(snapshot.synthetic, recipe.reproduction)
    skill = evaluation.skill["1"]["skill_crps"]
    named = name_run(snapshot.as_of, recipe.name, labels, skill, decision)
    client.update_run(version.run_id, name=named)
    body = [*labels, evaluation.verdict_text, f"Candles: {escape(snapshot.source)}, {snapshot}."]
    body += [f"Why this retrain: {escape(config.reason)}"] if config.reason else []
    described = describe_version(decision, "\n\n".join(body))
    client.update_model_version(version.registered_model, version.version, described)
    title = f"# {decision.action}{' (unproven)' if decision.unproven else ''}"
    # Prefect shows it as Markdown; the reason of a pin is what somebody wrote.
    reasons = "\n".join(f"- {escape(reason)}" for reason in decision.reasons)
    text = "\n\n".join([title, *labels, reasons]) + "\n"
    create_markdown_artifact(text, key=f"{version.registered_model}-decision")
