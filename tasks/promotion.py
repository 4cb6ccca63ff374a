"""Decide and promote: the new version against the champion, then the aliases, last."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from prefect.artifacts import create_markdown_artifact

from models.config import Judging, RetrainConfig
from models.forecaster import load_forecaster
from models.naming import run_labels
from models.promotion import Challenger, Champion, Decision, decide
from models.recipe import Recipe
from models.records import (
    CompanionsRecord,
    DecisionRecord,
    EvaluationRecord,
    ForecasterRecord,
    SnapshotRecord,
    VersionRecord,
)
from models.track_record import select_record
from models.twin import compare_scores, last_origins, predict_twin, score_origins
from tasks.companions import find_teachers
from tasks.files import read_frame, write_frame
from tasks.home import home
from tasks.ledger import read_ledger
from tasks.model_files import JUDGED, judged_until, load_version
from tasks.registry import (
    CHALLENGER,
    CHAMPION,
    find_champion,
    find_version,
    move_champion,
    pin_reason,
    read_decision,
    settle_history,
    start_of,
)
from tasks.stage import stage
from tasks.tracking import connect


@stage("decide", retries=3)
def decide_on(
    config: RetrainConfig,
    snapshot: SnapshotRecord,
    companions: CompanionsRecord,
    serving: ForecasterRecord,
    evaluated: EvaluationRecord,
    version: VersionRecord,
) -> DecisionRecord:
    """Compare the new version with the champion and keep the decision with it.

    A decision that was made before, by a run that was cut off, stands.
    """
    client = connect()
    settle_history(client, version.registered_model)
    registered = find_version(client, version.registered_model, version.version)
    decision = read_decision(registered)
    if decision is None:
        decision = _decide(client, config, snapshot, companions, serving, evaluated, registered)
    labels = run_labels(snapshot.synthetic, config.recipe.reproduction)
    _publish(client, version, decision, labels)
    return DecisionRecord(decision=decision)


@stage("promote", retries=3)
def promote(
    config: RetrainConfig, version: VersionRecord, decided: DecisionRecord, at: dt.datetime
) -> VersionRecord:
    """Move the aliases: the last thing that a retrain does to the registry.

    The newest version that is no reproduction is the challenger; the decision moves the champion.
    """
    client = connect()
    name, number, decision = version.registered_model, version.version, decided.decision
    aliases: list[str] = []
    if not config.recipe.reproduction:
        client.set_registered_model_alias(name, CHALLENGER, number)
        aliases.append(CHALLENGER)
    if decision.moves and not pin_reason(name):
        move_champion(
            client,
            name,
            number,
            action=decision.action,
            why="; ".join(filter(None, [*decision.reasons, config.reason])),
            at=at,
            key=version.key,
        )
        aliases.append(CHAMPION)
    client.set_model_version_tag(name, number, "finished", "true")
    return version.model_copy(update={"aliases": tuple(aliases)})


def _decide(
    client: MlflowClient,
    config: RetrainConfig,
    snapshot: SnapshotRecord,
    companions: CompanionsRecord,
    serving: ForecasterRecord,
    evaluated: EvaluationRecord,
    registered: ModelVersion,
) -> Decision:
    recipe, n = config.recipe, config.promotion.judged_origins
    predictions = read_frame(evaluated.predictions_path)
    scores = last_origins(score_origins(predictions, recipe.name), n)
    path = _twin_path(snapshot.sha256, companions, recipe, config.judging, start_of(registered))
    write_frame(scores, path)
    naive = last_origins(score_origins(predictions, "naive"), n)
    next_day = scores[scores["step"] == 1]
    challenger = Challenger(
        recipe=_identity(recipe, companions),
        as_of=snapshot.as_of,
        n_days=len(next_day),
        crps_bp=float(scores["crps_bp"].mean(skipna=False)),
        naive_crps_bp=float(naive["crps_bp"].mean()),
        inside_90=int(next_day["inside_90"].sum()),
        finite=bool(np.isfinite(scores["crps_bp"]).all()),
        reproducible=_same_after_loading(registered, serving, snapshot),
        reproduction=recipe.reproduction,
    )
    champion = None
    current = find_champion(client, registered.name)
    if current is not None and not recipe.reproduction:
        champion = _describe_champion(current, registered, config, snapshot, companions, scores)
    decision = decide(challenger, champion, config.promotion, pin_reason(registered.name))
    facts = challenger.model_dump(mode="json")
    for key, value in (("scores", json.dumps(facts)), ("decision", decision.model_dump_json())):
        client.set_model_version_tag(registered.name, registered.version, key, value)
    return decision


def _describe_champion(
    current: ModelVersion,
    registered: ModelVersion,
    config: RetrainConfig,
    snapshot: SnapshotRecord,
    companions: CompanionsRecord,
    scores: pd.DataFrame,
) -> Champion:
    """The champion on the challenger's origins: its recipe's twin, and what it forecast live."""
    recipe = Recipe.model_validate_json(current.tags["recipe"])
    taught_by = CompanionsRecord(hashes=json.loads(current.tags.get("companions", "{}")))
    identity = _identity(recipe, taught_by)
    decision = read_decision(current)
    values: dict[str, Any] = {
        "version": str(current.version),
        "recipe": identity,
        "as_of": dt.date.fromisoformat(current.tags["as_of"]),
        "unproven": decision is not None and decision.unproven,
    }
    if identity == _identity(config.recipe, companions):
        # Its twin on these candles is the challenger's; its predecessor's is what was judged then.
        sha256 = current.tags["snapshot_sha256"]
        path = _twin_path(sha256, taught_by, recipe, config.judging, start_of(current))
        theirs = read_frame(path) if path.exists() else None
    else:
        teachers = find_teachers(taught_by, companions)
        newest = judged_until(registered)
        theirs = _champion_twin(current, recipe, config, snapshot, teachers, newest)
    if theirs is not None:
        values |= compare_scores(scores, theirs)
    live = _live_scores(str(current.name))
    lived = compare_scores(scores, live)
    values |= {
        "n_live": lived["n_shared"],
        "live_crps_bp": lived["crps_bp"],
        "live_challenger_crps_bp": lived["challenger_crps_bp"],
    }
    return Champion.model_validate(values)


def _identity(recipe: Recipe, companions: CompanionsRecord) -> str:
    """What makes two versions the same recipe: its content, and by name who shares its training."""
    return "+".join([recipe.digest(), *sorted(companions.hashes)])


def _champion_twin(
    current: ModelVersion,
    recipe: Recipe,
    config: RetrainConfig,
    snapshot: SnapshotRecord,
    companions: CompanionsRecord,
    judged_from: dt.date,
) -> pd.DataFrame | None:
    """Scores of the champion's recipe on the same candles, trained once and then kept.

    `companions`: those that taught the champion. A recipe that starts warm goes on from the
    champion's own judged weights; None where these know days from `judged_from` on, the first test
    origin.
    """
    warm = bool(recipe.warm_start)
    if warm and judged_until(current) > judged_from:
        return None
    version = str(current.version) if warm else ""
    path = _twin_path(snapshot.sha256, companions, recipe, config.judging, version)
    if not path.exists():
        predictions = predict_twin(
            recipe,
            read_frame(snapshot.candles_path),
            config.judging,
            companions=[read_frame(path) for path in companions.paths],
            start=load_version(current, JUDGED).network if warm else None,
        )
        scores = last_origins(
            score_origins(predictions, recipe.name), config.promotion.judged_origins
        )
        write_frame(scores, path)
    return read_frame(path)


def _live_scores(model: str) -> pd.DataFrame:
    """Scored live forecasts of whatever was champion: origin, step, crps_bp."""
    live = select_record(read_ledger(model, distributions=False))
    scored = live[live["crps_bp"].notna()]
    origin = pd.to_datetime(scored["as_of"], utc=True).astype("datetime64[us, UTC]")
    return pd.DataFrame(
        {
            "origin": origin,
            "step": scored["step"].astype("int64"),
            "crps_bp": scored["crps_bp"].astype("float64"),
        }
    )


def _twin_path(
    snapshot_sha256: str, companions: CompanionsRecord, recipe: Recipe, judging: Judging, start: str
) -> Path:
    """File of a twin's scores; `start` is the version that it went on from, empty if cold."""
    parts = [snapshot_sha256[:16], recipe.digest(), judging.digest(), companions.digest]
    parts += [f"from-{start}"] if start else []
    return home() / "twins" / f"{'-'.join(filter(None, parts))}.parquet"


def _same_after_loading(
    registered: ModelVersion, serving: ForecasterRecord, snapshot: SnapshotRecord
) -> bool:
    """Whether the registered files forecast the newest day as the trained ones do, bit for bit."""
    candles = read_frame(snapshot.candles_path)
    ours = load_forecaster(serving.folder).predict(candles).quantiles
    return bool(np.array_equal(ours, load_version(registered).predict(candles).quantiles))


def _publish(
    client: MlflowClient, version: VersionRecord, decision: Decision, labels: list[str]
) -> None:
    title = f"# {decision.action}{' (unproven)' if decision.unproven else ''}"
    reasons = "\n".join(f"- {reason}" for reason in decision.reasons)
    text = "\n\n".join([title, *labels, reasons]) + "\n"
    client.log_text(version.run_id, text, "decision.md")
    client.log_dict(version.run_id, decision.model_dump(mode="json"), "decision.json")
    client.set_tag(version.run_id, "decision", decision.action)
    create_markdown_artifact(text, key=f"{version.registered_model}-decision")
