"""Train: the recurrent network on the training windows."""

from __future__ import annotations

import keras

from models.companions import make_companions
from models.forecaster import fit_forecaster, load_forecaster
from models.recipe import Recipe
from models.records import (
    CompanionsRecord,
    ForecasterRecord,
    ScaledRecord,
    SnapshotRecord,
    StartRecord,
    WindowsRecord,
)
from models.twin import fit_serving
from tasks.files import read_frame, whole_folder
from tasks.model_files import JUDGED, SERVING
from tasks.progress import TrainingProgress
from tasks.scaling import read_scaled
from tasks.stage import stage
from tasks.windowing import read_windows


@stage("train")
def train(
    scaled: ScaledRecord,
    windows: WindowsRecord,
    snapshot: SnapshotRecord,
    companions: CompanionsRecord,
    recipe: Recipe,
    start: StartRecord,
) -> ForecasterRecord:
    """Fit the recipe and keep the forecaster in the run's work folder.

    Companions teach up to the last training day.
    """
    arrays = read_scaled(scaled.folder)
    days = read_frame(snapshot.candles_path)["open_time"]
    others = make_companions(
        recipe,
        scaled.features_used,
        map(read_frame, companions.paths),
        arrays.scalers,
        days.iloc[arrays.fold.train_rows[-1]],
    )
    with TrainingProgress(f"{recipe.name}, {windows.n_train:,} windows", recipe.epochs) as progress:
        forecaster, losses = fit_forecaster(
            recipe,
            scaled.features_used,
            read_windows(windows.folder, recipe),
            arrays.scalers,
            arrays.close,
            progress.on_epoch,
            companions=others,
            start=_network(start, JUDGED),
        )
    folder = scaled.folder.with_name(JUDGED)
    with whole_folder(folder) as temporary:
        forecaster.save(temporary)
    return ForecasterRecord(folder=folder, losses=losses)


@stage("refit")
def refit(
    trained: ForecasterRecord,
    snapshot: SnapshotRecord,
    companions: CompanionsRecord,
    recipe: Recipe,
    start: StartRecord,
) -> ForecasterRecord:
    """Refit the recipe on all candles, for serving; a reproduction stays as it was judged."""
    if recipe.reproduction:
        forecaster, losses = load_forecaster(trained.folder), trained.losses
    else:
        with TrainingProgress(f"{recipe.name} on all candles", recipe.epochs) as progress:
            forecaster, losses = fit_serving(
                recipe,
                read_frame(snapshot.candles_path),
                progress.on_epoch,
                companions=[read_frame(path) for path in companions.paths],
                start=_network(start, SERVING),
            )
    folder = trained.folder.with_name(SERVING)
    with whole_folder(folder) as temporary:
        forecaster.save(temporary)
    return ForecasterRecord(folder=folder, losses=losses)


def _network(start: StartRecord, part: str) -> keras.Model | None:
    return load_forecaster(start.folder / part).network if start.folder else None
