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
        "metrics.`skill_vs_naive_h1`",
        "metrics.`skill_vs_naive_h7`",
        "metrics.`skill_vs_best_h1`",
        "metrics.`crps_bp_h1`",
        "metrics.`coverage_90_h1`",
        "metrics.`skill_rmse_h1`",
    ),
    CELLS: (
        "tags.`model`",
        "params.`units`",
        "params.`lookback`",
        "params.`features`",
        "metrics.`crps_bp_h1`",
        "metrics.`skill_vs_naive_h1`",
        "metrics.`skill_vs_best_h1`",
        "metrics.`coverage_90_h1`",
        "metrics.`seconds/train`",
    ),
    BACKTESTS: (
        "metrics.`crps_bp_h1`",
        "metrics.`crps_bp_h7`",
        "metrics.`skill_vs_naive_h1`",
        "metrics.`skill_vs_garch_h1`",
        "metrics.`dm_t_h1`",
        "metrics.`coverage_90_h1`",
        "params.`start`",
        "params.`end`",
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
_NAME = "attributes.`Run Name`"
_ORDER = {
    CELLS: ("metrics.`crps_bp_h1`", True),
    # A parent ends after its children. By the start, MLflow hides children behind their parent.
    BACKTESTS: ("attributes.end_time", False),
    TUNING: ("metrics.`crps_over_naive`", True),
}


def _width(column: str) -> int:
    """Pixels that hold a column's title."""
    return max(80, 8 * len(column.partition("`")[2]) + 24)


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
        "columnOrder": [_NAME, *_COLUMNS[key]],
        "columnWidths": {_NAME: 480} | {column: _width(column) for column in _COLUMNS[key]},
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


def set_views(client: MlflowClient, experiment: str, about: str, *keys: str) -> None:
    """Keep our views and the description `about` with an experiment, where they differ."""
    known = client.get_experiment(experiment).tags
    wanted = {f"mlflow.sharedViewState.{key}": json.dumps(make_view(key)) for key in keys}
    wanted["mlflow.experimentKind"] = "custom_model_development"
    wanted["mlflow.note.content"] = about
    for tag, value in wanted.items():
        if known.get(tag) != value:
            client.set_experiment_tag(experiment, tag, value)
