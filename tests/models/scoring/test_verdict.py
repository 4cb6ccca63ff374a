"""The verdict on the default recipe, where it is known what there is to learn."""

from __future__ import annotations

import datetime as dt

import pytest

from models.config.judging import Judging
from models.config.recipe import Recipe
from models.data.sample import Variant, make_sample
from models.forecasters.fit import fit_forecaster
from models.learning.prepare import prepare
from models.learning.splits import holdout_split
from models.scoring.holdout import score_holdout

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("variant", "skilled"), [("planted", True), ("random-walk", False)])
def test_verdict_knows_signal_from_noise(variant: Variant, skilled: bool) -> None:
    recipe, judging = Recipe(), Judging()
    candles = make_sample(dt.date(2025, 6, 30), variant=variant)
    prepared = prepare(recipe, candles, holdout_split(recipe, judging))
    forecaster, _ = fit_forecaster(prepared)
    _, evaluation = score_holdout(forecaster, candles, prepared.fold, judging)
    assert (evaluation.verdict == "skill") is skilled
