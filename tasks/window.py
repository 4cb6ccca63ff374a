"""Window: which stretch of the past each origin sees, as views on the scaled arrays."""

from __future__ import annotations

from models.config.recipe import Recipe
from models.learning.windows import check_windows
from models.records import ScaledRecord, WindowsRecord
from tasks.scale import read_scaled
from tasks.stage import stage


@stage("window")
def window(scaled: ScaledRecord, recipe: Recipe) -> WindowsRecord:
    """Lay the windows over the scaled arrays and check that none has a hole."""
    windows = read_scaled(scaled, recipe).windows
    check_windows(windows)
    return WindowsRecord(
        scaled=scaled,
        lookback=recipe.lookback,
        horizon=recipe.horizon,
        n_train=len(windows.fold.train),
        n_validation=len(windows.fold.validation),
        n_test=len(windows.fold.test),
    )
