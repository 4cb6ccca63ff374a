"""What `btc models` shows of the versions, as JSON types."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tasks.registry.aliases import find_aliases, read_history
from tasks.registry.connection import told_in_one_line
from tasks.registry.versions import find_version, find_versions


@told_in_one_line()
def list_facts(client: MlflowClient, name: str) -> list[dict[str, Any]]:
    """Every version with its scores, decision and aliases, the newest first."""
    aliases = find_aliases(client, name)
    experiment = client.get_experiment_by_name(name)
    asked = [experiment.experiment_id] if experiment else []
    runs = {run.info.run_id: run for run in client.search_runs(asked, max_results=50_000)}
    versions = find_versions(client, name)
    return [_facts(version, runs.get(str(version.run_id)), aliases) for version in versions]


@told_in_one_line()
def show_facts(client: MlflowClient, name: str, number: str) -> dict[str, Any]:
    """One version, and when it became or ceased to be the champion (`history`)."""
    version = find_version(client, name, number)
    try:
        run = client.get_run(str(version.run_id))
    except MlflowException:  # deleted for good
        run = None
    facts = _facts(version, run, find_aliases(client, name))
    history = read_history(name)
    chosen = int(number)
    moves = history[(history["to_version"] == chosen) | (history["from_version"] == chosen)]
    facts["history"] = [
        {
            "at": f"{row['at']:%Y-%m-%d %H:%M}",
            **{key: row[key] for key in ("action", "who", "why", "state")},
            "from": None if pd.isna(row["from_version"]) else int(row["from_version"]),
            "to": int(row["to_version"]),
        }
        for row in moves.to_dict("records")
    ]
    return facts


def _facts(version: ModelVersion, run: Run | None, aliases: dict[str, list[str]]) -> dict[str, Any]:
    """What is known of a version from its tags and its run, as JSON types.

    Versions of earlier releases have decision and scores as JSON in tags, which have no "model".
    """
    tags = (run.data.tags if run else {}) | version.tags
    params = run.data.params if run else {}
    if tags.get("decision", "").startswith("{"):
        decision = json.loads(tags["decision"])
        scores = json.loads(tags.get("scores", "{}"))
    else:
        action, _, unproven = tags.get("decision", "").partition(", ")
        reasons = tags["reasons"].split("\n") if "reasons" in tags else []
        decision = {"action": action or None, "unproven": bool(unproven), "reasons": reasons}
        metrics = run.data.metrics if run else {}
        scores = {key.removeprefix("decision/"): value for key, value in metrics.items()}
        scores |= {key: int(scores[key]) for key in ("n_days", "inside_90") if key in scores}
    cell = tags.get("cell") or params.get("cell")
    commit = tags.get("code_version") or tags.get("mlflow.source.git.commit")
    return {
        "version": int(version.version),
        "as_of": tags.get("as_of"),
        "recipe": tags.get("preset") or params.get("preset"),
        "cell": cell,
        "model": tags.get("model") or cell,
        "decision": decision["action"],
        "unproven": bool(decision.get("unproven")),
        "reasons": list(decision["reasons"]),
        "crps_bp": scores.get("crps_bp"),
        "naive_crps_bp": scores.get("naive_crps_bp"),
        "score": scores.get("score"),
        "n_days": scores.get("n_days"),
        "inside_90": scores.get("inside_90"),
        "aliases": aliases.get(str(version.version), []),
        **{key: tags.get(key) for key in ("verdict", "reason", "parent", "snapshot_sha256")},
        "code_version": commit,
        "run_id": version.run_id,
    }
