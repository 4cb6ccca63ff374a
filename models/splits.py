"""Which origins train, validate and test: in the order of time, purged by the horizon."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from models.errors import InputError

MIN_TRAIN, MIN_VALIDATION, MIN_TEST = 30, 10, 10
MAX_VALIDATION = 1000
"""Validation origins at most: they are enough for a mean loss, and every epoch runs over all."""


@dataclass(frozen=True)
class Fold:
    """Origins (rows of the candle frame) of the three parts, and the rows a scaler may see.

    An origin t reads rows up to t and is judged on rows t+1…t+horizon. The last target of one part
    comes before the first target of the next.
    """

    train: range
    validation: range
    test: range
    train_rows: range


def make_fold(
    n_rows: int,
    *,
    first_row: int,
    lookback: int,
    horizon: int,
    test_share: float,
    validation_share: float,
    least_past: int,
) -> Fold:
    """Split the origins of `n_rows` candles whose features are complete from `first_row` on.

    The validation part has at most 1,000 origins, the newest. `least_past`: rows that naive's
    quantiles need before the first test origin. Raises InputError with the number of rows that
    would be enough.
    """

    def split(n: int) -> Fold:
        return _split(n, first_row, lookback, horizon, test_share, validation_share)

    def is_enough(fold: Fold) -> bool:
        return _large_enough(fold) and fold.test.start >= least_past

    fold = split(n_rows)
    if not is_enough(fold):
        needed = next(n for n in count(n_rows + 1) if is_enough(split(n)))
        raise InputError(
            f"too few candles: {n_rows} rows; lookback {lookback}, horizon {horizon}, the warm-up "
            f"of the features and the {least_past} days that naive needs ask for at least "
            f"{needed}; take a longer history or a shorter lookback"
        )
    return fold


def _split(
    n_rows: int,
    first_row: int,
    lookback: int,
    horizon: int,
    test_share: float,
    validation_share: float,
) -> Fold:
    first = first_row + lookback - 1
    stop = n_rows - horizon
    purge = horizon - 1
    test_start = first + int((stop - first) * (1 - test_share))
    known_stop = test_start - purge
    validation_start = first + int((known_stop - first) * (1 - validation_share))
    validation_start = max(validation_start, known_stop - MAX_VALIDATION)
    train_stop = validation_start - purge
    return Fold(
        train=range(first, train_stop),
        validation=range(validation_start, known_stop),
        test=range(test_start, stop),
        train_rows=range(first_row, train_stop + purge + 1),
    )


def _large_enough(fold: Fold) -> bool:
    sizes = (len(fold.train), len(fold.validation), len(fold.test))
    return all(
        size >= least
        for size, least in zip(sizes, (MIN_TRAIN, MIN_VALIDATION, MIN_TEST), strict=True)
    )


def make_serving_fold(
    n_rows: int, *, first_row: int, lookback: int, horizon: int, validation_share: float
) -> Fold:
    """Split the origins of all `n_rows` candles for a model that serves: nothing is left to test.

    The last share of the origins, from 10 to 1,000 of them, is the validation part. Raises
    InputError as `make_fold` does.
    """
    first, stop = first_row + lookback - 1, n_rows - horizon
    n_validation = max(MIN_VALIDATION, round((stop - first) * validation_share))
    n_validation = min(n_validation, MAX_VALIDATION)
    validation_start = stop - n_validation
    train_stop = validation_start - horizon + 1
    fold = Fold(
        train=range(first, train_stop),
        validation=range(validation_start, stop),
        test=range(stop, stop),
        train_rows=range(first_row, train_stop + horizon),
    )
    if len(fold.train) < MIN_TRAIN or len(fold.validation) < MIN_VALIDATION:
        raise InputError(
            f"too few candles: {n_rows} rows leave {max(len(fold.train), 0)} days to train and "
            f"{max(len(fold.validation), 0)} to validate, expected {MIN_TRAIN} and "
            f"{MIN_VALIDATION}; take a longer history or a shorter lookback"
        )
    return fold
