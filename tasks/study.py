"""Study: the candles before the first test day, the folds on them, and the trials known already."""

from __future__ import annotations

import hashlib
import json

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from models.config.flows import TuneConfig
from models.data.candles import digest_candles
from models.learning.search_space import lookbacks, make_space, read_values
from models.naming import model_name
from models.records import SnapshotRecord
from models.reporting.tune_summary import StudyRecord
from models.scoring.tuning import find_first_test_row, make_folds
from tasks.plan import digest_code
from tasks.registry.connection import connect
from tasks.registry.trials import begin_study
from tasks.stage import stage
from tasks.storage.files import write_frame
from tasks.storage.home import home
from tasks.storage.snapshots import read_candles
from tasks.storage.studies import opened_studies

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@stage("study")
def study(config: TuneConfig, snapshot: SnapshotRecord) -> StudyRecord:
    """Keep the candles before the first test origin, and find or begin the study of them.

    A study is named by all that its scores depend on, so that the same command goes on with it.
    Raises InputError for too few candles.
    """
    candles = read_candles(snapshot)
    space = make_space(config.recipe)
    first_test = find_first_test_row(config.recipe, candles, config.judging, lookbacks(space))
    known = candles.iloc[:first_test]
    folds = make_folds(len(known), config.recipe.horizon, config.search)
    content = {
        "code": digest_code(),
        "candles": digest_candles(known),
        "recipe": config.recipe.digest(),
        "search": config.search.model_dump(exclude={"trials"}),
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    symbol = model_name(config.symbol, snapshot.synthetic)
    name = f"{symbol}-{config.recipe.cell}-{snapshot.as_of}-{key}"
    folder = home() / "tuning" / name
    write_frame(known, folder / "candles.parquet")
    with opened_studies() as storage:
        found = optuna.create_study(
            storage=storage, study_name=name, direction="minimize", load_if_exists=True
        )
        _end_interrupted(storage, found)
        if not found.trials:
            found.enqueue_trial(read_values(config.recipe, space))
        n_known = len(found.get_trials(deepcopy=False, states=FINISHED))
    return StudyRecord(
        name=name,
        folder=folder,
        model=symbol,
        run_id=begin_study(connect(), name, config, snapshot),
        folds=tuple((f.known.start, f.known.stop, f.origins.start, f.origins.stop) for f in folds),
        first_day=candles["open_time"].iloc[folds[0].origins.start + 1].date(),
        last_day=known["open_time"].iloc[-1].date(),
        first_test_day=candles["open_time"].iloc[first_test].date(),
        n_known=n_known,
        n_trials=config.search.trials,
    )


def _end_interrupted(storage: RDBStorage, found: optuna.Study) -> None:
    """Give up trials that a killed process left running; what they were to try is tried anew."""
    for trial in found.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        if "fixed_params" in trial.system_attrs:
            found.enqueue_trial(trial.system_attrs["fixed_params"])
