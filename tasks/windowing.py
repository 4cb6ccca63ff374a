"""Window: which stretch of the past each origin sees, as views on the scaled arrays."""

from __future__ import annotations

from pathlib import Path

from models.recipe import Recipe
from models.records import ScaledRecord, WindowsRecord
from models.windows import WindowSet, check_windows
from tasks.scaling import read_scaled
from tasks.stage import stage


@stage("window")
def window(scaled: ScaledRecord, recipe: Recipe) -> WindowsRecord:
    """Lay the windows over the scaled arrays and check that none has a hole."""
    windows = read_windows(scaled.folder, recipe)
    check_windows(windows)
    return WindowsRecord(
        folder=scaled.folder,
        lookback=recipe.lookback,
        horizon=recipe.horizon,
        n_train=len(windows.fold.train),
        n_validation=len(windows.fold.validation),
        n_test=len(windows.fold.test),
    )


def read_windows(folder: Path, recipe: Recipe) -> WindowSet:
    """Map the window set of a recipe from the folder of its scaled arrays."""
    arrays = read_scaled(folder)
    return WindowSet(arrays.features, arrays.targets, recipe.lookback, arrays.fold)
