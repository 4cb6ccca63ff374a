"""Where tasks run side by side: spawned processes, or Dask."""

from __future__ import annotations

from typing import Any, Literal

from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from flows.worker import prepare_worker
from models.errors import InputError

Runner = Literal["processes", "dask"]


def make_runner(kind: Runner, jobs: int, address: str | None) -> TaskRunner[Any]:
    """Build the task runner: spawned processes on this machine, or Dask, here or at an address.

    Scheduler and workers at an address must have been started with `--preload flows.worker`.
    """
    if kind == "processes":
        return ProcessPoolTaskRunner(max_workers=jobs, initializer=prepare_worker)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise InputError(
            "Dask: prefect-dask is not installed; pip install 'btc-daily[dask]'"
        ) from error
    cluster = {
        "n_workers": jobs,
        "threads_per_worker": 1,
        "dashboard_address": None,
        "preload": "flows.worker",
    }
    dask: TaskRunner[Any] = DaskTaskRunner(
        **({"address": address} if address else {"cluster_kwargs": cluster})
    )
    return dask
