from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config.judging import Promotion
from models.config.recipe import Recipe
from models.decisions.promotion import (
    Challenger,
    Champion,
    coverage_interval,
    decide,
    describe_challenger,
    describe_champion,
)

POLICY = Promotion()
TODAY, YESTERDAY = dt.date(2024, 6, 2), dt.date(2024, 6, 1)


def challenger(**changes: object) -> Challenger:
    facts = {
        "recipe": "new",
        "as_of": TODAY,
        "n_days": 180,
        "crps_bp": 150.0,
        "naive_crps_bp": 155.0,
        "score": 0.97,
        "worse_p": 0.9,
        "inside_90": 162,
        "finite": True,
        "reproducible": True,
    }
    return Challenger.model_validate(facts | changes)


def champion(**changes: object) -> Champion:
    facts = {
        "version": "7",
        "recipe": "old",
        "as_of": YESTERDAY,
        "n_shared": 180,
        "score": 0.98,
        "challenger_score": 0.97,
        "dm_p": 0.01,
    }
    return Champion.model_validate(facts | changes)


GOOD, SAME = challenger(), challenger(recipe="old")
LIVED = {"n_live": 60, "live_score": 0.9}
WORSE = {"score": 1.1, "worse_p": 0.049}


@pytest.mark.parametrize(
    ("new", "old", "action", "unproven", "words"),
    [
        (GOOD, None, "promote", False, "first model"),
        (challenger(score=1.01), None, "promote", True, "CRPS 1.0100 of naive's"),
        (challenger(score=1.0), None, "promote", True, "not better than naive"),
        (challenger(**WORSE), None, "promote", True, "worse than naive's distribution"),
        (challenger(inside_90=180), None, "promote", True, "held 180 of 180 days"),
        (challenger(finite=False), None, "reject", False, "finite"),
        (challenger(reproducible=False), None, "reject", False, "loaded from the registry"),
        (challenger(reproduction=True), None, "reject", False, "never promoted"),
        (challenger(reproduction=True), champion(), "reject", False, "never promoted"),
        (challenger(score=float("nan"), finite=False), champion(), "reject", False, "finite"),
        (GOOD, champion(), "promote", False, "DM p 0.010"),
        (GOOD, champion(dm_p=0.05), "keep", False, "p must be below 0.05"),
        (GOOD, champion(dm_p=None), "keep", False, "not defined"),
        (GOOD, champion(challenger_score=0.98), "keep", False, "not better than the champion"),
        (GOOD, champion(n_shared=0, score=None), "keep", False, "no test origin shared"),
        (GOOD, champion(as_of=dt.date(2024, 6, 3)), "keep", False, "already to 2024-06-03"),
        (GOOD, champion(**LIVED, live_challenger_score=0.91), "keep", False, "not better on 60"),
        (GOOD, champion(**LIVED, live_challenger_score=0.89), "promote", False, "0.8900"),
        (
            GOOD,
            champion(n_live=59, live_score=0.9, live_challenger_score=0.91),
            "promote",
            False,
            "DM p",
        ),
        (GOOD, champion(n_live=60), "promote", False, "DM p"),
        (GOOD, champion(**LIVED, live_challenger_score=0.9), "keep", False, "not better on 60"),
        (GOOD, champion(as_of=TODAY), "promote", False, "DM p"),
        (GOOD, champion(dm_p=0.0499), "promote", False, "DM p 0.050"),
        (challenger(inside_90=151), champion(), "promote", False, "DM p"),
        (challenger(inside_90=150), champion(), "reject", False, "expected 151 to 172"),
        (challenger(inside_90=172), champion(), "promote", False, "DM p"),
        (challenger(inside_90=173), champion(), "reject", False, "held 173 of 180 days"),
        (challenger(**WORSE), champion(), "reject", False, "that it is worse: p 0.049"),
        (challenger(**WORSE | {"worse_p": 0.05}), champion(), "keep", False, "not better than"),
        (challenger(score=1.0, worse_p=None), champion(), "keep", False, "that it is worse: p not"),
        (challenger(inside_90=140), champion(), "reject", False, "expected 151 to 172"),
        (SAME, champion(), "refresh", False, "on data to 2024-06-02"),
        (SAME, champion(score=None), "refresh", False, "no test origin shared"),
        (
            challenger(recipe="old", score=1.01),
            champion(),
            "refresh",
            True,
            "not better than naive",
        ),
        (challenger(recipe="old", **WORSE), champion(), "reject", False, "worse than naive"),
        (challenger(recipe="old", **WORSE), champion(unproven=True), "refresh", True, "worse than"),
        (SAME, champion(challenger_score=0.9995), "refresh", False, "0.9995 of naive's"),
        (SAME, champion(challenger_score=0.9997), "keep", False, "by more than 2.0%"),
        (challenger(recipe="old", inside_90=140), champion(), "reject", False, "miscalibrated"),
        (
            challenger(recipe="old", inside_90=140),
            champion(unproven=True),
            "refresh",
            True,
            "miscalibrated",
        ),
        (challenger(inside_90=140), champion(unproven=True), "reject", False, "miscalibrated"),
    ],
)
def test_every_branch(
    new: Challenger, old: Champion | None, action: str, unproven: bool, words: str
) -> None:
    decision = decide(new, old, POLICY)
    assert (decision.action, decision.unproven) == (action, unproven)
    assert words in str(decision)


def test_pinned_champion_stays_and_the_reason_says_what_would_have_been() -> None:
    decision = decide(GOOD, champion(), POLICY, pinned="rollback by ann on 2024-05-30: odd bands")
    assert decision.action == "keep"
    assert "odd bands" in decision.reasons[0]
    assert "promote" in decision.reasons[0]
    assert decide(challenger(finite=False), champion(), POLICY, pinned="x").action == "reject"


def test_coverage_interval_holds_what_a_calibrated_model_gives() -> None:
    # scipy-free oracle: sum the binomial probabilities.
    from math import comb

    n, significance = 20, 0.01
    probabilities = [comb(n, k) * 0.9**k * 0.1 ** (n - k) for k in range(n + 1)]
    low, high = coverage_interval(n, significance)
    assert sum(probabilities[:low]) <= significance / 2 < sum(probabilities[: low + 1])
    assert sum(probabilities[high + 1 :]) <= significance / 2
    assert (low, high) == (14, 20)


numbers = st.floats(0.1, 10)
challengers = st.builds(
    challenger,
    recipe=st.sampled_from(["old", "new"]),
    score=numbers,
    worse_p=st.none() | st.floats(0, 1),
    inside_90=st.integers(0, 180),
    finite=st.booleans(),
    reproducible=st.booleans(),
    reproduction=st.booleans(),
)
champions = st.builds(
    champion,
    score=st.none() | numbers,
    challenger_score=st.none() | numbers,
    dm_p=st.none() | st.floats(0, 1),
    unproven=st.booleans(),
    n_live=st.integers(0, 200),
    live_score=st.none() | numbers,
    live_challenger_score=st.none() | numbers,
)


@given(challengers, champions)
def test_never_promotes_what_is_worse_on_the_mean(new: Challenger, old: Champion) -> None:
    decision = decide(new, old, POLICY)
    if decision.action == "promote":
        assert old.challenger_score is not None
        assert old.score is not None
        assert old.challenger_score < old.score
        assert new.score < 1
        assert new.recipe != old.recipe
        if old.n_live >= POLICY.min_live_days and None not in (lived := live_scores(old)):
            assert lived[0] < lived[1]
    if decision.action == "refresh" and None not in (shared := shared_scores(old)):
        assert new.recipe == old.recipe
        assert shared[0] <= shared[1] * (1 + POLICY.refresh_margin)


def live_scores(old: Champion) -> tuple[float | None, float | None]:
    return old.live_challenger_score, old.live_score


def shared_scores(old: Champion) -> tuple[float | None, float | None]:
    return old.challenger_score, old.score


@given(challengers, st.none() | champions)
def test_deterministic_and_always_with_a_reason(new: Challenger, old: Champion | None) -> None:
    decision = decide(new, old, POLICY)
    assert decision == decide(new, old, POLICY)
    assert decision.reasons
    assert all(decision.reasons)


@given(challengers, st.none() | champions)
def test_reproductions_and_broken_models_never_serve(new: Challenger, old: Champion | None) -> None:
    if new.reproduction or not new.finite or not new.reproducible:
        assert decide(new, old, POLICY).action == "reject"


@given(challengers, champions, st.text(min_size=1))
def test_pinned_champion_never_moves(new: Challenger, old: Champion, why: str) -> None:
    assert not decide(new, old, POLICY, pinned=why).moves


# What the predictions and scores say about both.


def predictions_of(model: str, spread: float, n: int = 30) -> pd.DataFrame:
    """Two steps an origin; every tenth next day falls outside the 90 % band."""
    days = pd.date_range("2024-01-01", periods=n, tz="UTC", unit="us")
    step = np.tile([1, 2], n)
    actual = np.where((np.arange(2 * n) % 20 == 0) & (step == 1), 2.0, 0.0)
    frame = pd.DataFrame({"model": model, "origin": days.repeat(2), "step": step, "actual": actual})
    frame = frame.assign(close_origin=100.0, actual_usd=100 * np.exp(actual))
    return frame.assign(**{"q0.05": -spread, "q0.5": 0.0, "q0.95": spread})


def test_a_challenger_is_described_by_its_last_origins() -> None:
    both = pd.concat([predictions_of(Recipe().name, 1.0), predictions_of("naive", 1.5)])
    found = describe_challenger(Recipe(), TODAY, both, 20, True)
    assert (found.recipe, found.as_of, found.n_days) == (Recipe().digest(), TODAY, 20)
    assert found.inside_90 == 18
    assert found.crps_bp < found.naive_crps_bp and found.score < 1
    assert found.worse_p is not None and found.worse_p > 0.99
    turned = pd.concat([predictions_of(Recipe().name, 1.5), predictions_of("naive", 1.0)])
    worse = describe_challenger(Recipe(), TODAY, turned, 20, True)
    assert worse.score > 1 and worse.worse_p is not None and worse.worse_p < 0.01
    assert found.finite and found.reproducible and not found.reproduction
    assert describe_challenger(Recipe(), TODAY, both, 99, False).n_days == 30
    assert not describe_challenger(Recipe(), TODAY, both, 99, False).reproducible
    holed = both.assign(**{"q0.5": both["q0.5"].where(np.arange(len(both)) != 59)})
    found = describe_challenger(Recipe(), TODAY, holed, 20, True)
    assert not found.finite and np.isnan(found.crps_bp) and np.isnan(found.score)


def scores_of(crps_bp: float, n: int = 10, first: str = "2024-01-01") -> pd.DataFrame:
    days = pd.date_range(first, periods=n, tz="UTC", unit="us")
    return pd.DataFrame({"origin": days, "step": 1, "crps_bp": crps_bp + np.arange(n)})


def test_a_champion_is_described_on_the_origins_that_both_have() -> None:
    facts = Champion(version="7", recipe="old", as_of=YESTERDAY)
    ours, theirs, live = scores_of(100.0), scores_of(110.0), scores_of(90.0, first="2024-01-06")
    naive = scores_of(195.5)  # its mean is 200
    found = describe_champion(facts, ours, theirs, live, naive)
    assert (found.version, found.recipe, found.as_of) == ("7", "old", YESTERDAY)
    assert found.n_shared == 10 and found.n_live == 5
    assert found.challenger_score == pytest.approx(104.5 / 200)
    assert found.score == pytest.approx(114.5 / 200)
    assert found.live_challenger_score == pytest.approx(107.0 / 200)
    assert found.live_score == pytest.approx(92.0 / 200)
    alone = describe_champion(facts, ours, None, live.iloc[:0], naive)
    assert (alone.n_shared, alone.score, alone.dm_p) == (0, None, None)
    assert (alone.n_live, alone.live_score) == (0, None)
