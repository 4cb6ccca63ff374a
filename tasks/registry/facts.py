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
def list_facts(client: MlflowClient, name: str, most: int | None = None) -> list[dict[str, Any]]:
    """Every version with its scores, decision and aliases, the newest first.

    `most`: the newest alone, and those that have an alias; MLflow takes ten milliseconds for each.
    """
    aliases = find_aliases(client, name)
    versions = find_versions(client, name, most or 10_000)
    listed = {str(version.version) for version in versions}
    others = sorted(set(aliases) - listed, key=int, reverse=True)
    versions += [client.get_model_version(name, number) for number in others]
    return [_facts(version, _find_run(client, version), aliases) for version in versions]


def _find_run(client: MlflowClient, version: ModelVersion) -> Run | None:
    """The run of a version, None where it was deleted for good."""
    try:
        return client.get_run(str(version.run_id))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


@told_in_one_line()
def show_facts(client: MlflowClient, name: str, number: str) -> dict[str, Any]:
    """One version, and when it became or ceased to be the champion (`history`)."""
    version = find_version(client, name, number)
    facts = _facts(version, _find_run(client, version), find_aliases(client, name))
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
