"""Plan: the days that a backtest is asked for, cut into folds and units of work."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import models
from models.config.flows import BacktestConfig
from models.config.recipe import Recipe
from models.forecasters.walk_forward import find_origins, group_spans, make_spans
from models.records import FoldUnit, PlanRecord, SnapshotRecord
from models.scoring.backtest import LEVELS
from tasks.service.life import home_id
from tasks.stage import stage
from tasks.storage.home import home
from tasks.storage.snapshots import read_candles


@stage("plan")
def plan(config: BacktestConfig, snapshot: SnapshotRecord) -> PlanRecord:
    """Cut the days asked for into folds and units of work."""
    days = read_candles(snapshot)["open_time"].dt.date.tolist()
    origins = find_origins(days, config.start)
    spans = make_spans(origins, refit_days=config.refit_days, rolling_days=config.rolling_days)
    units = []
    for preset in config.recipes:
        recipe = config.recipe(preset, LEVELS)
        for number, group in enumerate(group_spans(recipe, spans), 1):
            ends = tuple(
                (span.known.start, span.known.stop, span.origins.start, span.origins.stop)
                for span in group
            )
            facts = {"name": preset, "number": number, "recipe": recipe, "spans": ends}
            units.append(_make_unit(config, snapshot, facts))
    everything = ((0, origins.start + 1, origins.start, origins.stop),)
    for name in config.baselines:
        facts = {"name": name, "number": 1, "recipe": None, "spans": everything}
        units.append(_make_unit(config, snapshot, facts))
    return PlanRecord(
        folder=home() / "backtest",
        units=tuple(units),
        first_origin=origins.start,
        stop_origin=origins.stop,
    )


def _make_unit(config: BacktestConfig, snapshot: SnapshotRecord, facts: dict[str, Any]) -> FoldUnit:
    """Complete the facts about a unit; its file is named by all that its numbers depend on."""
    recipe: Recipe | None = facts["recipe"]
    content = {
        "code": digest_code(),
        "candles": snapshot.sha256,
        "name": facts["name"],
        "recipe": recipe.digest() if recipe else "",
        "refit_days": config.baseline_refit_days,
        "spans": facts["spans"],
        "horizon": config.horizon,
        "seed": config.seed,
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]
    return FoldUnit(
        **facts,
        horizon=config.horizon,
        refit_days=config.baseline_refit_days,
        seed=config.seed,
        snapshot=snapshot,
        path=home() / "backtest" / "units" / f"{facts['name']}-{key}.npz",
        home=home_id(),
    )


def digest_code(root: Path = Path(models.__file__).parent) -> str:
    """SHA-256 of the code under `root`, names and contents; a change invalidates cached units."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
