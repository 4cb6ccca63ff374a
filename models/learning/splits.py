"""Which origins train, validate and test: in the order of time, purged by the horizon.

A split is a function of the number of candles and the first row with complete features; `prepare`
calls it. There are three: for the holdout, for serving, and for a fold of a backtest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from models.config.judging import Judging
from models.config.recipe import Recipe
from models.errors import InputError

MIN_TRAIN, MIN_VALIDATION, MIN_TEST = 30, 10, 10
MAX_VALIDATION = 1000
"""Validation origins at most: they are enough for a mean loss, and every epoch runs over all."""
MIN_SPAN = 200
"""Rows that a fold of a backtest may know at least."""
NAIVE_WINDOW = 250
"""Past days that naive's quantiles are taken over; every test origin needs as many before it."""


@dataclass(frozen=True)
class Fold:
    """Origins (rows of the candle frame) of the three parts, and the rows that a fit may see.

    An origin t reads rows up to t and is scored on rows t+1…t+horizon. The last target of one part
    comes before the first target of the next. Scalers are fitted on `train_rows`, what else learns
    from closes on `history`.
    """

    train: range
    validation: range
    test: range
    train_rows: range
    history: range


@dataclass(frozen=True)
class Span:
    """One fold of a backtest: rows that may be known when it is fitted, and origins it is asked.

    `known` ends with the first origin itself, whose close is known then.
    """

    known: range
    origins: range


def naive_first_origin(horizon: int) -> int:
    """Return the first row from which naive's quantiles can be had for every step."""
    return NAIVE_WINDOW + horizon - 1


def holdout_split(recipe: Recipe, judging: Judging) -> Callable[[int, int], Fold]:
    """Split off the last share of the origins, on which recipe and naive are compared.

    The split raises InputError, with the number of candles that would be enough, for too few.
    """
    least_past = naive_first_origin(recipe.horizon)

    def is_enough(fold: Fold) -> bool:
        return _large_enough(fold) and fold.test.start >= least_past

    def split(n_rows: int, first_row: int) -> Fold:
        fold = _cut(recipe, judging.test_share, n_rows, first_row)
        if is_enough(fold):
            return fold
        longer = (_cut(recipe, judging.test_share, n, first_row) for n in count(n_rows + 1))
        needed = n_rows + 1 + next(i for i, fold in enumerate(longer) if is_enough(fold))
        raise InputError(
            f"too few candles: {n_rows} rows; lookback {recipe.lookback}, horizon "
            f"{recipe.horizon}, the warm-up of the features and the {least_past} days that naive "
            f"needs ask for at least {needed}; take a longer history or a shorter lookback"
        )

    return split


def _cut(recipe: Recipe, test_share: float, n_rows: int, first_row: int) -> Fold:
    first = first_row + recipe.lookback - 1
    stop = n_rows - recipe.horizon
    purge = recipe.horizon - 1
    test_start = first + int((stop - first) * (1 - test_share))
    known_stop = test_start - purge
    validation_start = first + int((known_stop - first) * (1 - recipe.validation_share))
    validation_start = max(validation_start, known_stop - MAX_VALIDATION)
    train_stop = validation_start - purge
    return Fold(
        train=range(first, train_stop),
        validation=range(validation_start, known_stop),
        test=range(test_start, stop),
        train_rows=range(first_row, train_stop + purge + 1),
        history=range(train_stop + purge + 1),
    )


def _large_enough(fold: Fold) -> bool:
    sizes = (len(fold.train), len(fold.validation), len(fold.test))
    return all(
        size >= least
        for size, least in zip(sizes, (MIN_TRAIN, MIN_VALIDATION, MIN_TEST), strict=True)
    )


def serving_split(recipe: Recipe) -> Callable[[int, int], Fold]:
    """Split for the model that serves: all candles train it, nothing is left to test.

    The last origins are the validation part: the recipe's share of them (10 to 1,000) where the
    fit needs it, else ten. The split raises InputError for too few candles.
    """

    def split(n_rows: int, first_row: int) -> Fold:
        first, stop = first_row + recipe.lookback - 1, n_rows - recipe.horizon
        share = recipe.validation_share if recipe.validates else 0.0
        n_validation = max(MIN_VALIDATION, round((stop - first) * share))
        validation_start = stop - min(n_validation, MAX_VALIDATION)
        train_stop = validation_start - recipe.horizon + 1
        fold = Fold(
            train=range(first, train_stop),
            validation=range(validation_start, stop),
            test=range(stop, stop),
            train_rows=range(first_row, train_stop + recipe.horizon),
            history=range(train_stop + recipe.horizon),
        )
        if len(fold.train) < MIN_TRAIN or len(fold.validation) < MIN_VALIDATION:
            raise InputError(
                f"too few candles: {n_rows} rows leave {max(len(fold.train), 0)} days to train and "
                f"{max(len(fold.validation), 0)} to validate, expected {MIN_TRAIN} and "
                f"{MIN_VALIDATION}; take a longer history or a shorter lookback"
            )
        return fold

    return split


def span_split(recipe: Recipe, span: Span) -> Callable[[int, int], Fold]:
    """Split for a fold of a backtest: it learns from the rows known at its first origin.

    The last target is the first origin's own close. Where the fit needs no validation part, all
    known rows train. The split raises InputError where they are too few.
    """

    def split(n_rows: int, first_row: int) -> Fold:
        first = max(span.known.start, first_row) + recipe.lookback - 1
        known_stop = span.known.stop - recipe.horizon
        if known_stop - first < MIN_SPAN // 2:
            raise InputError(
                f"backtest: {len(span.known)} candles before origin {span.origins.start} are too "
                f"few for lookback {recipe.lookback} and horizon {recipe.horizon}; start later"
            )
        share = int(recipe.validation_share * (known_stop - first))
        length = min(share, MAX_VALIDATION) if recipe.validates else 0
        purge = recipe.horizon - 1 if recipe.validates else 0
        train_stop = known_stop - length - purge
        return Fold(
            train=range(first, train_stop),
            validation=range(known_stop - length, known_stop),
            test=span.origins,
            train_rows=range(max(span.known.start, first_row), train_stop + recipe.horizon),
            history=range(span.known.start, train_stop + recipe.horizon),
        )

    return split
