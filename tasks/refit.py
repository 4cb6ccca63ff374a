"""Refit: the serving model, the same recipe on all candles."""

from __future__ import annotations

from models.config.recipe import Recipe
from models.forecasters.fit import fit_forecaster
from models.forecasters.forecaster import load_forecaster
from models.learning.prepare import prepare
from models.learning.splits import serving_split
from models.records import ForecasterRecord, SnapshotRecord
from tasks.progress import TrainingProgress
from tasks.registry.versions import SERVING
from tasks.stage import stage
from tasks.storage.files import whole_folder
from tasks.storage.snapshots import read_candles


@stage("refit")
def refit(holdout: ForecasterRecord, snapshot: SnapshotRecord, recipe: Recipe) -> ForecasterRecord:
    """Refit the recipe on all candles, for serving; a reproduction keeps its holdout model."""
    if recipe.reproduction:
        forecaster, losses = load_forecaster(holdout.folder), holdout.losses
    else:
        candles = read_candles(snapshot)
        prepared = prepare(recipe, candles, serving_split(recipe))
        with TrainingProgress(f"{recipe.name} on all candles", recipe.training.epochs) as progress:
            forecaster, losses = fit_forecaster(prepared, progress.on_epoch)
    folder = holdout.folder.with_name(SERVING)
    with whole_folder(folder) as temporary:
        forecaster.save(temporary)
    return ForecasterRecord(folder=folder, losses=losses)
