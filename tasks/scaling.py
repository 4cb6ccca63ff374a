"""Scale: features and targets in the network's units, with scalers that saw training rows alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.config import RetrainConfig
from models.features import make_features, usable_features
from models.judge import judged_fold
from models.records import CandlesRecord, ScaledRecord, SnapshotRecord
from models.scaler import Scalers, fit_scalers, scalers_from_dict
from models.splits import Fold
from models.windows import first_usable_row, make_targets
from tasks.files import read_frame, whole_folder
from tasks.stage import stage


@dataclass(frozen=True)
class ScaledArrays:
    """What the stage leaves: (n, n_features), (n, horizon), and closes (n,) in USD."""

    features: NDArray[np.float32]
    targets: NDArray[np.float32]
    close: NDArray[np.float64]
    scalers: Scalers
    fold: Fold


@stage("scale")
def scale(candles: CandlesRecord, snapshot: SnapshotRecord, config: RetrainConfig) -> ScaledRecord:
    """Make, split and scale features and targets; NaN where a row has none."""
    recipe = config.recipe
    frame = read_frame(snapshot.candles_path)
    used, left_out = usable_features(recipe.features, tuple(frame.columns))
    features = make_features(frame, used)
    close = frame["close"].to_numpy(dtype=np.float64)
    targets = make_targets(close, recipe.horizon, recipe.target)
    first_row = first_usable_row(features, recipe.target)
    fold = judged_fold(recipe, config.judging, len(frame), first_row)
    scalers = fit_scalers(recipe, features, targets, fold)
    folder = candles.path.with_name("scaled")
    with whole_folder(folder) as temporary:
        np.save(temporary / "features.npy", scalers.features.scale(features))
        np.save(temporary / "targets.npy", scalers.targets.scale(targets))
        np.save(temporary / "close.npy", close)
        state = {"scalers": scalers.to_dict(), "fold": _fold_to_dict(fold)}
        (temporary / "state.json").write_text(json.dumps(state))
    return ScaledRecord(
        folder=folder,
        features_used=used,
        features_left_out=left_out,
        n_train_rows=len(fold.train_rows),
        first_row=first_row,
    )


def read_scaled(folder: Path) -> ScaledArrays:
    """Read what the stage `scale` left; arrays are mapped from disk, not copied."""
    state = json.loads((folder / "state.json").read_text())
    return ScaledArrays(
        features=np.load(folder / "features.npy", mmap_mode="r"),
        targets=np.load(folder / "targets.npy", mmap_mode="r"),
        close=np.load(folder / "close.npy", mmap_mode="r"),
        scalers=scalers_from_dict(state["scalers"]),
        fold=Fold(**{name: range(*ends) for name, ends in state["fold"].items()}),
    )


def _fold_to_dict(fold: Fold) -> dict[str, Any]:
    return {name: (part.start, part.stop) for name, part in vars(fold).items()}
