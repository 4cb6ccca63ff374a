"""Companions teach twin and serving model up to the last training day, and not beyond."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from models.config.flows import RetrainConfig
from models.config.judging import Judging
from models.data.sample import make_sample
from models.learning.features import first_complete_row, make_features
from models.learning.splits import make_fold, make_serving_fold
from models.records import NO_COMPANIONS, CompanionsRecord
from models.scoring.promotion import fit_serving, predict_twin

PRICES = ["open", "high", "low", "close"]


@pytest.fixture
def recipe(tiny_recipe):
    return tiny_recipe("gru", "standardized_return")


@pytest.fixture
def friend():
    return make_sample(dt.date(2024, 12, 31), n_days=400, seed=3)


def changed_after(frame, day):
    changed = frame.copy()
    changed.loc[changed["open_time"] > day, PRICES] *= 3
    assert not changed.equals(frame)
    return changed


def answers(recipe, candles, companions):
    """What the twin forecasts, and the weights that serve, as bytes."""
    frame = predict_twin(recipe, candles, Judging(), companions=companions)
    twin = frame.select_dtypes("float64").to_numpy().tobytes()
    serving, _ = fit_serving(recipe, candles, lambda epoch, losses: None, companions=companions)
    return twin, b"".join(np.asarray(w).tobytes() for w in serving.network.get_weights())


def test_a_companion_teaches_with_what_the_last_training_day_knew(recipe, candles, friend):
    first_row = first_complete_row(make_features(candles, recipe.features))
    common = {"first_row": first_row, "lookback": recipe.lookback, "horizon": recipe.horizon}
    fold = make_fold(len(candles), test_share=0.15, validation_share=0.1, least_past=0, **common)
    serving = make_serving_fold(len(candles), validation_share=0.0, **common)
    alone = answers(recipe, candles, [])
    ours = answers(recipe, candles, [friend])
    assert ours == answers(recipe, candles, [friend])
    assert alone[0] != ours[0] and alone[1] != ours[1]
    for part, known in enumerate((fold, serving)):
        day = candles["open_time"][known.train_rows[-1]]
        later = answers(recipe, candles, [changed_after(friend, day)])
        assert later[part] == ours[part]
        # Chunks are drawn at random, and not every one reaches the last day.
        day = candles["open_time"][known.train_rows[-1] - recipe.chunk_days]
        nearer = answers(recipe, candles, [changed_after(friend, day)])
        assert nearer[part] != ours[part]


def test_companions_are_told_apart_by_name_and_content():
    both = CompanionsRecord(hashes={"a": "1", "b": "2"})
    assert len(both.digest) == 12 and NO_COMPANIONS.digest == ""
    for other in ({"a": "1"}, {"a": "1", "b": "3"}, {"a": "1", "c": "2"}):
        assert CompanionsRecord(hashes=other).digest != both.digest


def test_a_recipe_that_trains_on_windows_takes_none():
    with pytest.raises(ValueError, match="trains on chunks, received training 'windows'"):
        RetrainConfig.model_validate({"companions": ["sample"], "recipe": {"cell": "bigru"}})
