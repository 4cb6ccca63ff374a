"""Windows are views: right against a slow oracle, and no memory whatever the lookback."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from models.learning.splits import Fold
from models.learning.windows import (
    WindowSet,
    check_windows,
    make_future,
    make_targets,
    make_windows,
)

FOLD = Fold(range(4, 40), range(42, 60), range(62, 78), train_rows=range(43), history=range(43))


def make_set(n=80, n_features=2, horizon=2, lookback=5):
    features = np.arange(n * n_features, dtype=np.float32).reshape(n, n_features)
    targets = -np.arange(n * horizon, dtype=np.float32).reshape(n, horizon)
    return WindowSet(features, targets, lookback, FOLD)


@pytest.mark.parametrize(("n", "n_features", "lookback"), [(9, 1, 1), (9, 3, 4), (9, 2, 9)])
def test_windows_against_a_slow_oracle(n, n_features, lookback):
    values = np.random.default_rng(0).normal(size=(n, n_features))
    windows = make_windows(values, lookback)
    assert windows.shape == (n - lookback + 1, lookback, n_features)
    for i in range(len(windows)):
        for back in range(lookback):
            for column in range(n_features):
                assert windows[i, back, column] == values[i + back, column]


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="expected at least 5 rows, received 4"):
        make_windows(np.zeros((4, 1)), 5)


def test_window_of_an_origin_ends_with_it_and_is_a_view():
    windows = make_set()
    x, y = windows.x(range(10, 13)), windows.y(range(10, 13))
    assert x.shape == (3, 5, 2) and y.shape == (3, 2)
    for i, origin in enumerate(range(10, 13)):
        assert x[i].tolist() == windows.features[origin - 4 : origin + 1].tolist()
        assert y[i].tolist() == windows.targets[origin].tolist()
    assert np.shares_memory(x, windows.features) and np.shares_memory(y, windows.targets)
    with pytest.raises(ValueError, match="read-only"):
        x[0, 0, 0] = 1


def test_memory_does_not_grow_with_the_lookback():
    values = np.zeros((200_000, 3), dtype=np.float32)
    tracemalloc.start()
    try:
        windows = make_windows(values, 100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert windows.nbytes == 199_901 * 100 * 3 * 4
    assert peak < 100_000
    assert np.shares_memory(windows, values)
    # A step to the next window is a step of one row.
    assert windows.strides == (12, 12, 4)


def test_future_and_targets_hand_computed():
    close = np.array([1.0, 2.0, 8.0, 4.0])
    nan = np.nan
    future = [[2, 8], [8, 4], [4, nan], [nan, nan]]
    np.testing.assert_array_equal(make_future(close, 2), future)
    np.testing.assert_array_equal(make_targets(close, 2, "price"), future)
    log_2 = np.log(2)
    expected = [[log_2, 3 * log_2], [2 * log_2, log_2], [-log_2, nan], [nan, nan]]
    np.testing.assert_allclose(make_targets(close, 2, "log_return"), expected, rtol=1e-15)


@pytest.mark.parametrize("horizon", [1, 3, 6, 7])
def test_targets_against_a_slow_oracle(horizon):
    close = np.random.default_rng(0).uniform(1, 2, 6)
    targets = make_targets(close, horizon, "log_return")
    assert targets.shape == (6, horizon)
    for t in range(6):
        for step in range(1, horizon + 1):
            if t + step < 6:
                assert targets[t, step - 1] == pytest.approx(np.log(close[t + step] / close[t]))
            else:
                assert np.isnan(targets[t, step - 1])


def test_whole_windows_pass():
    windows = make_set()
    windows.targets[78:] = np.nan
    check_windows(windows)


@pytest.mark.parametrize(
    ("array", "row", "part"),
    [
        ("features", 0, "train"),
        ("features", 77, "test"),
        ("targets", 39, "train"),
        ("targets", 42, "validation"),
        ("targets", 77, "test"),
    ],
)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_hole_is_found_and_its_part_named(array, row, part, wrong):
    windows = make_set()
    getattr(windows, array)[row, 1] = wrong
    with pytest.raises(ValueError, match=f"the {part} part has values that are not finite"):
        check_windows(windows)
