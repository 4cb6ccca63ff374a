"""Scale: features and targets in the network's units, by scalers that saw training rows alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from models.config.flows import RetrainConfig
from models.config.recipe import Recipe
from models.learning.prepare import Prepared, prepare
from models.learning.scale_regression import ScaleRegression
from models.learning.scaler import scalers_from_dict
from models.learning.splits import Fold, holdout_split
from models.records import CandlesRecord, ScaledRecord, SnapshotRecord
from tasks.stage import stage
from tasks.storage.files import whole_folder
from tasks.storage.snapshots import read_candles


@stage("scale")
def scale(candles: CandlesRecord, snapshot: SnapshotRecord, config: RetrainConfig) -> ScaledRecord:
    """Make, split and scale features and targets; NaN where a row has none."""
    split = holdout_split(config.recipe, config.judging)
    prepared = prepare(config.recipe, read_candles(snapshot), split)
    folder = candles.path.with_name("scaled")
    with whole_folder(folder) as temporary:
        np.save(temporary / "features.npy", prepared.features)
        np.save(temporary / "targets.npy", prepared.targets)
        state = {
            "scalers": prepared.scalers.to_dict(),
            "fold": _fold_to_dict(prepared.fold),
            "regression": prepared.regression and prepared.regression.to_dict(),
        }
        (temporary / "state.json").write_text(json.dumps(state))
    return ScaledRecord(
        folder=folder,
        snapshot=snapshot,
        features_used=prepared.feature_names,
        features_left_out=prepared.left_out,
        n_train_rows=len(prepared.fold.train_rows),
        first_row=prepared.first_row,
    )


def read_scaled(scaled: ScaledRecord, recipe: Recipe) -> Prepared:
    """Read what the stage `scale` left; arrays are mapped from disk, not copied."""
    state = json.loads((scaled.folder / "state.json").read_text())
    return Prepared(
        recipe=recipe,
        candles=read_candles(scaled.snapshot),
        feature_names=scaled.features_used,
        left_out=scaled.features_left_out,
        first_row=scaled.first_row,
        fold=Fold(**{name: range(*ends) for name, ends in state["fold"].items()}),
        scalers=scalers_from_dict(state["scalers"]),
        features=np.load(scaled.folder / "features.npy", mmap_mode="r"),
        targets=np.load(scaled.folder / "targets.npy", mmap_mode="r"),
        regression=ScaleRegression.from_dict(found) if (found := state["regression"]) else None,
    )


def _fold_to_dict(fold: Fold) -> dict[str, Any]:
    return {name: (part.start, part.stop) for name, part in vars(fold).items()}
