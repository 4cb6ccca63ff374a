"""What `btc models` shows of the versions, as JSON types."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from tasks.registry.aliases import find_aliases, read_history
from tasks.registry.connection import told_in_one_line
from tasks.registry.versions import find_version, find_versions, read_decision


@told_in_one_line()
def list_facts(client: MlflowClient, name: str) -> list[dict[str, Any]]:
    """Every version with its scores, decision and aliases, the newest first."""
    aliases = find_aliases(client, name)
    return [_facts(version, aliases) for version in find_versions(client, name)]


@told_in_one_line()
def show_facts(client: MlflowClient, name: str, number: str) -> dict[str, Any]:
    """One version, and when it became or ceased to be the champion (`history`)."""
    facts = _facts(find_version(client, name, number), find_aliases(client, name))
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


def _facts(version: ModelVersion, aliases: dict[str, list[str]]) -> dict[str, Any]:
    """What is known of a version, as JSON types."""
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
        "score": scores.get("score"),
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
