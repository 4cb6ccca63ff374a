"""Train: the holdout model, on the training windows."""

from __future__ import annotations

from models.config.recipe import Recipe
from models.forecasters.fit import fit_forecaster
from models.records import ForecasterRecord, WindowsRecord
from tasks.progress import TrainingProgress
from tasks.registry.versions import HOLDOUT
from tasks.scale import read_scaled
from tasks.stage import stage
from tasks.storage.files import whole_folder


@stage("train")
def train(windows: WindowsRecord, recipe: Recipe) -> ForecasterRecord:
    """Fit the recipe on the training fold and keep the forecaster in the run's work folder."""
    title = f"{recipe.name}, {windows.n_train:,} windows"
    with TrainingProgress(title, recipe.training.epochs) as progress:
        forecaster, losses = fit_forecaster(read_scaled(windows.scaled, recipe), progress.on_epoch)
    folder = windows.scaled.folder.with_name(HOLDOUT)
    with whole_folder(folder) as temporary:
        forecaster.save(temporary)
    return ForecasterRecord(folder=folder, losses=losses)
