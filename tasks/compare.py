"""Compare: every forecast of a backtest, scored on what came, and the models against each other."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from models.config.flows import BacktestConfig
from models.errors import InputError
from models.forecasters.conformal import adapt_forecasts
from models.forecasters.frame import make_predictions
from models.records import ComparedRecord, FoldRecord, PlanRecord, SnapshotRecord
from models.scoring.backtest import LEVELS, summarise_backtest
from models.scoring.metrics import with_crps
from tasks.stage import stage
from tasks.storage.files import write_frame, write_text
from tasks.storage.snapshots import read_candles


@stage("compare")
def compare(
    config: BacktestConfig, snapshot: SnapshotRecord, plan: PlanRecord, parts: list[FoldRecord]
) -> ComparedRecord:
    """Score all forecasts on what came; keep the long frame and its summary."""
    candles = read_candles(snapshot)
    close = candles["close"].to_numpy(dtype=np.float64)
    origins = range(plan.first_origin, plan.stop_origin)
    frames = []
    for name in (*config.recipes, *config.baselines):
        paths = [part.unit.path for part in parts if part.unit.name == name]
        quantiles = np.concatenate([_read_unit(path) for path in paths])
        if config.calibrate and name in config.recipes:
            quantiles = adapt_forecasts(quantiles, close, origins, LEVELS)
        frames.append(make_predictions(name, candles, origins, quantiles, LEVELS))
    frame = with_crps(pd.concat(frames, ignore_index=True))
    summary = summarise_backtest(frame, config.baselines, config.seed)
    key = hashlib.sha256("".join(part.unit.path.stem for part in parts).encode()).hexdigest()[:12]
    folder = plan.folder / f"{snapshot.as_of}-{config.digest()}-{key}"
    write_frame(frame, folder / "forecasts.parquet")
    write_text(json.dumps(summary, indent=2), folder / "summary.json")
    return ComparedRecord(
        frame_path=folder / "forecasts.parquet", summary=summary, n_forecasts=len(frame)
    )


def _read_unit(path: Path) -> np.ndarray:
    """Quantiles (n_origins, horizon, n_levels) of a unit; raises InputError where it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            quantiles: np.ndarray = arrays["quantiles"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}): remove it, and the next backtest makes it"
        ) from error
    return quantiles
