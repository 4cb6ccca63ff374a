"""Trial: one recipe of a tuning, fitted and scored fold by fold."""

from __future__ import annotations

import math

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from models.config.flows import TuneConfig
from models.learning.search_space import make_recipe, make_space
from models.learning.splits import Span
from models.reporting.tune_summary import StudyRecord, TrialRecord
from models.scoring.tuning import score_fold
from tasks.registry.connection import connect
from tasks.registry.trials import log_trial
from tasks.stage import stage
from tasks.storage.files import read_frame
from tasks.storage.studies import opened_studies

STARTING_TRIALS = 5
"""Trials that are drawn at random, and that are never given up early."""


@stage("trial")
def trial(config: TuneConfig, study: StudyRecord, number: int) -> TrialRecord:
    """Try one more recipe: TPE proposes it, median pruning gives it up after a poor fold.

    A recipe whose forecasts are not all finite is given up too.
    `number`, counted from 1, is how many there are with it. What is proposed depends on the
    finished trials and the seed alone, so that an interrupted study goes on as it would have.
    """
    candles = read_frame(study.folder / "candles.parquet")
    with opened_studies() as storage:
        found = optuna.load_study(
            study_name=study.name,
            storage=storage,
            sampler=TPESampler(
                n_startup_trials=STARTING_TRIALS, seed=config.search.search_seed + number
            ),
            pruner=MedianPruner(n_startup_trials=STARTING_TRIALS),
        )
        asked = found.ask(make_space(config.recipe))
        recipe = make_recipe(config.recipe, asked.params)
        scores: list[float] = []
        state = TrialState.COMPLETE
        for step, (a, b, c, d) in enumerate(study.folds, 1):
            scores.append(score_fold(recipe, candles, Span(range(a, b), range(c, d))))
            asked.report(sum(scores) / len(scores), step)
            poor = step < len(study.folds) and asked.should_prune()
            if poor or not math.isfinite(scores[-1]):
                state = TrialState.PRUNED
                break
        pruned = state == TrialState.PRUNED
        told = found.tell(asked, None if pruned else sum(scores) / len(scores), state=state)
        complete = found.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    log_trial(connect(), study, told, number)
    return TrialRecord(
        number=number,
        n_trials=study.n_trials,
        values=told.params,
        score=sum(scores) / len(scores),
        n_folds=len(scores),
        pruned=pruned,
        best=min((one.value for one in complete if one.value is not None), default=math.inf),
    )
