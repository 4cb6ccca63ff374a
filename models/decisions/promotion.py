"""The decision about a challenger: promote, refresh, keep or reject, with reasons.

What is scored is the holdout model: the same recipe, trained before the test days and purged by the
horizon; see models/scoring/promotion.py.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from models.config.judging import Promotion
from models.config.recipe import REPRODUCTION_LABEL, Recipe
from models.scoring.promotion import compare_scores, last_origins, score_origins
from models.wording import count_days, signed_skill, skill_kind

Action = Literal["promote", "refresh", "keep", "reject"]
COVERAGE_LEVEL = 0.9


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Challenger(_Frozen):
    """What the last test origins say about a new version.

    `crps_bp` and `naive_crps_bp` are means over origins and steps, kept to be read. What decides is
    `score`, the mean over steps of CRPS divided by naive's at that step, below 1 where it is
    better, and `worse_p`, the one-sided Diebold-Mariano p-value for being worse than naive, None
    where there is none. `inside_90` counts the next days, of `n_days`, inside the 90 % band.
    """

    recipe: str
    as_of: dt.date
    n_days: int
    crps_bp: float
    naive_crps_bp: float
    score: float
    worse_p: float | None = None
    inside_90: int
    finite: bool
    reproducible: bool
    reproduction: bool = False


class Champion(_Frozen):
    """The champion, and both on identical origins.

    `score` is the champion's and `challenger_score` the challenger's on the `n_shared` origins that
    both have, in the unit of `Challenger.score`; for the same recipe the champion's numbers are its
    predecessor's. `dm_p` is the two-sided Diebold-Mariano p-value, None where there is none. The
    `live_…` numbers are about the origins at which the champion forecast live.
    """

    version: str
    recipe: str
    as_of: dt.date
    unproven: bool = False
    n_shared: int = 0
    score: float | None = None
    challenger_score: float | None = None
    dm_p: float | None = None
    n_live: int = 0
    live_score: float | None = None
    live_challenger_score: float | None = None


class Decision(_Frozen):
    """What becomes of a challenger, and why; `unproven` where it has not beaten naive yet.

    `skill` is the CRPS skill against naive that it was decided by, every step counted alike, on
    `n_days` days; None in decisions of earlier releases.
    """

    action: Action
    reasons: tuple[str, ...]
    unproven: bool = False
    skill: float | None = None
    n_days: int | None = None

    @property
    def moves(self) -> bool:
        """Whether the champion's alias moves to the challenger."""
        return self.action in ("promote", "refresh")

    def __str__(self) -> str:
        mark = " (unproven)" if self.moves and self.unproven else ""
        return f"{self.action}{mark}: {'; '.join(self.reasons)}"


def decide(
    challenger: Challenger, champion: Champion | None, policy: Promotion, pinned: str = ""
) -> Decision:
    """Decide about a challenger; the same arguments give the same decision.

    Reproductions, and models that are not finite or not the same after reloading, are rejected.
    One that the test finds worse than naive's distribution, or miscalibrated, is rejected too,
    unless there is nothing better to lose: no champion yet, or an unproven one of the same recipe.
    The same recipe on newer data takes over unless it is worse than its predecessor by more than
    the margin; another recipe only if it is better than naive, its score is lower than the
    champion's and the Diebold-Mariano test says so. What takes over without a score below naive's,
    or in spite of a doubt, is marked unproven. `pinned`: why the champion may not be moved; empty
    if it may.
    """
    decision = _decide(challenger, champion, policy, pinned)
    skill = 1 - challenger.score
    known = {"skill": skill if np.isfinite(skill) else None, "n_days": challenger.n_days}
    return decision.model_copy(update=known)


def _decide(
    challenger: Challenger, champion: Champion | None, policy: Promotion, pinned: str
) -> Decision:
    faults = _hard_faults(challenger)
    if faults:
        return Decision(action="reject", reasons=faults)
    doubts = _doubts(challenger, policy)
    decision = _compare(challenger, champion, policy, doubts)
    if pinned and decision.moves and champion is not None:
        held = f"version {champion.version} is pinned ({pinned}), or it would have been: {decision}"
        return Decision(action="keep", reasons=(held,))
    return decision


def describe_challenger(
    recipe: Recipe,
    as_of: dt.date,
    predictions: pd.DataFrame,
    n_origins: int,
    reproducible: bool,
) -> Challenger:
    """Say what the last `n_origins` of the holdout's predictions frame say about a new version.

    `reproducible`: whether the registered files forecast as the trained ones do.
    """
    scores = last_origins(score_origins(predictions, recipe.name), n_origins)
    naive = last_origins(score_origins(predictions, "naive"), n_origins)
    compared = compare_scores(scores, naive, naive)
    t, p, score = compared["dm_t"], compared["dm_p"], compared["challenger_score"]
    finite = bool(np.isfinite(scores["crps_bp"]).all())
    next_day = scores[scores["step"] == 1]
    return Challenger(
        recipe=recipe.digest(),
        as_of=as_of,
        n_days=len(next_day),
        crps_bp=float(scores["crps_bp"].mean(skipna=False)),
        naive_crps_bp=float(naive["crps_bp"].mean()),
        score=score if finite and score is not None else np.nan,
        worse_p=None if p is None else (p / 2 if t > 0 else 1 - p / 2),
        inside_90=int(next_day["inside_90"].sum()),
        finite=finite,
        reproducible=reproducible,
        reproduction=recipe.reproduction,
    )


def describe_champion(
    facts: Champion,
    scores: pd.DataFrame,
    theirs: pd.DataFrame | None,
    live: pd.DataFrame,
    naive: pd.DataFrame,
) -> Champion:
    """Complete the `facts` about a champion with both models' scores on identical origins.

    `scores` are the challenger's and `theirs` the champion recipe's holdout scores, `live` those of
    the champion's live forecasts, `naive` naive's: origin, step, crps_bp.
    """
    lived = compare_scores(scores, live, naive)
    update = {
        "n_live": lived["n_shared"],
        "live_score": lived["score"],
        "live_challenger_score": lived["challenger_score"],
    }
    if theirs is not None:
        compared = compare_scores(scores, theirs, naive)
        update |= {name: compared[name] for name in ("n_shared", "score", "challenger_score")}
        update["dm_p"] = compared["dm_p"]
    return facts.model_copy(update=update)


OUTCOMES = {
    "promote": "it becomes champion",
    "refresh": "it takes over from the champion, whose recipe it has",
    "keep": "the champion stays",
    "reject": "rejected",
}


def write_outcome(
    next_day: Sequence[float | None], n_test_days: int, decision: Decision, horizon: int
) -> str:
    """Verdict and decision in one sentence that names the test behind each.

    `next_day`: the CRPS skill one day ahead and the ends of its 95 % interval.
    """
    value = next_day[0] or 0.0
    told = {
        "better": "Better than naive",
        "worse": "Worse than naive",
        "unclear": "Not provably better than naive",
        "untested": "Not yet told from naive",
    }[skill_kind(next_day[1], next_day[2])]
    text = f"{told} one day ahead ({signed_skill(value)}, {count_days(n_test_days)})"
    if decision.skill is not None and decision.n_days is not None and horizon > 1:
        numbers = f"({signed_skill(decision.skill)}, {count_days(decision.n_days)})"
        whole = "the week" if horizon == 7 else f"{horizon} days"
        better = decision.skill > 0
        link = " and" if better and told.startswith("Better") else "; better" if better else "; not"
        text += f"{link} over {whole} {numbers}"
    mark = ", unproven" if decision.moves and decision.unproven else ""
    return f"{text}: {OUTCOMES[decision.action]}{mark}."


def coverage_interval(n: int, significance: float) -> tuple[int, int]:
    """Counts of `n` days inside the 90 % band that a calibrated model gives, both ends included.

    The central binomial interval outside of which lies at most `significance`.
    """
    from scipy.stats import binom  # takes a second to import

    low, high = binom.interval(1 - significance, n, COVERAGE_LEVEL)
    return int(low), int(high)


def _hard_faults(challenger: Challenger) -> tuple[str, ...]:
    faults = []
    if challenger.reproduction:
        faults.append(REPRODUCTION_LABEL)
    if not challenger.finite:
        faults.append("its forecasts are not all finite")
    if not challenger.reproducible:
        faults.append("loaded from the registry it gives other forecasts than when it was trained")
    return tuple(faults)


def _doubts(challenger: Challenger, policy: Promotion) -> tuple[str, ...]:
    """Why it may not serve: worse than naive beyond chance, or miscalibrated."""
    doubts = []
    p = challenger.worse_p
    if p is not None and p < policy.naive_significance:
        doubts.append(f"worse than naive's distribution: {_against_naive(challenger)}")
    low, high = coverage_interval(challenger.n_days, policy.coverage_significance)
    if not low <= challenger.inside_90 <= high:
        doubts.append(
            f"miscalibrated: the 90 % band held {challenger.inside_90} of "
            f"{challenger.n_days} days, expected {low} to {high}"
        )
    return tuple(doubts)


def _compare(
    challenger: Challenger,
    champion: Champion | None,
    policy: Promotion,
    doubts: tuple[str, ...],
) -> Decision:
    if champion is None:
        reasons = ("the first model, there was no champion", *(doubts or [_proof(challenger)]))
        return Decision(action="promote", reasons=reasons, unproven=_unproven(challenger, doubts))
    if challenger.as_of < champion.as_of:
        reason = (
            f"trained to {challenger.as_of}, version {champion.version} already to {champion.as_of}"
        )
        return Decision(action="keep", reasons=(reason,))
    same_recipe = challenger.recipe == champion.recipe
    if doubts and not (same_recipe and champion.unproven):
        return Decision(action="reject", reasons=doubts)
    if same_recipe:
        return _decide_refresh(challenger, champion, policy, doubts)
    return _decide_promotion(challenger, champion, policy)


def _decide_refresh(
    challenger: Challenger, champion: Champion, policy: Promotion, doubts: tuple[str, ...]
) -> Decision:
    step = f"the recipe of version {champion.version} on data to {challenger.as_of}"
    ours, theirs = champion.challenger_score, champion.score
    if ours is None or theirs is None:
        compared = "no test origin shared with its predecessor"
    else:
        compared = f"CRPS {ours:.4f} of naive's, its predecessor's {theirs:.4f} {_on(champion)}"
        if not ours <= theirs * (1 + policy.refresh_margin):
            worse = f"worse than its predecessor by more than {policy.refresh_margin:.1%}"
            return Decision(action="keep", reasons=(f"{worse}: {compared}",))
    reasons = (step, compared, *(doubts or [_proof(challenger)]))
    return Decision(action="refresh", reasons=reasons, unproven=_unproven(challenger, doubts))


def _decide_promotion(challenger: Challenger, champion: Champion, policy: Promotion) -> Decision:
    ours, theirs, p = champion.challenger_score, champion.score, champion.dm_p
    if not challenger.score < 1:
        return Decision(action="keep", reasons=(_proof(challenger),))
    if ours is None or theirs is None:
        reason = f"no test origin shared with version {champion.version}"
        return Decision(action="keep", reasons=(reason,))
    compared = (
        f"CRPS {ours:.4f} of naive's, version {champion.version}'s {theirs:.4f} {_on(champion)}"
    )
    if not ours < theirs:
        return Decision(action="keep", reasons=(f"not better than the champion: {compared}",))
    tested = f"{compared}, DM p {'not defined' if p is None else f'{p:.3f}'}"
    if p is None or not p < policy.significance:
        reason = f"better by chance, perhaps (p must be below {policy.significance:g}): {tested}"
        return Decision(action="keep", reasons=(reason,))
    live, live_ours = champion.live_score, champion.live_challenger_score
    if champion.n_live >= policy.min_live_days and live is not None and live_ours is not None:
        lived = (
            f"on {champion.n_live} days that the champion forecast live, CRPS {live_ours:.4f} of "
            f"naive's against {live:.4f}"
        )
        if not live_ours < live:
            return Decision(action="keep", reasons=(tested, f"but not better {lived}"))
        return Decision(action="promote", reasons=(tested, lived, _proof(challenger)))
    return Decision(action="promote", reasons=(tested, _proof(challenger)))


def _unproven(challenger: Challenger, doubts: tuple[str, ...]) -> bool:
    return bool(doubts) or not challenger.score < 1


def _proof(challenger: Challenger) -> str:
    better = "better" if challenger.score < 1 else "not better"
    return f"{better} than naive's distribution: {_against_naive(challenger)}"


def _against_naive(challenger: Challenger) -> str:
    p = "not defined" if challenger.worse_p is None else f"{challenger.worse_p:.3f}"
    return (
        f"CRPS {challenger.score:.4f} of naive's, every step counted alike, on "
        f"{challenger.n_days} days (test that it is worse: p {p})"
    )


def _on(champion: Champion) -> str:
    return f"on {champion.n_shared} shared origins"
