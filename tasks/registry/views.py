"""Ready-made views of the runs in MLflow's UI, kept as tags of the experiment.

MLflow 3.17 reads the tag `mlflow.sharedViewState.KEY` where its address has
`viewStateShareKey=KEY`. A release that does not know it shows its own columns.
"""

from __future__ import annotations

import json
from typing import Any

from mlflow import MlflowClient

DIARY, CELLS, BACKTESTS, TUNING = "diary", "cells", "backtests", "tuning"

_COLUMNS = {
    DIARY: (
        "tags.`decision`",
        "metrics.`skill_crps`",
        "metrics.`skill_crps_step7`",
        "metrics.`test_crps_bp`",
        "metrics.`naive_crps_bp`",
        "metrics.`test_coverage_90`",
        "tags.`cell`",
        "tags.`as_of`",
    ),
    CELLS: (
        "params.`recipe.cell`",
        "params.`recipe.units`",
        "params.`recipe.lookback`",
        "params.`recipe.blend`",
        "metrics.`test_crps_bp`",
        "metrics.`skill_crps`",
        "metrics.`test_coverage_90`",
        "metrics.`seconds_train`",
    ),
    BACKTESTS: (
        "tags.`model`",
        "metrics.`crps_bp`",
        "metrics.`coverage_90`",
        "metrics.`mae_bp`",
        "metrics.`dm_t_garch`",
        "metrics.`dm_t_naive`",
    ),
    TUNING: (
        "metrics.`crps_over_naive`",
        "tags.`outcome`",
        "params.`units`",
        "params.`layers`",
        "params.`lookback`",
        "params.`dropout`",
        "params.`blend`",
        "params.`training.learning_rate`",
        "params.`training.epochs`",
    ),
}
_ORDER = {
    CELLS: ("metrics.`test_crps_bp`", True),
    TUNING: ("metrics.`crps_over_naive`", True),
}


def make_view(key: str) -> dict[str, Any]:
    """The state of MLflow's table of runs for one of our views."""
    order, ascending = _ORDER.get(key, ("attributes.start_time", False))
    return {
        "searchFilter": "",
        "orderByKey": order,
        "orderByAsc": ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(_COLUMNS[key]),
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "compareRunCharts": None,
        "compareRunSections": None,
    }


def set_views(client: MlflowClient, experiment: str, *keys: str) -> None:
    """Keep our views with an experiment, where they are missing or of another release."""
    known = client.get_experiment(experiment).tags
    wanted = {f"mlflow.sharedViewState.{key}": json.dumps(make_view(key)) for key in keys}
    wanted["mlflow.experimentKind"] = "custom_model_development"
    for tag, value in wanted.items():
        if known.get(tag) != value:
            client.set_experiment_tag(experiment, tag, value)
