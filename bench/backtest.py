"""The batched network against the classroom fit and plain windows, and cost against history."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context

import keras
import numpy as np
import pandas as pd

from flows.worker import prepare_worker
from models.config.flows import BacktestConfig
from models.config.judging import Judging
from models.config.recipe import Chunks, Recipe, Windows
from models.forecasters.fit import fit_forecaster
from models.forecasters.walk_forward import group_spans, make_spans, predict_group
from models.learning.network import build_network
from models.learning.prepare import Prepared, prepare
from models.learning.splits import Span, holdout_split
from models.learning.student_t import student_t_loss
from models.learning.windows import make_windows
from models.scoring.backtest import LEVELS

CLASSROOM_EPOCHS = 15
FOLDS = 7
ROWS = (3_700, 37_000, 370_000)


def run(candles: pd.DataFrame) -> None:
    """Print seconds and ratios of fits, of a yearly backtest, and of longer histories."""
    _fit(Recipe(), candles)  # what TensorFlow does once a process
    ours = _fit(Recipe(), candles)
    one_epoch = Recipe.model_validate({"preset": "assignment", "training": {"epochs": 1}})
    classroom = CLASSROOM_EPOCHS * _fit(one_epoch, candles)
    windows = _fit_plain_windows(candles)
    print(f"fit of the default, {Recipe().members} networks: {ours:.1f} s")
    print(
        f"  assignment, {CLASSROOM_EPOCHS} epochs (one measured): {classroom:.0f} s, "
        f"ratio {classroom / ours:.1f}"
    )
    print(
        f"  plain Keras windows, lookback 100, as many targets seen: {windows:.0f} s, "
        f"ratio {windows / ours:.1f}"
    )
    _yearly(candles)
    _history()


def _prepare(recipe: Recipe, candles: pd.DataFrame) -> Prepared:
    return prepare(recipe, candles, holdout_split(recipe, Judging()))


def _fit(recipe: Recipe, candles: pd.DataFrame) -> float:
    prepared = _prepare(recipe, candles)
    start = time.perf_counter()
    fit_forecaster(prepared)
    return time.perf_counter() - start


def _fit_plain_windows(candles: pd.DataFrame) -> float:
    """As many networks, one by one, on as many targets as the default sees, a window for each."""
    recipe = Recipe(lookback=100, members=1, training=Windows())
    default, chunks = Recipe(), Chunks()
    updates = chunks.epochs * chunks.updates_per_epoch
    seen = updates * chunks.chunks_per_update * (chunks.chunk_days - default.lookback + 1)
    windows = _prepare(recipe, candles).windows
    part = windows.fold.train
    x = np.ascontiguousarray(make_windows(windows.features, 100)[part.start - 99 : part.stop - 99])
    y = np.asarray(windows.y(part))
    network = build_network(recipe, x.shape[2])
    network.compile(keras.optimizers.Adam(3e-3), student_t_loss)
    network.fit(x[:256], y[:256], batch_size=128, verbose=0)
    start = time.perf_counter()
    network.fit(x, y, batch_size=128, verbose=0)
    return default.members * (time.perf_counter() - start) * seen / len(x)


def yearly_groups(candles: pd.DataFrame) -> tuple[Recipe, list[list[Span]]]:
    """The default recipe, and the folds that it forecasts in seven years; none of too few days."""
    recipe = Recipe(quantile_levels=LEVELS, seed=BacktestConfig().seed)
    stop = len(candles) - 1
    if len(candles) < FOLDS * 365 + 400:
        return recipe, []
    days = range(stop - FOLDS * 365, stop)
    return recipe, group_spans(recipe, make_spans(days, refit_days=365, rolling_days=None))


def predict_together(
    recipe: Recipe, candles: pd.DataFrame, groups: Sequence[Sequence[Span]]
) -> float:
    """Seconds of two processes that forecast the folds, as `btc backtest` starts them.

    The start of the processes, TensorFlow's import too, is counted.
    """
    start = time.perf_counter()
    with ProcessPoolExecutor(2, get_context("spawn"), prepare_worker) as pool:
        list(pool.map(predict_group, repeat(recipe), repeat(candles), groups))
    return time.perf_counter() - start


def _yearly(candles: pd.DataFrame) -> None:
    recipe, groups = yearly_groups(candles)
    if not groups:
        return
    start = time.perf_counter()
    for group in groups:
        predict_group(recipe, candles, group)
    alone = time.perf_counter() - start
    together = predict_together(recipe, candles, groups)
    print(
        f"yearly backtest, {FOLDS} folds x {recipe.members} networks: one process {alone:.1f} s, "
        f"two processes {together:.1f} s"
    )


def _history() -> None:
    """Long histories repeat a random walk; only their length matters."""
    recipe = Recipe(horizon=1)
    print("days of history: features and windows, fit, scoring 1,000 origins")
    for n in ROWS:
        rng = np.random.default_rng(0)
        close = 1e4 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
        days = pd.date_range("1000-01-01", periods=n, freq="D", tz="UTC", unit="us")
        frame = pd.DataFrame({"open_time": days, "open": close, "high": close * 1.01})
        frame = frame.assign(low=close * 0.99, close=close, volume=rng.uniform(1, 2, n))
        start = time.perf_counter()
        prepared = _prepare(recipe, frame)
        made = time.perf_counter()
        forecaster, _ = fit_forecaster(prepared)
        fitted = time.perf_counter()
        forecaster.predict(frame, range(n - 1000, n))
        done = time.perf_counter()
        print(f"  {n:>7,}: {made - start:6.2f} s, {fitted - made:6.2f} s, {done - fitted:6.2f} s")
