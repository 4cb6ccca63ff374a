"""Peak memory of windows as views against windows that are copied out."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.learning.windows import make_windows

N_ROWS, LOOKBACK = 1_000_000, 100


def run() -> None:
    """Print both peaks and their ratio."""
    values = np.random.default_rng(0).normal(size=(N_ROWS, 1)).astype(np.float32)
    view = _peak_mb(lambda: make_windows(values, LOOKBACK))
    copied = _peak_mb(lambda: np.ascontiguousarray(make_windows(values, LOOKBACK)))
    print(
        f"windows of {N_ROWS:,} rows x lookback {LOOKBACK}: beside {values.nbytes / 1e6:.0f} MB of "
        f"series, views take {view:.3f} MB, copies {copied:.0f} MB"
    )


def _peak_mb(make: Callable[[], NDArray[np.float32]]) -> float:
    tracemalloc.start()
    make()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6
