"""Rival: the champion's recipe on the challenger's training fold, scored on the same test days."""

from __future__ import annotations

from pathlib import Path

from models.config.flows import RetrainConfig
from models.config.judging import Judging
from models.config.recipe import Recipe
from models.forecasters.walk_forward import predict_holdout
from models.records import EvaluationRecord, RivalRecord, SnapshotRecord, VersionRecord
from models.scoring.promotion import last_origins, score_origins
from tasks.registry.aliases import find_champion
from tasks.registry.connection import connect
from tasks.registry.versions import find_version, read_decision, read_recipe
from tasks.stage import stage
from tasks.storage.files import read_frame, write_frame
from tasks.storage.home import home
from tasks.storage.snapshots import read_candles


@stage("rival", retries=3)
def rival(
    config: RetrainConfig,
    snapshot: SnapshotRecord,
    evaluated: EvaluationRecord,
    version: VersionRecord,
) -> RivalRecord:
    """Keep the challenger's holdout scores, and make the champion's on the same days if needed.

    A champion of the same recipe has them from its own retrain; a recipe that is another is trained
    once on a snapshot. Nothing is made for a reproduction, nor where a decision was made before.
    """
    n_origins = config.promotion.judged_origins
    path = _scores_path(snapshot.sha256, config.recipe, config.judging)
    predictions = read_frame(evaluated.predictions_path)
    write_frame(last_origins(score_origins(predictions, config.recipe.name), n_origins), path)
    client = connect()
    champion = find_champion(client, version.registered_model)
    decided = read_decision(find_version(client, version.registered_model, version.version))
    if champion is None or config.recipe.reproduction or decided is not None:
        return RivalRecord(challenger_path=path)
    recipe = read_recipe(champion)
    same = recipe.digest() == config.recipe.digest()
    sha256 = champion.tags["snapshot_sha256"] if same else snapshot.sha256
    theirs = _scores_path(sha256, recipe, config.judging)
    trained = not same and not theirs.exists()
    if trained:
        made = predict_holdout(recipe, read_candles(snapshot), config.judging)
        write_frame(last_origins(score_origins(made, recipe.name), n_origins), theirs)
    return RivalRecord(
        challenger_path=path,
        version=str(champion.version),
        champion_path=theirs if theirs.exists() else None,
        trained=trained,
    )


def _scores_path(snapshot_sha256: str, recipe: Recipe, judging: Judging) -> Path:
    """File of the holdout scores of a recipe on the candles of a snapshot."""
    name = f"{snapshot_sha256[:16]}-{recipe.digest()}-{judging.digest()}.parquet"
    return home() / "holdouts" / name
